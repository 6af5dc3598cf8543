# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Make the Limitador resource of a cluster what the options say, and wait until Limitador runs that way."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import RECORD_PREFIX
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import CONFIG_MAPS, KUADRANTS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import lookup
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.limitador import (
    FIELDS,
    FIELDS_ANNOTATION,
    limitador_patch,
    limitador_problems,
    uses_redis,
    wanted_spec,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.effect import Rollout, wait_in_effect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import Workload
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

LIMITADORS = Resource("limitador.kuadrant.io/v1alpha1", "Limitador", "limitadors")

NAME = "limitador"  # of the resource that kuadrant-operator creates
_WORKLOADS = (Workload("Deployment", "limitador-limitador"),)
_HINT = "The log of Deployment/limitador-operator-controller-manager in that namespace tells more."


@dataclasses.dataclass(frozen=True)
class LiveLimitador:
    """The Limitador (None: there is none yet), whether its Kuadrant is ours, and where that sends traces by default."""

    live: Object | None
    ours: bool = False
    tracing_default: str = ""


def check_options(options: t.Mapping[str, t.Any]) -> None:
    """Raises GatewayError that says all that cannot work."""
    if problems := limitador_problems(options):
        raise GatewayError(" ".join(problems), problems=problems)


def check_redis(kube: Kube, namespace: str, options: t.Mapping[str, t.Any]) -> None:
    """Raises GatewayError unless the Secret with the address of Redis is there. Only its presence is looked at."""
    if not uses_redis(options):
        return
    name = options["redis_secret"]
    secret = kube.get(SECRETS, namespace, name)
    if not ((secret or {}).get("data") or {}).get("URL"):
        raise GatewayError(
            f"Secret {namespace}/{name} {'has no key URL' if secret else 'does not exist'}: Limitador would not start. "
            f"Create it with the address of Redis, for instance with kubectl create secret generic {name} -n {namespace} "
            "--from-literal=URL=redis://..."
        )


def read(kube: Kube, namespace: str) -> LiveLimitador:
    live = lookup.get(kube, LIMITADORS, namespace, NAME)
    if live is None:
        return LiveLimitador(None)
    record = kube.get(CONFIG_MAPS, namespace, f"{RECORD_PREFIX}kuadrant")
    kuadrant = next(iter(lookup.listed(kube, KUADRANTS, namespace)), {})
    tracing = ((kuadrant.get("spec") or {}).get("observability") or {}).get("tracing") or {}
    return LiveLimitador(live, record is not None and is_managed(record), str(tracing.get("defaultEndpoint") or ""))


def converge(
    kube: Kube, namespace: str, options: t.Mapping[str, t.Any] | None, *, check: bool, timeout: float, clock: Clock | None = None
) -> Changes:
    """Patch what differs and wait; without ``options``, take back what earlier runs set. In check mode the API server only predicts."""
    if options is not None:
        check_options(options)
        check_redis(kube, namespace, options)
    found = read(kube, namespace)
    wanted = wanted_spec(options) if options is not None else {}
    patch = limitador_patch(found.live or {"metadata": {}}, wanted, everything=found.ours, tracing_default=found.tracing_default)
    changes = Changes()
    name = f"Limitador {namespace}/{NAME}"
    if found.live is None:
        if options is not None and not check:
            raise GatewayError(
                f"There is no {name}: kuadrant-operator creates it next to the Kuadrant resource. Install Kuadrant first "
                "(role kuadrant.llm.kuadrant), or set limitador_namespace to the namespace of yours."
            )
        # In check mode, an earlier step of the same run would have had it created.
        changes.record(name, None, patch if options is not None and patch else None)
        return changes
    if patch:
        after = kube.patch(LIMITADORS, namespace, NAME, patch, dry_run=check)
        changes.record(name, _shown(found.live), _shown(after))
    if options is not None and not check:
        wait_in_effect(kube, Rollout(LIMITADORS, namespace, NAME, _WORKLOADS, _HINT), timeout=timeout, clock=clock)
    return changes


def _shown(live: t.Mapping[str, t.Any]) -> Object:
    """What a patch can change."""
    spec, annotations = live.get("spec") or {}, live["metadata"].get("annotations") or {}
    shown: Object = {"spec": {field: spec[field] for field in FIELDS if field in spec}}
    return shown | ({"annotations": {FIELDS_ANNOTATION: annotations[FIELDS_ANNOTATION]}} if FIELDS_ANNOTATION in annotations else {})
