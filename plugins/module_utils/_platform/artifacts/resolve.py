# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Catalogue, versions, mirror and digests to addresses."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

Map: t.TypeAlias = t.Mapping[str, t.Any]

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?([-+.][0-9A-Za-z.-]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MIRROR = {
    "charts": "an http(s):// or oci:// address of a chart repository",
    "manifests": "an http(s):// address or a folder",
    "images": "a registry, perhaps with a path, such as registry.example.org/llm",
    "binaries": "an http(s):// address",
    "pull_secret": "the name of a Secret",
    "plain_http": "true or false",
}
_DIGESTS = ("charts", "images", "manifests", "binaries")


@dataclasses.dataclass(frozen=True, slots=True)
class Mirror:
    """Where the parts come from instead; empty means from upstream."""

    charts: str = ""
    manifests: str = ""
    images: str = ""
    binaries: str = ""
    pull_secret: str = ""
    plain_http: bool = False


def artifacts(catalogue: Map, versions: t.Any, mirror: t.Any, digests: t.Any) -> dict[str, t.Any]:
    """``{versions, charts, images, manifests, binaries, pull_secret, replacements}``; raises GatewayError that names the variable.

    ``digests`` (from bundle.json) are bare hexadecimal SHA-256 sums by section and key.
    """
    from_mirror = read_mirror(mirror)
    sums = _read_digests(digests)
    chosen = chosen_versions(catalogue, versions)
    return {
        "versions": chosen,
        "charts": {key: _chart(entry, chosen, from_mirror, sums["charts"].get(key)) for key, entry in catalogue["charts"].items()},
        "images": {key: _image(entry, chosen, from_mirror, sums["images"].get(key)) for key, entry in catalogue["images"].items()},
        "manifests": {
            key: _manifest(entry, chosen, from_mirror, sums["manifests"].get(key)) for key, entry in catalogue["manifests"].items()
        },
        "binaries": {key: _binary(entry, chosen, from_mirror) for key, entry in catalogue["binaries"].items()},
        "pull_secret": from_mirror.pull_secret,
        "replacements": _replacements(catalogue, chosen, from_mirror, sums["images"]),
    }


def chosen_versions(catalogue: Map, versions: t.Any) -> dict[str, str | None]:
    """Every part's version without a leading v. What belongs to a release that is not listed is None unless it is given."""
    given = _mapping(versions, "llm_gateway_versions")
    parts = {part for sets in catalogue["sets"].values() for release in sets.values() for part in release}
    known = sorted({*catalogue["versions"], *parts})
    for name, value in given.items():
        if name not in known:
            raise GatewayError(f"llm_gateway_versions: there is no part called '{name}'; the names are {', '.join(known)}")
        if isinstance(value, float):
            raise GatewayError(f"llm_gateway_versions.{name}: {value} was read as a number; put the version in quotes")
        if not _VERSION.fullmatch(str(value).removeprefix("v")):
            raise GatewayError(
                f"llm_gateway_versions.{name}: '{value}' is not a version such as {catalogue['versions'].get(name, '1.2.3')}"
            )
    overrides = {name: str(value).removeprefix("v") for name, value in given.items()}
    chosen: dict[str, str | None] = {**dict.fromkeys(parts), **catalogue["versions"]}
    chosen |= {name: value for name, value in overrides.items() if name in catalogue["versions"]}
    for name, sets in catalogue["sets"].items():
        chosen |= sets.get(chosen[name], {})
    return dict(sorted({**chosen, **overrides}.items()))


def read_mirror(mirror: t.Any, variable: str = "llm_gateway_mirror") -> Mirror:
    """The mirror, checked; raises GatewayError that names the key."""
    given = _mapping(mirror, variable)
    for name, value in given.items():
        if name not in _MIRROR:
            raise GatewayError(f"{variable}: there is no key '{name}'; the keys are {', '.join(_MIRROR)}")
        if isinstance(value, bool) != (name == "plain_http") or not isinstance(value, (str, bool)):
            raise GatewayError(f"{variable}.{name}: {value!r} is not {_MIRROR[name]}")
    checks: dict[str, t.Callable[[str], object]] = {
        "charts": lambda value: re.match(r"(https?|oci)://[^/]", value),
        "manifests": lambda value: re.match(r"https?://[^/]", value) or value.startswith(("/", "~", ".")),
        "images": lambda value: re.fullmatch(r"[^/:\s]+(:\d+)?(/[^\s:]+)*/?", value),
        "binaries": lambda value: re.match(r"https?://[^/]", value),
    }
    for name, check in checks.items():
        if given.get(name) and not check(given[name]):
            raise GatewayError(f"{variable}.{name}: '{given[name]}' is not {_MIRROR[name]}")
    cleaned: dict[str, t.Any] = {name: value.rstrip("/") if isinstance(value, str) else value for name, value in given.items()}
    return Mirror(**cleaned)


def mirrored_image(image: str, mirror: Mirror) -> str:
    """The image where the mirror has it: the path below its registry stays, ``docker.io/library`` and the default registry understood."""
    if not mirror.images:
        return image
    first, _slash, rest = image.partition("/")
    hosted = rest and ("." in first or ":" in first or first == "localhost")
    path = rest if hosted else image if "/" in image else f"library/{image}"
    return f"{mirror.images}/{path}"


def _chart(entry: Map, chosen: Map, mirror: Mirror, sha256: str | None) -> dict[str, t.Any]:
    base = mirror.charts or entry["repository"]
    oci = base.startswith("oci://")
    return {
        "name": entry["name"],
        "ref": f"{base}/{entry['name']}" if oci else entry["name"],
        "repository": None if oci else base,
        "version": chosen[entry["of"]],
        "plain_http": mirror.plain_http if mirror.charts and oci else False,
        "sha256": sha256,
    }


def _image(entry: Map, chosen: Map, mirror: Mirror, sha256: str | None) -> str | None:
    version = chosen[entry["of"]]
    if version is None:
        return None
    repository = mirrored_image(entry["repository"], mirror)
    sha256 = sha256 or entry.get("sha256", {}).get(version)
    return f"{repository}@sha256:{sha256}" if sha256 else f"{repository}:{entry['tag'].replace('{version}', version)}"


def _replacements(catalogue: Map, chosen: Map, mirror: Mirror, sums: Map) -> dict[str, str]:
    """Every image as upstream's files name it, to what stands in its place; only those that differ."""
    found = {}
    for key, entry in catalogue["images"].items():
        upstream, ours = _image(entry, chosen, Mirror(), None), _image(entry, chosen, mirror, sums.get(key))
        if upstream and ours and upstream != ours:
            found[upstream] = ours
    # Images that a chart names and the catalogue does not: the bundle knows them by their whole reference.
    for reference in (key for key in sums if "/" in key):
        found[reference] = f"{mirrored_image(repository_of(reference), mirror)}@sha256:{sums[reference]}"
    return found


def repository_of(reference: str) -> str:
    """Without tag and digest."""
    name = reference.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def _manifest(entry: Map, chosen: Map, mirror: Mirror, sha256: str | None) -> dict[str, t.Any]:
    version = chosen[entry["of"]]
    file = f"{entry['name']}-{version}.yaml"
    upstream = entry["url"].replace("{version}", version)
    source = f"{mirror.manifests}/{file}" if mirror.manifests else upstream
    remote = source.startswith(("http://", "https://"))
    # A mirror may have assembled the file again: only the bundle knows the sum of what it wrote.
    known = sha256 or (None if mirror.manifests else entry.get("sha256", {}).get(version))
    return {
        "name": entry["name"],
        "file": file,
        "version": version,
        "url": source if remote else None,
        "path": None if remote else source,
        "sha256": known,
    }


def _binary(entry: Map, chosen: Map, mirror: Mirror) -> dict[str, t.Any]:
    version = chosen[entry["of"]]
    files = {}
    for platform, sha256 in entry.get("sha256", {}).get(version, {}).items():
        url = entry["url"].replace("{version}", version).replace("{platform}", platform)
        files[platform] = {
            "url": f"{mirror.binaries}/{url.rsplit('/', 1)[1]}" if mirror.binaries else url,
            "sha256": sha256,
            "member": entry.get("member", "").replace("{platform}", platform),
        }
    return {"version": version, "files": files}


def _read_digests(digests: t.Any) -> dict[str, Map]:
    given = _mapping(digests, "llm_gateway_digests")
    for section, sums in given.items():
        if section not in _DIGESTS:
            raise GatewayError(f"llm_gateway_digests: there is no section '{section}'; the sections are {', '.join(_DIGESTS)}")
        for key, value in _mapping(sums, f"llm_gateway_digests.{section}").items():
            if not isinstance(value, str) or not _SHA256.fullmatch(value.removeprefix("sha256:")):
                raise GatewayError(f"llm_gateway_digests.{section}.{key}: '{value}' is not a SHA-256 sum of 64 hexadecimal digits")
    return {section: {key: value.removeprefix("sha256:") for key, value in (given.get(section) or {}).items()} for section in _DIGESTS}


def _mapping(value: t.Any, name: str) -> Map:
    if value is None:
        return {}
    if not isinstance(value, t.Mapping):
        raise GatewayError(f"{name}: {value!r} is not a dictionary")
    return value
