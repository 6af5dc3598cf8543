# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The Kubernetes objects of a model server. Pure: a :class:`Config` goes in, definitions come out."""

from __future__ import annotations

import math
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.config import Config

Object: t.TypeAlias = dict[str, t.Any]

CACHE = "/cache"
# What a model server asks for when vllm_resources says nothing: the simulator fits any laptop, a small model on a CPU a workstation.
RESOURCES: dict[str, dict[str, dict[str, str]]] = {
    "simulator": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    "cpu": {"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {"memory": "10Gi"}},
    "gpu": {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"memory": "32Gi"}},
}
# Everything that vLLM and its libraries write goes under one folder, so that the root file system can be read-only.
# Nothing is reported home.
ENVIRONMENT = {
    "HF_HOME": f"{CACHE}/huggingface",
    "HOME": f"{CACHE}/home",
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/torchinductor",
    "TRITON_CACHE_DIR": f"{CACHE}/triton",
    "USER": "vllm",  # torch asks for the name of a user that the image does not know
    "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
    "VLLM_NO_USAGE_STATS": "1",
    "XDG_CACHE_HOME": f"{CACHE}/xdg",
}
CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; fits RESOURCES["cpu"] with a model of about 2 GiB
FINGERPRINT = "kuadrant.llm/hf-token-fingerprint"


def labels(config: Config) -> dict[str, str]:
    """Labels of every object; the selectors use ``app`` only, as the original's do."""
    return {
        "app": config.name,
        "app.kubernetes.io/name": config.name,
        "app.kubernetes.io/component": "model-server",
        **MANAGED_BY,
    }


def objects(config: Config, live: Object | None = None) -> list[Object]:
    """All objects but the token's Secret, in the order in which to apply them; ``live`` is the present Deployment.

    The NetworkPolicy comes before the pods, so that they are never reachable without it.
    """
    return [
        *([_claim(config)] if config.cache_size else []),
        *([_network_policy(config)] if config.network_policy else []),
        _deployment(config, live or {}),
        _service(config),
        *([_disruption_budget(config)] if config.max_unavailable else []),
        *([_autoscaler(config)] if config.autoscaling else []),
        *([_monitor(config)] if config.monitor else []),
    ]


