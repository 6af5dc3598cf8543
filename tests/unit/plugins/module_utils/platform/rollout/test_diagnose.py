# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.diagnose import Observed, diagnose, progress

Object = dict[str, t.Any]


def deployment(
    *, generation: int = 2, replicas: int = 1, conditions: tuple[Object, ...] = (), paused: bool = False, **status: t.Any
) -> Object:
    return {
        "metadata": {"name": "model", "namespace": "llm", "uid": "d", "generation": generation},
        "spec": {"replicas": replicas, **({"paused": True} if paused else {})},
        "status": {"observedGeneration": 2, "conditions": list(conditions), **status},
    }


def replica_set(name: str = "model-2", revision: str = "2", conditions: tuple[Object, ...] = ()) -> Object:
    return {
        "metadata": {"name": name, "uid": name, "annotations": {"deployment.kubernetes.io/revision": revision}},
        "status": {"conditions": list(conditions)},
    }


def pod(
    *, owner: str = "model-2", containers: tuple[Object, ...] = (), conditions: tuple[Object, ...] = (), claim: str = "", **status: t.Any
) -> Object:
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    return {
        "metadata": {"name": f"{owner}-abc", "namespace": "llm", "ownerReferences": [{"uid": owner}]},
        "spec": {"containers": [{"name": "server", "image": "quay.io/vllm/server:v1"}], "volumes": volumes},
        "status": {"containerStatuses": list(containers), "conditions": list(conditions), **status},
    }


def waiting(reason: str, message: str = "", **more: t.Any) -> Object:
    return {"name": "server", "state": {"waiting": {"reason": reason, "message": message}}, **more}


def event(name: str, reason: str, message: str, at: str = "2026-11-23T10:00:00Z") -> Object:
    return {"involvedObject": {"name": name}, "reason": reason, "message": message, "lastTimestamp": at}


def unscheduled(message: str, reason: str = "Unschedulable") -> Object:
    return {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}


def observed(
    *pods: Object,
    sets: tuple[Object, ...] = (replica_set(),),
    events: tuple[Object, ...] = (),
    workload: Object | None = None,
    **more: t.Any,
) -> Observed:
    return Observed("Deployment", "model", workload or deployment(), sets, pods, events=events, **more)


@pytest.mark.parametrize(
    ("kind", "workload", "done", "waiting_for"),
    [
        pytest.param("Deployment", None, False, "it does not exist", id="absent"),
        pytest.param("Deployment", deployment(updatedReplicas=1, replicas=1, availableReplicas=1), True, "", id="rolled out"),
        pytest.param("Deployment", deployment(generation=3), False, "its controller has not looked at it yet", id="not observed"),
        pytest.param("Deployment", deployment(), False, "0 of 1 pods are of the present version", id="nothing yet"),
        pytest.param("Deployment", {"metadata": {"name": "m"}}, False, "its controller has not looked at it yet", id="no status"),
        pytest.param(
            "StatefulSet",
            {
                "metadata": {"generation": 1},
                "spec": {"replicas": 2},
                "status": {
                    "observedGeneration": 1,
                    "currentRevision": "a",
                    "updateRevision": "b",
                    "replicas": 2,
                    "updatedReplicas": 1,
                    "availableReplicas": 2,
                },
            },
            False,
            "1 of 2 pods are of the present version",
            id="half of a StatefulSet is new",
        ),
        pytest.param(
            "StatefulSet",
            {
                "metadata": {"generation": 1},
                "spec": {"replicas": 1},
                "status": {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "a", "replicas": 1, "availableReplicas": 1},
            },
            True,
            "",
            id="StatefulSet that was never updated",
        ),
        pytest.param(
            "DaemonSet",
            {
                "metadata": {"generation": 1},
                "spec": {},
                "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1},
            },
            False,
            "1 of 2 pods are available",
            id="DaemonSet on one of two nodes",
        ),
    ],
)
def test_progress(kind: str, workload: Object | None, done: bool, waiting_for: str) -> None:
    state = progress(kind, workload)
    assert (state.done, state.waiting_for) == (done, waiting_for)


def test_progress_waits_for_old_pods_to_go() -> None:
    workload = deployment(updatedReplicas=1, availableReplicas=1)
    workload["status"]["replicas"] = 2
    assert progress("Deployment", workload).waiting_for == "1 pods of an older version are still there"


def test_a_deployment_scaled_to_nothing_is_rolled_out() -> None:
    assert progress("Deployment", deployment(replicas=0)).done


PULL = 'Failed to pull image "quay.io/vllm/server:v1": '


