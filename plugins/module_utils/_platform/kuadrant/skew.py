# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether one set of versions can follow another. Pure: what is there and what is wanted in, a plan out."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

Version: t.TypeAlias = tuple[int, int, int]

# In the order in which they are upgraded: custom resources before who reads them, and the gateway before its policies.
COMPONENTS = {"gateway_api": "Gateway API", "istio": "Istio", "prometheus_operator": "Prometheus operator", "kuadrant": "Kuadrant"}
_FOUND_AS = {"prometheus_operator": "prometheus"}  # what module platform_info calls it

# The first Kubernetes minor that a release line of Istio supports (its support status page; the step is one per release).
_ISTIO_KUBERNETES = {27: 29, 28: 30, 29: 31, 30: 32}
_OLDEST_KUBERNETES = (1, 26, 0)  # CEL rules in the CRDs of Gateway API 1.4
_OLDEST_GATEWAY_API = (1, 4, 0)
# Kuadrant attaches its EnvoyFilters with targetRefs from 1.5 on, which older lines of Istio match with the wrong Gateways.
_KUADRANT_ISTIO = {(1, 5): (1, 27, 0)}


@dataclasses.dataclass
class VersionSteps:
    """``steps`` {component, from, to, text} in order, ``problems`` that forbid them, ``notes`` that do not. The texts are sentences."""

    steps: list[dict[str, str]] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def parse(text: str) -> Version | None:
    """``v1.29.1-distroless`` as (1, 29, 1). None when there is no version in it."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def plan(installed: t.Mapping[str, t.Mapping[str, t.Any]], wanted: t.Mapping[str, t.Any]) -> VersionSteps:
    """The way from ``installed`` to ``wanted``.

    ``installed`` is a component's ``{present, version, ours, owner}`` (module platform_info), ``wanted`` its version. Components that are
    absent, of others or not in ``wanted`` are left alone; their versions still have to go with the others.
    """
    made = VersionSteps()
    after: dict[str, Version] = {}
    for name, title in COMPONENTS.items():
        there = installed.get(_FOUND_AS.get(name, name)) or {}
        target = parse(str(wanted.get(name) or ""))
        if wanted.get(name) and target is None:
            raise GatewayError(f"{title}: {str(wanted[name])!r} is not a version. Give it as 1.2.3.")
        if not there.get("present"):
            if target:
                made.notes.append(f"{title} is not installed: kuadrant.llm.site installs it, an upgrade does not.")
            continue
        if there.get("rhcl"):
            made.notes.append(
                f"{title} is Red Hat Connectivity Link {there.get('version')} ({_owner(there)}), which its own operator upgrades."
            )
            continue
        current = parse(str(there.get("version") or ""))
        if current is None:
            made.problems.append(_unknown(title, there))
            continue
        after[name] = current
        if target is None or target == current:
            continue
        if not there.get("ours"):
            made.notes.append(_foreign(title, there, wanted[name]))
        elif problem := _step_problem(name, title, current, target):
            (made.notes if name == "gateway_api" else made.problems).append(problem)
        else:
            text = f"{title} goes from {_text(current)} to {_text(target)}."
            made.steps.append({"component": name, "from": _text(current), "to": _text(target), "text": text})
            after[name] = target
    made.problems += _pair_problems(parse(str((installed.get("kubernetes") or {}).get("version") or "")), after)
    return made


def way_back(installed: t.Mapping[str, t.Mapping[str, t.Any]], components: t.Sequence[str]) -> list[dict[str, str]]:
    """``{component, namespace, from, to}`` of each of ``components`` whose record tells of an older version before the present one."""
    steps = []
    for name in components:
        if name not in ("istio", "kuadrant"):
            raise GatewayError(f"{name!r} cannot be rolled back: Helm keeps the history of istio and kuadrant only.")
        there = installed.get(name) or {}
        record = there.get("record") or {}
        version, previous = (parse(str(record.get(key) or "")) for key in ("version", "previous"))
        if there.get("ours") and version and previous and previous < version:
            steps.append({"component": name, "namespace": record["namespace"], "from": _text(version), "to": record["previous"]})
    return steps


def _step_problem(name: str, title: str, current: Version, target: Version) -> str:
    if name == "gateway_api" and target < current:
        return f"Gateway API {_text(current)} is newer than {_text(target)} and stays: its CRDs are never downgraded."
    if target < current:
        return (
            f"{title} {_text(current)} is newer than {_text(target)}: an upgrade does not go back. "
            f"Run kuadrant.llm.rollback, or set llm_gateway_versions.{name} to {_text(current)}."
        )
    if target[0] != current[0]:
        return (
            f"{title} cannot go from {_text(current)} to {_text(target)}: another major version. "
            f"Follow the release notes of {title} by hand."
        )
    if name == "istio" and target[1] - current[1] > 1:
        return (
            f"Istio goes one minor version at a time, not from {_text(current)} to {_text(target)}. "
            f"Run the upgrade with llm_gateway_versions.istio set to a {current[0]}.{current[1] + 1} release first."
        )
    return ""


def _pair_problems(kubernetes: Version | None, after: t.Mapping[str, Version]) -> t.Iterator[str]:
    istio, kuadrant, gateway_api = after.get("istio"), after.get("kuadrant"), after.get("gateway_api")
    if kubernetes is not None:
        if kubernetes < _OLDEST_KUBERNETES:
            yield (
                f"Kubernetes is at {_text(kubernetes)}, and the Gateway API needs {_text(_OLDEST_KUBERNETES)} or newer. "
                "Upgrade Kubernetes first."
            )
        oldest = _ISTIO_KUBERNETES.get(istio[1]) if istio else None
        if istio and oldest and kubernetes < (1, oldest, 0):
            yield (
                f"Kubernetes is at {_text(kubernetes)}, and Istio {_text(istio)} needs 1.{oldest} or newer. "
                f"Upgrade Kubernetes first, or set llm_gateway_versions.istio to an older line."
            )
    if gateway_api and (istio or kuadrant) and gateway_api < _OLDEST_GATEWAY_API:
        yield (
            f"The Gateway API is at {_text(gateway_api)}, and {_text(_OLDEST_GATEWAY_API)} or newer is needed. "
            "Whoever installed its CRDs has to upgrade them."
        )
    oldest_istio = _KUADRANT_ISTIO.get(kuadrant[:2]) if kuadrant else None
    if istio and kuadrant and oldest_istio and istio < oldest_istio:
        yield (
            f"Kuadrant {_text(kuadrant)} and Istio {_text(istio)} do not go together: Kuadrant needs {_text(oldest_istio)} or newer, "
            "older ones attach its filters to the wrong Gateways. Upgrade Istio first."
        )


def _unknown(title: str, there: t.Mapping[str, t.Any]) -> str:
    return f"The version of {title} ({_owner(there)}) cannot be told, so what may follow it is unknown. Upgrade it with what installed it."


def _foreign(title: str, there: t.Mapping[str, t.Any], wanted: t.Any) -> str:
    return f"{title} {there['version']} is not ours ({_owner(there)}) and stays, although {wanted} is pinned."


def _owner(there: t.Mapping[str, t.Any]) -> str:
    owner = there.get("owner") or {}
    place = "/".join(part for part in (owner.get("namespace"), owner.get("name")) if part)
    return f"installed by {owner.get('kind') or 'others'} {place}".rstrip()


def _text(version: Version) -> str:
    return ".".join(map(str, version))
