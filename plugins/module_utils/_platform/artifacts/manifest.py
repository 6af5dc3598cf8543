# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read a published manifest, from where the catalogue of role platform says that it is."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

Map: t.TypeAlias = t.Mapping[str, t.Any]
#: Address to content; raises GatewayError.
Download: t.TypeAlias = t.Callable[[str], bytes]

# libyaml's, where it is there: a manifest may have megabytes.
_BASE: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LEFT_AS_TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class _Loader(_BASE):
    """Dates and a lone equals sign stay text, as the API server wants them."""

    yaml_implicit_resolvers: t.ClassVar[dict[str, t.Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _LEFT_AS_TEXT]
        for first, resolvers in _BASE.yaml_implicit_resolvers.items()
    }


def read(manifest: Map, download: Download) -> list[t.Any]:
    """The documents of a manifest: ``name``, ``version``, ``file``, ``url`` or ``path``, and ``sha256`` where it is known.

    Raises GatewayError that says how to do without the file.
    """
    try:
        content = download(manifest["url"]) if manifest.get("url") else Path(manifest["path"]).expanduser().read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if manifest.get("sha256") not in (None, "", found):
            raise GatewayError(f"the file has the SHA-256 sum {found}, not {manifest['sha256']}")
        return parse(content)
    except OSError as exc:
        raise _unusable(manifest, exc.strerror or str(exc)) from exc
    except yaml.YAMLError as exc:
        raise _unusable(manifest, f"the file is not valid YAML: {exc}") from exc
    except GatewayError as exc:
        raise _unusable(manifest, exc.message) from exc


def parse(content: str | bytes) -> list[t.Any]:
    """The YAML documents; raises yaml.YAMLError."""
    return list(yaml.load_all(content, _Loader))


def _unusable(manifest: Map, why: str) -> GatewayError:
    return GatewayError(
        f"Manifest {manifest['name']} {manifest['version']} cannot be had from {manifest.get('url') or manifest.get('path')}: "
        f"{' '.join(why.split()).rstrip('.')}. Set llm_gateway_mirror.manifests to an address or a folder that has {manifest['file']} "
        "(kuadrant.llm.bundle creates one), or choose another version with llm_gateway_versions."
    )