@pytest.mark.parametrize(
    ("seen", "text", "remedy", "lasting"),
    [
        pytest.param(
            observed(pod(containers=(waiting("ErrImagePull", "unauthorized: access is not authorized"),))),
            'image quay.io/vllm/server:v1 of pod model-2-abc cannot be had: "unauthorized: access is not authorized"',
            "Give the ServiceAccount credentials",
            True,
            id="registry refuses",
        ),
        pytest.param(
            observed(
                pod(containers=(waiting("ImagePullBackOff", 'Back-off pulling image "quay.io/vllm/server:v1"'),)),
                events=(
                    event("model-2-abc", "Failed", PULL + "connection refused", "2026-11-23T09:00:00Z"),
                    event("model-2-abc", "Failed", PULL + "manifest unknown", "2026-11-23T10:00:00Z"),
                    event("model-2-abc", "Failed", "Error: ImagePullBackOff", "2026-11-23T11:00:00Z"),
                    event("other", "Failed", PULL + "x509: unknown authority", "2026-11-23T12:00:00Z"),
                ),
            ),
            "manifest unknown",
            "Correct the image or its version",
            True,
            id="back-off: the registry's answer is in the newest event of this pod",
        ),
        pytest.param(
            observed(pod(containers=(waiting("ErrImagePull", "dial tcp: lookup quay.io: no such host"),))),
            "no such host",
            "Let the nodes reach the registry",
            True,
            id="no way to the registry",
        ),
        pytest.param(
            observed(pod(containers=(waiting("ErrImagePull", "tls: failed to verify certificate: x509: unknown authority"),))),
            "x509",
            "Let the nodes trust the certificate",
            True,
            id="registry with a private certificate",
        ),
        pytest.param(
            observed(pod(containers=(waiting("ErrImagePull", "toomanyrequests: You have reached your pull rate limit"),))),
            "toomanyrequests",
            "Wait for the registry's limit",
            True,
            id="rate limit",
        ),
        pytest.param(
            observed(pod(containers=(waiting("ErrImagePull", "http: server gave HTTP response to HTTPS client"),))),
            "HTTP response to HTTPS client",
            "The registry speaks plain HTTP",
            True,
            id="registry without TLS",
        ),
        pytest.param(
            observed(pod(containers=(waiting("CreateContainerConfigError", 'secret "hf-token" not found'),))),
            'container server of pod model-2-abc cannot be made: "secret "hf-token" not found" (CreateContainerConfigError)',
            "Make Secret hf-token in namespace llm.",
            True,
            id="no Secret",
        ),
        pytest.param(
            observed(pod(containers=(waiting("CreateContainerConfigError", 'configmap "settings" not found'),))),
            'configmap "settings" not found',
            "Make ConfigMap settings in namespace llm.",
            True,
            id="no ConfigMap",
        ),
        pytest.param(
            observed(pod(containers=(waiting("CreateContainerConfigError", "couldn't find key token in Secret llm/hf-token"),))),
            "couldn't find key token",
            "Add key token to Secret hf-token in namespace llm.",
            True,
            id="no such key in the Secret",
        ),
        pytest.param(
            observed(
                pod(
                    containers=(
                        waiting(
                            "CrashLoopBackOff",
                            "back-off 40s",
                            restartCount=4,
                            lastState={"terminated": {"exitCode": 1, "message": "loading\nCUDA error: no device\n"}},
                        ),
                    )
                )
            ),
            'container server of pod model-2-abc ends with exit code 1, 4 restarts: "CUDA error: no device"',
            "kubectl logs -n llm model-2-abc -c server --previous",
            True,
            id="crash loop with its last words",
        ),
        pytest.param(
            observed(pod(containers=(waiting("CrashLoopBackOff", restartCount=1, lastState={"terminated": {"exitCode": 2}}),))),
            "ends with exit code 2, 1 restarts",
            "kubectl logs",
            False,
            id="one crash may heal",
        ),
        pytest.param(
            observed(
                pod(
                    containers=(
                        waiting("CrashLoopBackOff", restartCount=1, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
                    )
                )
            ),
            "ran out of memory",
            "Raise its memory limit",
            True,
            id="killed for its memory",
        ),
        pytest.param(
            observed(pod(conditions=(unscheduled("0/2 nodes are available: 2 Insufficient memory."),))),
            'no node takes pod model-2-abc: "0/2 nodes are available: 2 Insufficient memory"',
            "Lower the resource requests, or add nodes.",
            True,
            id="no node with memory",
        ),
        pytest.param(
            observed(pod(conditions=(unscheduled("0/2 nodes are available: 2 Insufficient nvidia.com/gpu."),))),
            "nvidia.com/gpu",
            "Add a node with a free accelerator",
            True,
            id="no node with a GPU",
        ),
        pytest.param(
            observed(pod(conditions=(unscheduled("0/2 nodes are available: 2 node(s) had untolerated taint {gpu: }."),))),
            "untolerated taint",
            "Add a toleration",
            True,
            id="taint",
        ),
        pytest.param(
            observed(
                pod(claim="models", conditions=(unscheduled("pod has unbound immediate PersistentVolumeClaims."),)),
                claims=({"metadata": {"name": "models"}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}},),
                events=(event("models", "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found'),),
            ),
            'pod model-2-abc waits for PersistentVolumeClaim models, which is Pending: "storageclass.storage.k8s.io "fast" not found"',
            "See that StorageClass fast exists",
            True,
            id="claim without a provisioner",
        ),
        pytest.param(
            observed(
                pod(), events=(event("model-2-abc", "FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "c" not found'),)
            ),
            "pod model-2-abc has no volume",
            "Make the object that the volume is taken from.",
            True,
            id="volume of a ConfigMap that is not there",
        ),
        pytest.param(
            observed(pod(), events=(event("model-2-abc", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),)),
            "Readiness probe failed",
            "Read what it says",
            False,
            id="readiness probe",
        ),
        pytest.param(
            observed(
                sets=(
                    replica_set(
                        conditions=(
                            {
                                "type": "ReplicaFailure",
                                "status": "True",
                                "message": 'pods "m" is forbidden: exceeded quota: team, requested: cpu=1',
                            },
                        )
                    ),
                )
            ),
            "its pods are refused",
            "Raise the ResourceQuota",
            True,
            id="quota",
        ),
        pytest.param(
            observed(events=(event("model-2", "FailedCreate", 'pods "m" is forbidden: violates PodSecurity "restricted:latest"'),)),
            "violates PodSecurity",
            "pod-security.kubernetes.io/enforce",
            True,
            id="PodSecurity, told by an event only",
        ),
        pytest.param(
            observed(sets=()), "no ReplicaSet was made for it", "kube-controller-manager", False, id="nobody works off Deployments"
        ),
        pytest.param(
            observed(workload=deployment(paused=True)), "it is paused", "kubectl rollout resume deployment/model -n llm", True, id="paused"
        ),
        pytest.param(
            observed(
                workload=deployment(
                    conditions=(
                        {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet has timed out progressing."},
                    )
                )
            ),
            "it made no progress within its deadline",
            "kubectl describe deployment/model -n llm",
            True,
            id="progress deadline",
        ),
        pytest.param(
            observed(pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")),
            'failed: "Evicted: The node was low on resource: memory"',
            "Give the node what it lacks",
            False,
            id="evicted",
        ),
    ],
)
def test_diagnose(seen: Observed, text: str, remedy: str, lasting: bool) -> None:
    cause = diagnose(seen)[0]
    assert text in cause.text
    assert remedy in cause.remedy
    assert cause.lasting is lasting


def test_pods_of_an_older_version_do_not_count() -> None:
    old = pod(owner="model-1", containers=(waiting("ErrImagePull", "unauthorized"),))
    assert diagnose(observed(old, pod(), sets=(replica_set("model-1", "9"), replica_set("model-2", "10")))) == []


def test_a_pod_that_is_being_deleted_does_not_count() -> None:
    gone = pod(containers=(waiting("ErrImagePull", "unauthorized"),))
    gone["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z"
    assert diagnose(observed(gone)) == []


def test_pods_with_the_same_fault_are_told_once() -> None:
    first, second = (pod(containers=(waiting("ErrImagePull", "unauthorized"),)) for _index in range(2))
    second["metadata"]["name"] = "model-2-def"
    assert len(diagnose(observed(first, second))) == 1


def test_a_lasting_cause_comes_before_one_that_may_go() -> None:
    first = pod(containers=(waiting("CrashLoopBackOff", restartCount=1),))
    second = pod(containers=(waiting("ErrImagePull", "unauthorized"),))
    assert [cause.lasting for cause in diagnose(observed(first, second))] == [True, False]


def test_a_claim_that_waits_for_its_pod_is_no_cause() -> None:
    seen = observed(
        pod(claim="models"),
        claims=({"metadata": {"name": "models"}, "spec": {}, "status": {"phase": "Pending"}},),
        events=(event("models", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"),),
    )
    assert diagnose(seen) == []


def test_a_long_answer_is_shortened() -> None:
    assert len(diagnose(observed(pod(containers=(waiting("ErrImagePull", "x" * 5000),))))[0].text) < 600
