# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a model server shall be, and which wishes contradict one another. Pure: nothing here asks a cluster."""

from __future__ import annotations

import dataclasses
import re
import typing as t

SIMULATED_MODEL = "simulated-model"  # the collection's name for a model that only the simulator has

# Flags that a variable of the role sets, each with that variable.
OWN_FLAGS = {
    "--port": "vllm_port",
    "--host": "",
    "--model": "vllm_model",
    "--served-model-name": "vllm_served_name",
    "--dtype": "vllm_dtype",
    "--max-model-len": "vllm_max_model_len",
}
SECRET_VARIABLES = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"}

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1035, as a Service wants it
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_BUDGET = re.compile(r"[1-9][0-9]*%?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The variables of role ``vllm`` without their prefix; sizes are Kubernetes quantities, times seconds.

    ``version`` is the image's, where its name may not tell; ``hf_token_fingerprint`` stands for a token, which does not come here. Empty
    strings and dictionaries mean: not wanted, or by default.
    """

    mode: str
    name: str
    namespace: str
    image: str
    model: str
    version: str = ""
    port: int = 8000
    pull_secrets: list[str] = dataclasses.field(default_factory=list)
    pull_policy: str = "IfNotPresent"
    served_name: str = ""
    args: list[str] = dataclasses.field(default_factory=list)
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    device: str = "cpu"
    dtype: str = "auto"
    max_model_len: int = 0
    replicas: int = 1
    strategy: str = "auto"
    resources: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    gpu_count: int = 1
    gpu_resource: str = "nvidia.com/gpu"
    runtime_class: str = ""
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    tolerations: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    affinity: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    shm_size: str = "2Gi"
    hf_token_fingerprint: str = ""
    hf_secret: str = ""
    hf_secret_key: str = "token"  # noqa: S105 - a name
    cache_size: str = ""
    cache_claim: str = ""
    cache_storage_class: str = ""
    cache_access_mode: str = "ReadWriteOnce"
    startup_timeout: int = 900
    run_as_user: int = 0
    read_only_root: bool = True
    autoscaling: bool = False
    autoscaling_min: int = 1
    autoscaling_max: int = 3
    autoscaling_metric: str = "cpu"
    autoscaling_cpu: int = 80
    autoscaling_waiting: int = 5
    autoscaling_metric_name: str = "vllm:num_requests_waiting"
    max_unavailable: str = ""
    monitor: bool = True
    monitor_name: str = ""
    monitor_labels: dict[str, str] = dataclasses.field(default_factory=dict)
    monitor_interval: str = "30s"
    network_policy: bool = True
    network_policy_from: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    gateway_name: str = "vllm-gateway"
    gateway_namespace: str = ""
    prometheus_namespace: str = "llm-observability"

    @property
    def simulated(self) -> bool:
        return self.mode == "simulator"

    @property
    def gpu(self) -> bool:
        return self.device == "gpu"

    @property
    def most_replicas(self) -> int:
        """How many pods there can be at once, a rolling update aside."""
        return self.autoscaling_max if self.autoscaling else self.replicas

    @property
    def claim(self) -> str:
        """The PersistentVolumeClaim of the model cache; empty: none."""
        return self.cache_claim or (f"{self.name}-cache" if self.cache_size else "")


def parse(values: t.Mapping[str, t.Any]) -> Config:
    """A :class:`Config` from what a template made of the variables, in which numbers may be text; :class:`ValueError` names a wrong one."""
    fields = {field.name: field for field in dataclasses.fields(Config)}
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise ValueError(f"Unknown settings of the model server: {', '.join(unknown)}.")
    return Config(**{name: _converted(name, str(fields[name].type), value) for name, value in values.items()})


def _converted(name: str, kind: str, value: t.Any) -> t.Any:
    if kind == "int":
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ValueError(f"vllm_{name} is {value!r}, which is not a whole number.") from None
    if kind == "bool":
        return value if isinstance(value, bool) else str(value).lower() in {"true", "yes", "on", "1"}
    if kind == "str":
        return "" if value is None else str(value)
    if kind == "list[str]":
        return [str(entry) for entry in value or []]
    if kind == "dict[str, str]":
        return {str(key): _text(entry) for key, entry in (value or {}).items()}
    return value or ([] if kind.startswith("list") else {})


def _text(value: t.Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def problems(config: Config) -> list[str]:
    """Why this cannot be, in whole sentences that name the variable and the way out; empty when it can."""
    return [sentence for check in (_names, _model, _arguments, _numbers, _secrets, _storage, _scaling) for sentence in check(config)]


def _names(config: Config) -> t.Iterator[str]:
    if not _NAME.fullmatch(config.name):
        yield f"vllm_name is '{config.name}', which cannot be the name of a Service: use lowercase letters, digits and '-', a letter first."
    if not config.image:
        yield "There is no image for this mode and device in the catalogue of role platform: set vllm_image."
    for variable, value in {"vllm_shm_size": config.shm_size, "vllm_cache_size": config.cache_size}.items():
        if value and not _QUANTITY.fullmatch(value):
            yield f"{variable} is '{value}', which is not a quantity such as 20Gi."


def _model(config: Config) -> t.Iterator[str]:
    if not config.model:
        yield "vllm_model is empty: name the model."
    if config.simulated and config.gpu:
        yield "vllm_device is gpu, and the simulator uses none: set vllm_device to cpu, or vllm_mode to vllm."
    if not config.simulated and config.model == SIMULATED_MODEL:
        yield (
            f"vllm_model is '{SIMULATED_MODEL}', which only the simulator has: set vllm_model to a model of Hugging Face, "
            "e.g. Qwen/Qwen3-0.6B, or to a path in the image or the cache."
        )
    if config.gpu and config.gpu_count < 1:
        yield f"vllm_gpu_count is {config.gpu_count}: vllm_device gpu needs at least 1."


def _arguments(config: Config) -> t.Iterator[str]:
    flags = [argument.split("=", 1)[0] for argument in config.args if argument.startswith("-")]
    for flag in flags:
        if flag in OWN_FLAGS:
            variable = OWN_FLAGS[flag]
            yield f"vllm_args has {flag}, which " + (f"{variable} sets: use that." if variable else "the role sets: take it out.")
    if "--api-key" in flags or "VLLM_API_KEY" in config.env:
        yield (
            "vllm_args or vllm_env sets an API key of the model server. The gateway passes the clients' own Authorization header on, so "
            "every request would be refused: take it out; the NetworkPolicy keeps everybody but the gateway away."
        )
    for name in sorted(SECRET_VARIABLES & config.env.keys()):
        yield f"vllm_env has {name}, which would stand in the Deployment for everybody to read: use vllm_hf_token or vllm_hf_secret."


def _numbers(config: Config) -> t.Iterator[str]:
    if not 1 <= config.port <= 65535:
        yield f"vllm_port is {config.port}: a port is 1 to 65535."
    if config.replicas < 0:
        yield f"vllm_replicas is {config.replicas}: it cannot be less than 0."
    if config.startup_timeout < 1:
        yield f"vllm_startup_timeout is {config.startup_timeout}: give the model at least a second to load."
    if config.max_unavailable and not _BUDGET.fullmatch(config.max_unavailable):
        yield (
            f"vllm_max_unavailable is '{config.max_unavailable}': use a number from 1 on or a percentage such as 25%; with 0 no node of a "
            "model server could ever be drained."
        )


def _secrets(config: Config) -> t.Iterator[str]:
    hf_token = bool(config.hf_token_fingerprint)
    if hf_token and config.hf_secret:
        yield "Both vllm_hf_token and vllm_hf_secret are set: keep one of them."
    if config.simulated and (hf_token or config.hf_secret):
        yield (
            "A Hugging Face token is set, and the simulator loads no model: take vllm_hf_token and vllm_hf_secret away, "
            "or set vllm_mode to vllm."
        )


def _storage(config: Config) -> t.Iterator[str]:
    if config.cache_size and config.cache_claim:
        yield (
            "Both vllm_cache_size and vllm_cache_claim are set: the first makes a claim, the second uses one that is there. "
            "Keep one of them."
        )
    if config.claim and config.simulated:
        yield (
            "A model cache is set, and the simulator loads no model: empty vllm_cache_size and vllm_cache_claim, or set vllm_mode to vllm."
        )
    if config.claim and config.most_replicas > 1 and config.cache_access_mode != "ReadWriteMany":
        most = f"vllm_autoscaling_max is {config.autoscaling_max}" if config.autoscaling else f"vllm_replicas is {config.replicas}"
        yield (
            f"{most}, and the model cache is {config.cache_access_mode}, so the pods after the first could not start on another node: set "
            "vllm_cache_access_mode to ReadWriteMany with a storage class that can do it, have one replica, or no claim."
        )


def _scaling(config: Config) -> t.Iterator[str]:
    if not config.autoscaling:
        return
    if not 1 <= config.autoscaling_min <= config.autoscaling_max:
        yield (
            f"vllm_autoscaling_min is {config.autoscaling_min} and vllm_autoscaling_max {config.autoscaling_max}: "
            "the first has to be at least 1 and at most the second."
        )
    if config.autoscaling_metric == "cpu":
        if config.resources and not (config.resources.get("requests") or config.resources.get("limits") or {}).get("cpu"):
            yield "vllm_autoscaling_metric is cpu, and vllm_resources requests none, of which the load would be a share: add requests.cpu."
        if config.autoscaling_cpu < 1:
            yield f"vllm_autoscaling_cpu is {config.autoscaling_cpu}: it is a percentage from 1 on."
    else:
        if not config.monitor:
            yield "vllm_autoscaling_metric is requests_waiting, which comes from Prometheus, and vllm_monitor is off: switch it on."
        if config.autoscaling_waiting < 1:
            yield f"vllm_autoscaling_waiting is {config.autoscaling_waiting}: it is a number of requests from 1 on."
