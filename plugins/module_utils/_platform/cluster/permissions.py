# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What roles do with the API server (``meta/permissions.yml`` of each), and what of it the user may not do.

An entry has ``api_group`` (empty: the core group), ``resource`` (one or a list, in the plural, also ``pods/log``), ``verbs``,
``namespace`` (an expression over the role's variables such as the name of one, or ``*`` for the whole cluster) and optionally ``when``
(an expression) and ``personas``, to whom hack/access gives it in roles/cluster/files/access.yml.
"""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import missing_permissions, qualified

Map: t.TypeAlias = t.Mapping[str, t.Any]
#: Evaluates an expression over the variables of a role.
Evaluate: t.TypeAlias = t.Callable[[str], t.Any]

ORDER = ("get", "list", "watch", "create", "update", "patch", "delete")  # of verbs in a sentence; others follow
KEYS = {"api_group", "resource", "verbs", "namespace", "when", "personas"}
EVERYWHERE = "*"


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One verb on one resource; without a namespace it is meant in the whole cluster."""

    group: str
    resource: str
    namespace: str | None
    verb: str


def resolved(role: str, entries: t.Iterable[Map], evaluate: Evaluate) -> t.Iterator[Permission]:
    """The permissions that a role needs with these variables; raises GatewayError for an entry that cannot be one."""
    for number, entry in enumerate(entries, start=1):
        wrong = sorted(entry.keys() - KEYS) or sorted({"api_group", "resource", "verbs", "namespace"} - entry.keys())
        if wrong:
            raise GatewayError(
                f"meta/permissions.yml of role {role}, entry {number}: {wrong[0]} is missing or unknown; the keys are {KEYS}"
            )
        if "when" in entry and not evaluate(entry["when"]):
            continue
        namespace = None if entry["namespace"] == EVERYWHERE else str(evaluate(entry["namespace"]))
        resources = [entry["resource"]] if isinstance(entry["resource"], str) else entry["resource"]
        for resource in resources:
            for verb in entry["verbs"]:
                yield Permission(entry["api_group"], resource, namespace, verb)


def missing(kube: Kube, wanted: t.Mapping[Permission, t.Collection[str]]) -> list[str]:
    """What the API server denies to this user, a sentence for each resource and place, with the roles that want it.

    ``wanted``: permission to roles. A permission in the whole cluster covers the same in a namespace, so that only the former is asked for.
    """
    whole = {(one.group, one.resource, one.verb) for one in wanted if one.namespace is None}
    asked = [one for one in wanted if one.namespace is None or (one.group, one.resource, one.verb) not in whole]
    denied = missing_permissions(
        kube, [{"verb": [one.verb], "group": one.group, "resource": [one.resource], "namespace": one.namespace} for one in asked]
    )
    return told({Permission(one["group"], one["resource"], one["namespace"], one["verb"]): () for one in denied}, wanted)


def told(denied: t.Iterable[Permission], wanted: t.Mapping[Permission, t.Collection[str]]) -> list[str]:
    """``create, patch deployments.apps in namespace llm (role vllm)``, one for each resource and place, in the order of the roles."""
    verbs: dict[str, list[str]] = collections.defaultdict(list)
    roles: dict[str, list[str]] = collections.defaultdict(list)
    for one in denied:
        place = f"in namespace {one.namespace}" if one.namespace else "in the whole cluster"
        what = f"{qualified(one.resource, one.group)} {place}"
        verbs[what].append(one.verb)
        roles[what] += [role for role in wanted[one] if role not in roles[what]]
    for said in verbs.values():
        said.sort(key=lambda verb: ORDER.index(verb) if verb in ORDER else len(ORDER))
    return [f"{', '.join(verbs[what])} {what} ({'role' if len(roles[what]) == 1 else 'roles'} {', '.join(roles[what])})" for what in verbs]
