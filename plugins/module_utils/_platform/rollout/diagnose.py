# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether a workload runs, and if not, why: read from the objects of the API server, in its words and the registry's.

Sources: the fields of apps/v1 and core/v1 as kubectl rollout reads them; reasons of the kubelet (pkg/kubelet/images, container) and of
the controllers (FailedCreate, ProgressDeadlineExceeded, Unschedulable).
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube_http import silent_webhook

Object: t.TypeAlias = dict[str, t.Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """One workload and what belongs to it; ``workload`` is None when it does not exist."""

    kind: str
    name: str
    workload: Object | None
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    claims: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """Why it does not run. ``lasting`` ones do not go by themselves, so that waiting on is of little use."""

    text: str
    remedy: str
    lasting: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far it is."""

    done: bool
    desired: int
    available: int
    waiting_for: str = ""


def progress(kind: str, workload: Object | None) -> Progress:
    """Rolled out means: the controller has seen this generation, all pods are of it, and all of them are available."""
    if workload is None:
        return Progress(False, 0, 0, "it does not exist")
    spec, status = workload.get("spec", {}), workload.get("status", {})
    if kind == "DaemonSet":
        desired, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        available, total = status.get("numberAvailable", 0), updated
    else:
        desired, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
        # A StatefulSet that was never updated has no updatedReplicas in old servers; its revisions agree then.
        same = kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision")
        updated = status.get("replicas", 0) if same else updated
        available, total = status.get("availableReplicas", 0), status.get("replicas", 0)
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 1):
        return Progress(False, desired, available, "its controller has not looked at it yet")
    if updated < desired:
        return Progress(False, desired, available, f"{updated} of {desired} pods are of the present version")
    if total > updated:
        return Progress(False, desired, available, f"{total - updated} pods of an older version are still there")
    if available < desired:
        return Progress(False, desired, available, f"{available} of {desired} pods are available")
    return Progress(True, desired, available)


def diagnose(observed: Observed) -> list[Cause]:
    """The causes, the most telling first; empty when nothing is known but that it is not ready yet."""
    workload = observed.workload
    if workload is None:
        return []
    causes = [cause for pod in _current_pods(observed) for cause in _pod_causes(pod, observed)]
    if not causes:
        causes += _creation_causes(observed)
    if not causes and workload.get("spec", {}).get("paused"):
        causes.append(Cause("it is paused", f"Resume it: kubectl rollout resume {_reference(observed)}.", True))
    if not causes and observed.kind == "Deployment" and not observed.replica_sets:
        causes.append(
            Cause(
                "no ReplicaSet was made for it",
                "Nothing works off Deployments: look whether kube-controller-manager runs (kubectl get lease -n kube-system).",
                False,
            )
        )
    for condition in workload.get("status", {}).get("conditions") or ():
        if condition.get("reason") == "ProgressDeadlineExceeded" and not any(cause.lasting for cause in causes):
            said = condition.get("message", "").rstrip(".")
            causes.append(
                Cause(f'it made no progress within its deadline ("{said}")', f"See kubectl describe {_reference(observed)}.", True)
            )
    unique: dict[str, Cause] = {}
    for cause in causes:
        unique.setdefault(re.sub(r"\bpod \S+", "pod", cause.text), cause)
    return sorted(unique.values(), key=lambda cause: not cause.lasting)


def _reference(observed: Observed) -> str:
    namespace = (observed.workload or {}).get("metadata", {}).get("namespace", "")
    return f"{observed.kind.lower()}/{observed.name} -n {namespace}"


def _current_pods(observed: Observed) -> list[Object]:
    """Pods of the newest ReplicaSet: older ones only wait to be replaced. Pods on their way out tell nothing."""
    pods = [pod for pod in observed.pods if not pod["metadata"].get("deletionTimestamp")]
    if observed.kind != "Deployment" or not observed.replica_sets:
        return pods
    newest = max(observed.replica_sets, key=_revision)
    return [pod for pod in pods if _owned(pod, newest)]


def _revision(replica_set: Object) -> int:
    value = replica_set["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "0")
    return int(value) if str(value).isdigit() else 0


def _owned(child: Object, owner: Object) -> bool:
    return any(reference.get("uid") == owner["metadata"].get("uid") for reference in child["metadata"].get("ownerReferences") or ())


# --- pods that are not made


def _creation_causes(observed: Observed) -> list[Cause]:
    """FailedCreate: of the ReplicaSet's condition, else of the newest event of workload or ReplicaSet."""
    for holder in (*sorted(observed.replica_sets, key=_revision, reverse=True)[:1], observed.workload or {}):
        for condition in holder.get("status", {}).get("conditions") or ():
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                return [_refused_creation(condition.get("message", ""))]
    names = {observed.name, *(replica_set["metadata"]["name"] for replica_set in observed.replica_sets)}
    messages = [_said(event) for event in _newest_first(observed.events, names) if event.get("reason") == "FailedCreate"]
    return [_refused_creation(messages[0])] if messages else []


_CREATION_REMEDIES = (
    (r"exceeded quota|failed quota", "Raise the ResourceQuota of the namespace, or lower the requests and limits of the pod."),
    (
        r"violates PodSecurity",
        "Relax the label pod-security.kubernetes.io/enforce of the namespace, or install into one where it is baseline or privileged.",
    ),
    (r"serviceaccount .* not found|error looking up service account", "Make the ServiceAccount, or name one that exists."),
    (r"maximum (cpu|memory)|minimum (cpu|memory)|LimitRange", "Bring the resources of the pod within the LimitRange of the namespace."),
    (r"admission webhook", "Bring the pod to what the admission webhook wants, or have it leave this namespace out."),
    (
        r"unable to validate against any security context constraint",
        "Grant the ServiceAccount a SecurityContextConstraint that admits the pod.",
    ),
)


def _refused_creation(message: str) -> Cause:
    remedy = silent_webhook(message) or _first(_CREATION_REMEDIES, message, "Change what the API server objects to.")
    return Cause(f'its pods are refused: "{_short(message)}"', remedy, True)


# --- pods that are not scheduled, or have no volume


def _pod_causes(pod: Object, observed: Observed) -> t.Iterator[Cause]:
    name = pod["metadata"]["name"]
    status = pod.get("status", {})
    events = _newest_first(observed.events, {name})
    claims = [
        claim
        for claim in observed.claims
        if claim["metadata"]["name"] in _claim_names(pod) and claim.get("status", {}).get("phase") in ("Pending", "Lost")
    ]
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            if claims and "PersistentVolumeClaim" in condition.get("message", ""):
                break
            yield _unscheduled(name, condition)
    for claim in claims:
        yield from _pending_claim(name, claim, observed.events)
    if status.get("phase") == "Failed":
        said = _short(": ".join(part for part in (status.get("reason", ""), status.get("message", "")) if part))
        yield Cause(f'pod {name} failed: "{said or "no reason given"}"', "Give the node what it lacks, or lower what the pod needs.", False)
    found = False
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        for cause in _container_causes(name, pod, container, events):
            found = True
            yield cause
    if not found:
        yield from _event_causes(name, pod["metadata"].get("namespace", ""), events)


_SCHEDULING_REMEDIES = (
    (
        r"Insufficient (nvidia|amd|gpu|habana)\S*|Insufficient \S+/gpu",
        "Add a node with a free accelerator and its device plugin, or run the model server on CPU.",
    ),
    (r"Insufficient \S+", "Lower the resource requests, or add nodes."),
    (r"untolerated taint", "Add a toleration, or remove the taint from a node."),
    (r"node affinity|node selector", "Label a node so that it matches, or change selector and affinity."),
    (r"PersistentVolumeClaim", "Provide a volume for the claim: a StorageClass with a provisioner, or a PersistentVolume."),
    (r"no nodes available", "The cluster has no ready node: kubectl get nodes."),
)


def _unscheduled(name: str, condition: Object) -> Cause:
    said = condition.get("message", "")
    if condition.get("reason") == "SchedulingGated":
        return Cause(f'pod {name} is held back by a scheduling gate: "{_short(said)}"', "Remove the gate, or look at who set it.", True)
    return Cause(
        f'no node takes pod {name}: "{_short(said)}"', _first(_SCHEDULING_REMEDIES, said, "Make a node fit what the pod asks for."), True
    )


def _claim_names(pod: Object) -> set[str]:
    volumes = pod.get("spec", {}).get("volumes") or ()
    return {volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume}


def _pending_claim(pod: str, claim: Object, events: t.Iterable[Object]) -> t.Iterator[Cause]:
    name = claim["metadata"]["name"]
    said = next((event for event in _newest_first(events, {name}) if event.get("reason") != "ExternalProvisioning"), None)
    if said is not None and said.get("reason") == "WaitForFirstConsumer":
        return
    wanted = claim.get("spec", {}).get("storageClassName")
    label = f"StorageClass {wanted}" if wanted else "the default StorageClass"
    message = f': "{_short(_said(said))}"' if said else ""
    remedy = f"See that {label} exists and that its provisioner runs (kubectl get storageclass), or provide a PersistentVolume."
    phase = claim.get("status", {}).get("phase")
    yield Cause(f"pod {pod} waits for PersistentVolumeClaim {name}, which is {phase}{message}", remedy, True)


# --- containers that do not start, or do not stay up

_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_IMAGE_REMEDIES = (
    (
        r"unauthorized|authentication required|access.*denied|denied:|forbidden|\b401\b|\b403\b",
        "Give the ServiceAccount credentials of the registry (imagePullSecrets; llm_gateway_mirror.pull_secret), or check that the image "
        "exists there: registries answer this for images that do not.",
    ),
    (
        r"not found|manifest unknown|name unknown|\b404\b",
        "Correct the image or its version (llm_gateway_versions), or push it to the mirror (playbook kuadrant.llm.bundle).",
    ),
    (r"toomanyrequests|rate limit|\b429\b", "Wait for the registry's limit, log in to it, or use a mirror (llm_gateway_mirror.images)."),
    (
        r"HTTP response to HTTPS client",
        "The registry speaks plain HTTP: name it as insecure in the container runtime of every node, or give it a certificate.",
    ),
    (r"x509|certificate|tls:", "Let the nodes trust the certificate of the registry, in their container runtime."),
    (
        r"no such host|connection refused|i/o timeout|timed? ?out|dial tcp|network is unreachable|EOF",
        "Let the nodes reach the registry, or name a mirror that they reach (llm_gateway_mirror.images).",
    ),
    (r"no match for platform|no matching manifest", "The image does not exist for the architecture of the node: choose another image."),
    (r"InvalidImageName|invalid reference format", "Correct the name of the image."),
    (r"ErrImageNeverPull", "Load the image into the nodes, or change imagePullPolicy."),
)


def _container_causes(pod: str, body: Object, container: Object, events: list[Object]) -> t.Iterator[Cause]:
    waiting = container.get("state", {}).get("waiting") or {}
    terminated = container.get("state", {}).get("terminated") or {}
    reason = waiting.get("reason", "")
    label = f"container {container['name']} of pod {pod}"
    namespace = body["metadata"].get("namespace", "")
    if reason in _IMAGE_REASONS:
        yield _image_cause(pod, body, container, reason, waiting.get("message", ""), events)
    elif reason == "CrashLoopBackOff" or (terminated and terminated.get("exitCode") != 0):
        last = terminated or container.get("lastState", {}).get("terminated") or {}
        yield _crash_cause(label, container, last, f"kubectl logs -n {namespace} {pod} -c {container['name']} --previous")
    elif reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError", "PostStartHookError"):
        said = waiting.get("message", "")
        yield Cause(f'{label} cannot be made: "{_short(said)}" ({reason})', _config_remedy(said, namespace), True)


def _image_cause(pod: str, body: Object, container: Object, reason: str, message: str, events: list[Object]) -> Cause:
    image = next((one["image"] for one in _containers(body) if one["name"] == container["name"]), container.get("image", ""))
    # While the kubelet backs off, only the event still has the registry's answer.
    told = [_said(event) for event in events if event.get("reason") == "Failed" and image in _said(event) and "pull" in _said(event)]
    said = message if "back-off" not in message.lower() or "rror" in message or not told else told[0]
    return Cause(
        f'image {image} of pod {pod} cannot be had: "{_short(said or reason)}" ({reason})',
        _first(_IMAGE_REMEDIES, f"{said} {reason}", "See what the registry says, and correct image, credentials or mirror."),
        True,
    )


_MORE_MEMORY = "Raise its memory limit (of a model server: vllm_resources), or give it less to do."


def _crash_cause(label: str, container: Object, last: Object, logs: str) -> Cause:
    if last.get("reason") == "OOMKilled" or "OOM-killed" in last.get(
        "message", ""
    ):  # the latter: runc, of a container that did not even start
        return Cause(f"{label} ran out of memory and was killed", _MORE_MEMORY, True)
    code = f"with exit code {last['exitCode']}" if "exitCode" in last else "again and again"
    times = container.get("restartCount", 0)
    hint = last.get("message", "").strip().splitlines()
    said = f': "{_short(hint[-1])}"' if hint else ""
    # One crash may be a dependency that starts later; it restarts by itself.
    return Cause(f"{label} ends {code}, {times} restarts{said}", f"Its last words: {logs}.", times >= 3)


def _config_remedy(said: str, namespace: str) -> str:
    key = re.search(r"couldn't find key (\S+) in (ConfigMap|Secret) (?:\S+/)?([^\s\"]+)", said)
    if key:
        return f"Add key {key[1]} to {key[2]} {key[3]} in namespace {namespace}."
    absent = re.search(r"\b(secret|configmap) \"([^\"]+)\" not found", said, re.IGNORECASE)
    if absent:
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[absent[1].lower()]
        return f"Make {kind} {absent[2]} in namespace {namespace}."
    if "runAsNonRoot" in said:
        return "Use an image with a numeric user that is not root, or set runAsUser."
    return "Correct the pod's configuration."


_MOUNT_REMEDIES = ((r"not found", "Make the object that the volume is taken from."),)


def _event_causes(pod: str, namespace: str, events: list[Object]) -> t.Iterator[Cause]:
    """What only events tell: volumes that cannot be mounted, a sandbox that cannot be made, probes that fail."""
    for event in events:
        said = _short(_said(event))
        if event.get("reason") in ("FailedMount", "FailedAttachVolume"):
            remedy = _first(_MOUNT_REMEDIES, said, "See that the volume exists and can be attached to the node.")
            yield Cause(f'pod {pod} has no volume: "{said}"', remedy, "not found" in said)
            return
        if event.get("reason") == "FailedCreatePodSandBox":
            yield Cause(f'pod {pod} gets no network: "{said}"', "Look at the network plugin (CNI) of the node.", False)
            return
        if event.get("reason") == "Unhealthy":
            yield Cause(f'pod {pod} runs, but is not well: "{said}"', f"Read what it says: kubectl logs -n {namespace} {pod}.", False)
            return


def _containers(pod: Object) -> list[Object]:
    spec = pod.get("spec", {})
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _newest_first(events: t.Iterable[Object], names: t.Collection[str]) -> list[Object]:
    mine = [event for event in events if event.get("involvedObject", {}).get("name") in names]
    return sorted(mine, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "", reverse=True)


def _said(event: Object) -> str:
    return str(event.get("message") or event.get("note") or "")


def _short(message: str, limit: int = 400) -> str:
    text = " ".join(message.split()).rstrip(".")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _first(table: t.Iterable[tuple[str, str]], text: str, otherwise: str) -> str:
    return next((remedy for pattern, remedy in table if re.search(pattern, text, re.IGNORECASE)), otherwise)