def _object(
    config: Config, api_version: str, kind: str, spec: Object, *, name: str = "", more_labels: dict[str, str] | None = None
) -> Object:
    metadata = {"name": name or config.name, "namespace": config.namespace, "labels": labels(config) | (more_labels or {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _selector(config: Config) -> dict[str, str]:
    return {"app": config.name}


def _claim(config: Config) -> Object:
    spec: Object = {"accessModes": [config.cache_access_mode], "resources": {"requests": {"storage": config.cache_size}}}
    if config.cache_storage_class:
        spec["storageClassName"] = config.cache_storage_class
    return _object(config, "v1", "PersistentVolumeClaim", spec, name=config.claim)


def _network_policy(config: Config) -> Object:
    def namespace(name: str) -> Object:
        return {"matchLabels": {"kubernetes.io/metadata.name": name}}

    peers: list[Object] = [
        {
            "namespaceSelector": namespace(config.gateway_namespace or config.namespace),
            "podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": config.gateway_name}},
        }
    ]
    if config.monitor:
        peers.append(
            {
                "namespaceSelector": namespace(config.prometheus_namespace),
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            }
        )
    ingress = [{"from": peers + config.network_policy_from, "ports": [{"port": config.port, "protocol": "TCP"}]}]
    spec = {"podSelector": {"matchLabels": _selector(config)}, "policyTypes": ["Ingress"], "ingress": ingress}
    return _object(config, "networking.k8s.io/v1", "NetworkPolicy", spec)


def replicas(config: Config, live: Object) -> int:
    """How many pods to ask for. With an autoscaler: as many as there are, within its bounds, so that the two do not fight."""
    if not config.autoscaling:
        return config.replicas
    present = int(live.get("spec", {}).get("replicas", config.replicas))
    return max(config.autoscaling_min, min(config.autoscaling_max, present))


def _deployment(config: Config, live: Object) -> Object:
    metadata: Object = {"labels": labels(config)}
    if config.hf_token_fingerprint:  # another token starts new pods
        metadata["annotations"] = {FINGERPRINT: config.hf_token_fingerprint}
    spec = {
        "replicas": replicas(config, live),
        "selector": {"matchLabels": _selector(config)},
        "strategy": _strategy(config),
        "progressDeadlineSeconds": max(600, config.startup_timeout + 300),
        "template": {"metadata": metadata, "spec": _pod(config)},
    }
    return _object(config, "apps/v1", "Deployment", spec)


def _strategy(config: Config) -> Object:
    """A new pod next to the old one needs a second GPU and a volume that both may mount; without these it would wait forever."""
    alone = config.gpu or (bool(config.claim) and config.cache_access_mode != "ReadWriteMany")
    if config.strategy == "Recreate" or (config.strategy == "auto" and alone):
        return {"type": "Recreate"}
    # In full, so that the field is ours and goes away when the type changes.
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _pod(config: Config) -> Object:
    security: Object = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if config.run_as_user:
        security |= {"runAsUser": config.run_as_user, "runAsGroup": config.run_as_user, "fsGroup": config.run_as_user}
        security["fsGroupChangePolicy"] = "OnRootMismatch"
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT, which vLLM reads
        "securityContext": security,
        "terminationGracePeriodSeconds": 30 if config.simulated else 120,
        "containers": [_container(config)],
        "volumes": _volumes(config),
    }
    taint = [{"key": config.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}]
    optional = {
        "imagePullSecrets": [{"name": name} for name in config.pull_secrets],
        "nodeSelector": config.node_selector,
        "tolerations": config.tolerations or (taint if config.gpu else []),
        "affinity": config.affinity,
        "runtimeClassName": config.runtime_class,
    }
    return spec | {field: value for field, value in optional.items() if value}


def _container(config: Config) -> Object:
    container: Object = {
        "name": "simulator" if config.simulated else "vllm",
        "image": config.image,
        "imagePullPolicy": config.pull_policy,
        "args": arguments(config),
        "env": _environment(config),
        "ports": [{"name": "http", "containerPort": config.port, "protocol": "TCP"}],
        "resources": _resources(config),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": config.read_only_root,
        },
        "volumeMounts": [{"name": volume["name"], "mountPath": _MOUNTS[volume["name"]]} for volume in _volumes(config)],
        **_probes(config),
    }
    if not config.simulated:
        container["command"] = ["vllm", "serve"]  # images differ in what their entry point takes
    return container


def arguments(config: Config) -> list[str]:
    """The command line behind the program."""
    given = ["--port", str(config.port)]
    if config.simulated:
        given += ["--model", config.model]
    else:
        given = [config.model, "--host", "0.0.0.0", *given]  # noqa: S104 - a pod listens for its Service
        if config.dtype != "auto":
            given += ["--dtype", config.dtype]
    if config.served_name not in {"", config.model}:
        given += ["--served-model-name", config.served_name]
    if config.max_model_len:
        given += ["--max-model-len", str(config.max_model_len)]
    flags = {argument.split("=", 1)[0] for argument in config.args}
    if config.simulated and "--force-dummy-tokenizer" not in flags and _knows_tokenizers(config):
        given.append("--force-dummy-tokenizer")
    if config.gpu and config.gpu_count > 1 and not flags & {"--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp"}:
        given += ["--tensor-parallel-size", str(config.gpu_count)]
    return given + config.args


def _knows_tokenizers(config: Config) -> bool:
    """From 0.9 on the simulator asks Hugging Face for the tokenizer of a real model, and waits; before, it does not know the flag."""
    version = re.search(r":v?(\d+)\.(\d+)", f":{config.version}" if config.version else config.image.rsplit("/", 1)[-1])
    return version is None or (int(version[1]), int(version[2])) >= (0, 9)


