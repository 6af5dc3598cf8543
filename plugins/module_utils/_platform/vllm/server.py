# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A model server in a cluster: its objects are applied, those that are not wanted any more are deleted, and its pods run."""

from __future__ import annotations

import base64
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY, MANAGED_BY_LABEL, MANAGER, is_managed, manager_of
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply, remove
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Outcome
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import WORKLOADS, Workload, wait
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.config import Config, parse, problems
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.objects import labels, objects, token_secret

# What there may be of a model server, whatever it was told to be before; in the order in which it goes.
KINDS = (
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
# Pods that are being replaced may still use these.
STORAGE_KINDS = (("v1", "Secret"), ("v1", "PersistentVolumeClaim"))
AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
MONITOR = ("monitoring.coreos.com/v1", "ServiceMonitor")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Beside the settings: the token (empty: none), whether a dry run may expect the kinds of monitors, and seconds to wait."""

    token: str = ""
    monitors_expected: bool = False
    timeout: float = 300
    check: bool = False


def settings(values: t.Mapping[str, t.Any]) -> Config:
    """The settings; raises GatewayError with everything that cannot be, or cannot be together."""
    try:
        config = parse(values)
    except ValueError as exc:
        raise GatewayError(str(exc)) from exc
    found = problems(config)
    if found:
        raise GatewayError(" ".join(found), problems=found)
    return config


def present(kube: Kube, config: Config, options: Options) -> list[Outcome]:
    """Bring it into the cluster and wait until it serves. Raises GatewayError for a Deployment that others created."""
    discovery = Discovery(kube)
    live = kube.get(WORKLOADS["Deployment"], config.namespace, config.name)
    if live is not None and not is_managed(live):
        owner = manager_of(live) or ""
        raise GatewayError(
            f"Deployment {config.name} in namespace {config.namespace} is there already and was not created by this collection "
            f"({MANAGED_BY_LABEL} is '{owner}'). Set vllm_name to another name, or remove it; to hand it over, give it the label "
            f"{MANAGED_BY_LABEL}={MANAGER}."
        )
    monitor = config.monitor and (discovery.find(*MONITOR) is not None or (options.check and options.monitors_expected))
    wanted = definitions(dataclasses.replace(config, monitor=monitor), options.token, live)
    outcomes = apply(kube, wanted, check=options.check, timeout=options.timeout, discovery=discovery)
    kept = {(one["kind"], one["metadata"]["name"]) for one in wanted}
    outcomes += _delete(kube, config.namespace, config.name, KINDS, kept, options, discovery)
    if not options.check:
        wait(kube, config.namespace, [Workload("Deployment", config.name)], timeout=options.timeout, grace=20)
    return outcomes + _delete(kube, config.namespace, config.name, STORAGE_KINDS, kept, options, discovery)


def absent(kube: Kube, namespace: str, name: str, options: Options) -> list[Outcome]:
    """Delete all of it, the model cache too. The namespace stays: the Gateway, its policies and the keys live in it as well."""
    return _delete(kube, namespace, name, KINDS + STORAGE_KINDS, set(), options, Discovery(kube))


def definitions(config: Config, token: str, live: Object | None) -> list[Object]:
    """Namespace, the Secret of the token if there is one, and the objects of the model server."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": config.namespace, "labels": dict(MANAGED_BY)}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": token_secret(config), "namespace": config.namespace, "labels": labels(config)},
        "type": "Opaque",
        "data": {config.hf_secret_key: base64.b64encode(token.encode()).decode()},
    }
    return [namespace, *([secret] if token else []), *objects(config, live)]


_METRICS = {  # by vllm_autoscaling_metric: the group of the API that has it, and what usually serves that
    "cpu": ("metrics.k8s.io", "metrics-server"),
    "requests_waiting": ("custom.metrics.k8s.io", "an adapter such as prometheus-adapter"),
}


def doubts(kube: Kube, config: Config) -> list[str]:
    """What may keep a HorizontalPodAutoscaler from scaling; as sentences for a warning, since the model server runs all the same."""
    if not config.autoscaling:
        return []
    live = kube.get(AUTOSCALERS, config.namespace, config.name)
    conditions = ((live or {}).get("status") or {}).get("conditions") or ()
    said = next((one["message"] for one in conditions if one["type"] == "ScalingActive" and one["status"] == "False"), "")
    group, server = _METRICS[config.autoscaling_metric]
    if _serves(kube, group) and not said:
        return []
    why = f'its controller says "{said.rstrip(".")}"' if said else f"the cluster does not serve {group}"
    return [
        f"HorizontalPodAutoscaler {config.namespace}/{config.name} does not scale: {why}. "
        f"Install {server}, see that it runs (kubectl get apiservices), or set vllm_autoscaling to false."
    ]


def _serves(kube: Kube, group: str) -> bool:
    try:
        return kube.ask(f"/apis/{group}") is not None
    except KubeError as exc:
        if exc.status != 404:  # that is how it answers for a group that it never heard of
            raise
        return False


def _delete(
    kube: Kube,
    namespace: str,
    name: str,
    kinds: t.Iterable[tuple[str, str]],
    kept: t.Collection[tuple[str, str]],
    options: Options,
    discovery: Discovery,
) -> list[Outcome]:
    mine = {**MANAGED_BY, "app.kubernetes.io/component": "model-server", "app.kubernetes.io/name": name}
    going: list[Object] = []
    for api_version, kind in kinds:
        served = discovery.find(api_version, kind)
        found = kube.iterate(served.resource, namespace, mine, metadata_only=True) if served else ()
        names = [str(one["metadata"]["name"]) for one in found]
        going += [
            {"apiVersion": api_version, "kind": kind, "metadata": {"name": one, "namespace": namespace}}
            for one in names
            if (kind, one) not in kept
        ]
    return remove(kube, going, check=options.check, timeout=options.timeout, discovery=discovery)
