# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Set what Kuadrant's chart has no values for, start an operator again that looked too early, and create the Kuadrant resource."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method, Outcome, essence
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import CRDS, DEPLOYMENTS, KUADRANTS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import lookup
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.decision import OPTIONAL_CRDS, REQUIRED_CRDS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.deployment import (
    ENV_ANNOTATION,
    deployment_patch,
    late_dependencies,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.effect import GRACE, Rollout, wait_in_effect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import PODS, Workload, wait
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

AUTHORINOS = Resource("operator.authorino.kuadrant.io/v1beta1", "Authorino", "authorinos")
AUTHORINO = "authorino"  # the one that kuadrant-operator creates, once, and leaves to others then
OPERATOR = "kuadrant-operator-controller-manager"
# All that the chart brings. By name: the label control-plane=controller-manager is on pods of several of them.
OPERATORS = (OPERATOR, "authorino-operator", "limitador-operator-controller-manager", "dns-operator-controller-manager")
_OPERATOR_LABELS = {"app": "kuadrant", "control-plane": "controller-manager"}
_HINT = f"The log of Deployment/{OPERATOR} in that namespace tells more."


@dataclasses.dataclass(frozen=True)
class Operators:
    """What the operators' Deployments are to have; ``env`` and ``resources`` are kuadrant-operator's, the rest is for all of them."""

    env: t.Mapping[str, t.Any]
    resources: t.Mapping[str, t.Any]
    mirror: str = ""
    replacements: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    pull_secret: str = ""

    def patch(self, deployment: Object) -> Object:
        """What this one lacks, as a strategic merge patch."""
        main = deployment["metadata"]["name"] == OPERATOR
        return deployment_patch(
            deployment,
            env=self.env if main else {},
            resources=self.resources if main else {},
            mirror=self.mirror,
            replacements=self.replacements,
            pull_secret=self.pull_secret,
        )


@dataclasses.dataclass(frozen=True)
class Instance:
    """The Kuadrant resource. ``spec`` is exactly what it shall say; None: it belongs to others and is only waited for.

    ``authorino_pull_policy``: when Authorino's image is pulled; empty leaves it to authorino-operator, which says Always.
    """

    namespace: str
    name: str
    spec: t.Mapping[str, t.Any] | None
    authorino_pull_policy: str = ""


class Setup:
    """One run. ``changes`` and ``notes`` (sentences) tell what was done, or in check mode what would be."""

    def __init__(self, kube: Kube, *, check: bool, timeout: float, clock: Clock | None = None) -> None:
        self._kube, self._check, self._timeout, self._clock = kube, check, timeout, clock or Clock()
        self.changes = Changes()
        self.notes: list[str] = []

    def operators(self, namespace: str, wanted: Operators) -> None:
        """Patch the operators in this namespace, wait until they run, and start kuadrant-operator again if it looked too early."""
        starts_anyway = False
        for name in OPERATORS:
            live = self._kube.get(DEPLOYMENTS, namespace, name)
            pods_change = self._patch(namespace, name, live, wanted)
            starts_anyway |= pods_change and name == OPERATOR
        self._wait_for_operators(namespace)
        # In check mode the patch has not started it again; it would have.
        if not (self._check and starts_anyway):
            self._restart(namespace)

    def _patch(self, namespace: str, name: str, live: Object | None, wanted: Operators) -> bool:
        """Whether its pods are, or would be, started again."""
        if live is None:
            if self._check and name == OPERATOR:
                self.changes.record(
                    f"Deployment {namespace}/{name}", None, {"env": {key: value for key, value in wanted.env.items() if value}}
                )
            return True
        patch = wanted.patch(live)
        if patch:
            after = self._kube.patch(DEPLOYMENTS, namespace, name, patch, strategic=True, dry_run=self._check)
            self.changes.record(f"Deployment {namespace}/{name}", _shown(live), _shown(after))
        return "spec" in patch

    def _wait_for_operators(self, namespace: str) -> None:
        if not self._check:
            workloads = [Workload("Deployment", name) for name in OPERATORS]
            wait(self._kube, namespace, workloads, timeout=self._timeout, grace=GRACE, clock=self._clock)

    def _restart(self, namespace: str) -> None:
        """The operator looks once, at its start, for what it works on. What comes later it neither watches nor reports as there."""
        unseen = self._unseen(namespace)
        if not unseen:
            return
        self.notes.append(f"{OPERATOR} {'would be' if self._check else 'was'} started again, which has not seen {', '.join(unseen)}.")
        moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        patch = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": moment}}}}}
        before = self._kube.get(DEPLOYMENTS, namespace, OPERATOR)
        after = self._kube.patch(DEPLOYMENTS, namespace, OPERATOR, patch, strategic=True, dry_run=self._check)
        self.changes.record(f"Pods of Deployment {namespace}/{OPERATOR}", _restarted(before), _restarted(after))
        if not self._check:
            workload = Workload("Deployment", OPERATOR)
            wait(self._kube, namespace, [workload], timeout=self._timeout, grace=GRACE, clock=self._clock)

    def _unseen(self, namespace: str) -> list[str]:
        pods = list(self._kube.iterate(PODS, namespace, _OPERATOR_LABELS))
        found = self._kube.iterate(CRDS, None, metadata_only=True)
        crds = [crd for crd in found if crd["metadata"]["name"] in (*REQUIRED_CRDS, *OPTIONAL_CRDS)]
        kuadrants = lookup.listed(self._kube, KUADRANTS, namespace)
        conditions = [condition for one in kuadrants for condition in (one.get("status") or {}).get("conditions") or ()]
        lacking = any(condition.get("reason") == "MissingDependency" for condition in conditions)
        return late_dependencies(crds, pods) or (["what is there now"] if lacking else [])

    def instance(self, wanted: Instance, *, operators: bool) -> None:
        """Create the resource or make it what it shall be, and wait until it is Ready; ``operators`` run in its namespace."""
        if wanted.spec is not None:
            metadata = {"name": wanted.name, "namespace": wanted.namespace, "labels": dict(MANAGED_BY)}
            body = {"apiVersion": KUADRANTS.api_version, "kind": "Kuadrant", "metadata": metadata, "spec": dict(wanted.spec)}
            for outcome in apply(self._kube, [body], method=Method.EXACT, check=self._check):
                self._record(outcome)
            if wanted.authorino_pull_policy:
                self._pull_policy(wanted.namespace, wanted.authorino_pull_policy)
        if not self._check:
            workloads = (Workload("Deployment", OPERATOR),) if operators else ()
            rollout = Rollout(KUADRANTS, wanted.namespace, wanted.name, workloads, _HINT)
            wait_in_effect(self._kube, rollout, timeout=self._timeout, clock=self._clock)

    def _pull_policy(self, namespace: str, policy: str) -> None:
        """kuadrant-operator creates the Authorino shortly after the Kuadrant resource, and Kuadrant is not Ready before its pod runs."""
        end = self._clock.now() + self._timeout
        while not (live := lookup.get(self._kube, AUTHORINOS, namespace, AUTHORINO)):  # or its kind is not served yet
            if self._check:
                return
            if self._clock.now() >= end:
                raise GatewayError(f"There is no Authorino {namespace}/{AUTHORINO} after {self._timeout:.0f} s. {_HINT}")
            self._clock.sleep(1)
        before = live.get("spec", {}).get("imagePullPolicy")
        if before != policy:
            self._kube.patch(AUTHORINOS, namespace, AUTHORINO, {"spec": {"imagePullPolicy": policy}}, dry_run=self._check)
            self.changes.record(f"Authorino {namespace}/{AUTHORINO}", {"imagePullPolicy": before}, {"imagePullPolicy": policy})

    def _record(self, outcome: Outcome) -> None:
        self.changes.record(outcome.label, essence(outcome.before), essence(outcome.after), secret=False)


def environment(options: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Variables of kuadrant-operator; empty ones leave upstream's values.

    Reports of tokens keep upstream's failure mode, allow: they come after the answer.
    """
    limits, limits_mode = options["rate_limit_timeout"], options["rate_limit_failure_mode"]
    return {
        "AUTH_SERVICE_TIMEOUT": options["auth_timeout"],
        "AUTH_SERVICE_FAILURE_MODE": options["auth_failure_mode"],
        "RATELIMIT_SERVICE_TIMEOUT": limits,
        "RATELIMIT_CHECK_SERVICE_TIMEOUT": limits,
        "RATELIMIT_REPORT_SERVICE_TIMEOUT": limits,
        "RATELIMIT_SERVICE_FAILURE_MODE": limits_mode,
        "RATELIMIT_CHECK_SERVICE_FAILURE_MODE": limits_mode,
        "ISTIO_GATEWAY_CONTROLLER_NAMES": ",".join(options["gateway_controllers"]),
        **options["env"],
    }


def instance_spec(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the Kuadrant resource says; kuadrant-operator writes an empty observability itself."""
    spec: dict[str, t.Any] = {"observability": {"enable": True} if options["observability"] else {}}
    if options["mtls"]:
        spec["mtls"] = {"enable": True}
    return _merged(spec, options["spec"])


def _merged(base: t.Mapping[str, t.Any], over: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    result = dict(base)
    for key, value in over.items():
        mine = result.get(key)
        result[key] = _merged(mine, value) if isinstance(mine, t.Mapping) and isinstance(value, t.Mapping) else value
    return result


def _shown(deployment: Object) -> Object:
    """What a patch can change."""
    pod = deployment["spec"]["template"]["spec"]
    annotations = {ENV_ANNOTATION: (deployment["metadata"].get("annotations") or {}).get(ENV_ANNOTATION)}
    containers = [
        {field: one.get(field) for field in ("name", "image", "env", "resources", "securityContext")} for one in pod["containers"]
    ]
    return {"annotations": annotations, "containers": containers, "imagePullSecrets": pod.get("imagePullSecrets")}


def _restarted(deployment: Object | None) -> Object:
    metadata = ((deployment or {}).get("spec") or {}).get("template", {}).get("metadata") or {}
    return {"restartedAt": (metadata.get("annotations") or {}).get("kubectl.kubernetes.io/restartedAt")}