def _environment(config: Config) -> list[Object]:
    values = dict(config.env)
    if not config.simulated:
        values = ENVIRONMENT | ({} if config.gpu else CPU_ENVIRONMENT) | values
    environment: list[Object] = [{"name": name, "value": value} for name, value in sorted(values.items())]
    if config.simulated:
        # The simulator names its pod in an answer's header from these.
        environment += [
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in (("POD_NAME", "metadata.name"), ("POD_NAMESPACE", "metadata.namespace"))
            if name not in values
        ]
    secret = config.hf_secret or (token_secret(config) if config.hf_token_fingerprint else "")
    if secret:
        environment.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": config.hf_secret_key}}})
    return environment


def token_secret(config: Config) -> str:
    """Name of the Secret that holds vllm_hf_token."""
    return f"{config.name}-hf-token"


def _resources(config: Config) -> Object:
    resources = config.resources or RESOURCES["simulator" if config.simulated else config.device]
    if config.gpu:
        count = {config.gpu_resource: str(config.gpu_count)}
        resources = {**resources, "limits": {**resources.get("limits", {}), **count}}
        resources["requests"] = {**resources.get("requests", {}), **count}
    return resources


_MOUNTS = {"tmp": "/tmp", "shm": "/dev/shm", "cache": CACHE}  # noqa: S108 - paths in a container of our own


def _volumes(config: Config) -> list[Object]:
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {}}]
    if config.simulated:
        return volumes
    if config.shm_size:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": config.shm_size}})
    volumes.append({"name": "cache", **({"persistentVolumeClaim": {"claimName": config.claim}} if config.claim else {"emptyDir": {}})})
    return volumes


def _probes(config: Config) -> Object:
    """The other probes begin when the model is loaded, for which startup_timeout gives time."""

    def probe(period: int, failures: int, timeout: int) -> Object:
        return {
            "httpGet": {"path": "/health", "port": "http", "scheme": "HTTP"},
            "periodSeconds": period,
            "failureThreshold": failures,
            "timeoutSeconds": timeout,
        }

    period = 2 if config.simulated else 10
    return {
        "startupProbe": probe(period, math.ceil(config.startup_timeout / period), 5),
        "readinessProbe": probe(5, 3, 5),
        "livenessProbe": probe(10, 6, 10),  # a server under full load answers late: only a minute without an answer restarts it
    }


def _service(config: Config) -> Object:
    ports = [{"name": "http", "appProtocol": "http", "port": config.port, "protocol": "TCP", "targetPort": "http"}]
    return _object(config, "v1", "Service", {"type": "ClusterIP", "selector": _selector(config), "ports": ports})


def _disruption_budget(config: Config) -> Object:
    share = config.max_unavailable
    spec = {"maxUnavailable": share if share.endswith("%") else int(share), "selector": {"matchLabels": _selector(config)}}
    return _object(config, "policy/v1", "PodDisruptionBudget", spec)


def _autoscaler(config: Config) -> Object:
    metric: Object
    if config.autoscaling_metric == "cpu":
        target: Object = {"type": "Utilization", "averageUtilization": config.autoscaling_cpu}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    else:
        target = {"type": "AverageValue", "averageValue": str(config.autoscaling_waiting)}
        metric = {"type": "Pods", "pods": {"metric": {"name": config.autoscaling_metric_name}, "target": target}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": config.name},
        "minReplicas": config.autoscaling_min,
        "maxReplicas": config.autoscaling_max,
        "metrics": [metric],
    }
    return _object(config, "autoscaling/v2", "HorizontalPodAutoscaler", spec)


def _monitor(config: Config) -> Object:
    spec = {
        "selector": {"matchLabels": labels(config)},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": config.monitor_interval}],
    }
    name = config.monitor_name or f"{config.name}-monitor"
    monitor = _object(config, "monitoring.coreos.com/v1", "ServiceMonitor", spec, name=name)
    monitor["metadata"]["labels"] |= config.monitor_labels
    return monitor
