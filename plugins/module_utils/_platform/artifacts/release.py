# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What is to be done about a Helm release: install, upgrade, uninstall or nothing, and what to say when it is stuck."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime as dt
import gzip
import json
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, Object

Map: t.TypeAlias = t.Mapping[str, t.Any]
KEYS = ("name", "namespace", "chart", "values", "wait_for", "state")


@dataclasses.dataclass(frozen=True, slots=True)
class ReleasePlan:
    """``drop`` names the Secret of a revision that failed; a ``problem`` excludes every action."""

    action: t.Literal["install", "upgrade", "uninstall", "none"]
    chart: Map
    message: str = ""
    drop: str = ""
    problem: str = ""


def read_release(kube: Kube, name: str, namespace: str) -> Object:
    """The newest revision of a release: ``{status, revision, updated, chart, values}``, empty when there is none.

    Helm keeps each revision in a Secret ``sh.helm.release.v1.<name>.v<revision>`` (source: helm.sh/helm/v3/pkg/storage/driver/secrets.go).
    """
    labels = {"owner": "helm", "name": name}
    revisions = list(kube.iterate(SECRETS, namespace, labels, metadata_only=True))
    if not revisions:
        return {}
    newest = max(revisions, key=lambda one: int(one["metadata"]["labels"].get("version", 0)))["metadata"]["name"]
    secret = kube.get(SECRETS, namespace, newest)
    return decoded(secret) if secret else {}


def decoded(secret: Object) -> Object:
    """What Helm keeps in a Secret, which is base64 of base64 of compressed JSON; raises GatewayError for anything else."""
    try:
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        release = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        info, chart = release["info"], release["chart"]["metadata"]
        return {
            "status": info["status"],
            "revision": str(release["version"]),
            "updated": info.get("last_deployed", ""),
            "chart": f"{chart['name']}-{chart['version']}",
            "values": release.get("config") or {},
        }
    except (KeyError, TypeError, ValueError, OSError, EOFError, binascii.Error) as exc:
        name = secret["metadata"]["name"]
        raise GatewayError(
            f"Secret {name} in namespace {secret['metadata'].get('namespace')} does not hold a revision of Helm 3. "
            "See what wrote it; helm list --all-namespaces tells which releases Helm knows."
        ) from exc


def plan_release(wanted: Map, found: Map, chart: Map, pending_minutes: int, now: dt.datetime) -> ReleasePlan:
    """``found`` is what :func:`read_release` returned.

    Helm's states: deployed, failed, pending-install, pending-upgrade, pending-rollback, uninstalling, uninstalled, superseded, unknown.
    """
    unknown = sorted(set(wanted) - set(KEYS))
    if unknown:
        raise GatewayError(f"platform_release: there is no key '{unknown[0]}'; the keys are {', '.join(KEYS)}")
    name, namespace = wanted["name"], wanted["namespace"]
    where = f"{name} in namespace {namespace}"
    target = f"{chart['name']}-{chart['version']}"
    state = found.get("status", "")
    if wanted.get("state", "present") == "absent":
        gone = not found or state == "uninstalled"
        return ReleasePlan("none", chart) if gone else ReleasePlan("uninstall", chart, f"Helm uninstalls {where} ({found.get('chart')}).")
    if not found or state == "uninstalled":
        return ReleasePlan("install", chart, f"Helm installs {target} as {where}.")
    if state == "uninstalling":
        problem = (
            f"Helm was interrupted while it uninstalled {where}. "
            f"Finish it with: helm uninstall {name} --namespace {namespace}; then run again."
        )
        return ReleasePlan("none", chart, problem=problem)
    revision = found.get("revision", "")
    drop = f"sh.helm.release.v1.{name}.v{revision}"
    if state.startswith("pending"):
        return _pending(wanted, found, chart, state, drop, pending_minutes, now)
    if state == "failed":
        message = f"Revision {revision} of {where} failed. Its record is dropped, and Helm tries {target} again."
        return ReleasePlan("upgrade", chart, message, drop=drop)
    differences = _differences(wanted, found, target)
    if not differences:
        return ReleasePlan("none", chart)
    return ReleasePlan("upgrade", chart, f"Helm upgrades {where}: {', '.join(differences)}.")


def _pending(wanted: Map, found: Map, chart: Map, state: str, drop: str, pending_minutes: int, now: dt.datetime) -> ReleasePlan:
    name, namespace, revision = wanted["name"], wanted["namespace"], found.get("revision", "")
    where = f"{name} in namespace {namespace}"
    minutes = _minutes_since(str(found.get("updated", "")), now)
    if minutes is not None and minutes < pending_minutes:
        problem = (
            f"Helm is at work on {where}: revision {revision} has been {state} for {minutes:.0f} minutes. "
            f"Wait until it is done (helm status {name} --namespace {namespace}). If whoever started it is gone, run again "
            f"{pending_minutes} minutes after its start, or delete Secret {drop} in namespace {namespace} now."
        )
        return ReleasePlan("none", chart, problem=problem)
    message = (
        f"Revision {revision} of {where} has been {state} for too long: Helm was interrupted. "
        f"Its record is dropped, and Helm starts {chart['name']}-{chart['version']} again."
    )
    return ReleasePlan("upgrade", chart, message, drop=drop)


def _differences(wanted: Map, found: Map, target: str) -> list[str]:
    before, after = found.get("values") or {}, wanted.get("values") or {}
    differences = [] if found.get("chart") == target else [f"{found.get('chart')} becomes {target}"]
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    # Names only: a value may be a credential.
    return differences + ([f"other values of {', '.join(changed)}"] if changed else [])


def _minutes_since(moment: str, now: dt.datetime) -> float | None:
    """Helm writes RFC 3339 with nanoseconds, such as ``2026-11-23T20:50:11.123456789+01:00``; None for what cannot be read."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", moment)
    return (now - dt.datetime.fromisoformat(found[1] + found[2])).total_seconds() / 60 if found else None
