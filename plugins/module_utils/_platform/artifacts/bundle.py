# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a disconnected installation needs: the list of parts for the chosen roles, the images of rendered charts, and bundle.json."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.resolve import Mirror, mirrored_image, repository_of

Map: t.TypeAlias = t.Mapping[str, t.Any]
SECTIONS = ("charts", "manifests", "images", "binaries")


def needed(needs: Map, roles: t.Iterable[str]) -> dict[str, list[str]]:
    """Section to keys for these roles, each once; raises GatewayError for a role that is not known."""
    found: dict[str, list[str]] = {section: [] for section in SECTIONS}
    for role in roles:
        if role not in needs:
            raise GatewayError(f"bundle_roles: there is no part called '{role}'; the parts are {', '.join(needs)}")
        for section, keys in needs[role].items():
            found[section] += [key for key in keys if key not in found[section]]
    return found


def chart_images(documents: t.Iterable[t.Any], optional: str) -> list[str]:
    """Images that a rendered chart names: of its containers, and in variables RELATED_IMAGE_*, except those that match ``optional``."""
    found: list[str] = []
    for document in documents:
        template = ((document or {}).get("spec") or {}).get("template") if isinstance(document, dict) else None
        spec = (template or {}).get("spec") or {}
        for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
            related = [
                variable["value"]
                for variable in container.get("env") or ()
                if variable["name"].startswith("RELATED_IMAGE_") and variable.get("value") and not re.fullmatch(optional, variable["name"])
            ]
            found += [image for image in [container.get("image", ""), *related] if "/" in image and image not in found]
    return found


def bundle_images(
    upstream: Map, mirror: Mirror, keys: t.Iterable[str], from_charts: t.Iterable[str], extra: t.Iterable[str]
) -> list[dict[str, str]]:
    """``[{key, reference, source}]``: ``reference`` is upstream's, ``source`` is where the ``mirror`` has it. Each image once.

    What charts name wins over the catalogue where both name the same repository: it is what runs.
    """
    rendered = list(dict.fromkeys(from_charts))
    repositories = {repository_of(image) for image in rendered}
    entries: dict[str, dict[str, str]] = {}
    by_reference = {reference: key for key, reference in upstream["images"].items() if reference}
    for image in rendered:
        # A chart from a mirror names upstream's images; one that was rewritten names the mirror's.
        entries[image] = {"key": by_reference.get(image, image), "reference": image, "source": mirrored_image(image, mirror)}
    for key in keys:
        reference = upstream["images"].get(key)
        if reference is None:
            if not any(name.endswith(f"/{key.replace('_', '-')}") for name in repositories):
                raise GatewayError(f"the version of image {key} is not known for this release: set llm_gateway_versions.{key}")
        elif repository_of(reference) not in repositories:
            entries[reference] = {"key": key, "reference": reference, "source": mirrored_image(reference, mirror)}
    for image in extra:
        entries.setdefault(image, {"key": image, "reference": image, "source": mirrored_image(image, mirror)})
    return sorted(entries.values(), key=lambda entry: entry["reference"])


def bundle_document(upstream: Map, charts: Map, manifests: Map, images: t.Iterable[Map], binaries: t.Iterable[str]) -> dict[str, t.Any]:
    """bundle.json: every part with its upstream address, file and SHA-256 sum, and ``digests`` to be given to an installation.

    ``charts`` and ``manifests`` are key to sum; of ``images`` the sum is None where no tool could ask the registry.
    """
    sections: dict[str, dict[str, dict[str, t.Any]]] = {
        "charts": {
            key: {field: upstream["charts"][key][field] for field in ("name", "version", "repository")}
            | {"file": f"charts/{chart_file(upstream['charts'][key])}", "sha256": sha256}
            for key, sha256 in charts.items()
        },
        "manifests": {
            key: {field: upstream["manifests"][key][field] for field in ("version", "url")}
            | {"file": f"manifests/{upstream['manifests'][key]['file']}", "sha256": sha256}
            for key, sha256 in manifests.items()
        },
        "images": {entry["key"]: {"reference": entry["reference"], "sha256": entry["sha256"]} for entry in images},
    }
    files = {key: upstream["binaries"][key] for key in binaries}
    return {
        "format": 1,
        "versions": {name: version for name, version in upstream["versions"].items() if version},
        **sections,
        "binaries": {
            key: {
                "version": one["version"],
                "files": {platform: {"url": file["url"], "sha256": file["sha256"]} for platform, file in one["files"].items()},
            }
            for key, one in files.items()
        },
        "digests": {
            section: {key: entry["sha256"] for key, entry in entries.items() if entry["sha256"]} for section, entries in sections.items()
        },
    }


def chart_file(chart: Map) -> str:
    """How ``helm pull`` names the archive."""
    return f"{chart['name']}-{chart['version']}.tgz"


def rows(document: Map) -> list[dict[str, str]]:
    """One row per part, for a table: ``kind``, ``part`` (as upstream names it) and ``sha256``."""
    found = [("chart", f"{one['repository']}/{one['name']}:{one['version']}", one["sha256"]) for one in document["charts"].values()]
    found += [("manifest", one["url"], one["sha256"]) for one in document["manifests"].values()]
    found += [("image", one["reference"], one["sha256"]) for one in document["images"].values()]
    found += [("binary", file["url"], file["sha256"]) for one in document["binaries"].values() for file in one["files"].values()]
    return [{"kind": kind, "part": part, "sha256": sha256 or "not resolved"} for kind, part, sha256 in found]
