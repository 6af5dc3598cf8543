# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of a model server: what is read, and what contradicts one another."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.config import parse
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.server import settings as checked

SIMULATOR = {
    "mode": "simulator",
    "name": "vllm-simulator",
    "namespace": "llm",
    "image": "ghcr.io/llm-d/sim:v0.10.2",
    "model": "simulated-model",
}
SERVER = {**SIMULATOR, "mode": "vllm", "image": "docker.io/vllm/vllm-openai:v0.11.0", "model": "Qwen/Qwen3-0.6B"}
WIDE = {"cache_size": "20Gi", "cache_access_mode": "ReadWriteMany"}


@pytest.mark.parametrize(
    "settings",
    [
        SIMULATOR,
        {**SIMULATOR, "replicas": 3, "max_unavailable": "25%", "args": ["--mode", "echo"]},
        SERVER,
        {**SERVER, "device": "gpu", "gpu_count": 2, "hf_secret": "hf"},
        {**SERVER, "cache_size": "20Gi"},
        {**SERVER, **WIDE, "replicas": 2},
        {**SERVER, "cache_claim": "models", "cache_access_mode": "ReadWriteMany", "autoscaling": True},
        {**SERVER, "autoscaling": True, "resources": {"limits": {"cpu": "2"}}},  # a limit is the request, too
        {**SERVER, "autoscaling": True, "autoscaling_metric": "requests_waiting"},
        {**SIMULATOR, "replicas": "2", "port": "8080", "autoscaling": "false", "args": [1]},  # templates make text of numbers
    ],
)
def test_settings_that_go_together_have_no_problems(settings: dict[str, t.Any]) -> None:
    assert checked(settings) == parse(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({**SIMULATOR, "device": "gpu"}, "vllm_device is gpu, and the simulator uses none"),
        ({**SIMULATOR, "hf_secret": "hf"}, "the simulator loads no model: take vllm_hf_token"),
        ({**SIMULATOR, "cache_size": "1Gi"}, "the simulator loads no model: empty vllm_cache_size"),
        ({**SIMULATOR, "name": "Qwen_3"}, "vllm_name is 'Qwen_3', which cannot be the name of a Service"),
        ({**SIMULATOR, "name": "3-qwen"}, "a letter first"),
        ({**SIMULATOR, "image": ""}, "set vllm_image"),
        ({**SIMULATOR, "model": ""}, "vllm_model is empty"),
        ({**SIMULATOR, "port": 0}, "vllm_port is 0"),
        ({**SIMULATOR, "port": "http"}, "vllm_port is 'http', which is not a whole number"),
        ({**SIMULATOR, "replicas": -1}, "vllm_replicas is -1"),
        ({**SIMULATOR, "startup_timeout": 0}, "vllm_startup_timeout is 0"),
        ({**SIMULATOR, "max_unavailable": "0"}, "no node of a model server could ever be drained"),
        ({**SIMULATOR, "max_unavailable": "half"}, "vllm_max_unavailable is 'half'"),
        ({**SIMULATOR, "args": ["--port", "9000"]}, "vllm_args has --port, which vllm_port sets"),
        ({**SIMULATOR, "args": ["--model=x"]}, "vllm_args has --model, which vllm_model sets"),
        ({**SIMULATOR, "replica": 1}, "Unknown settings of the model server: replica"),
        ({**SERVER, "model": "simulated-model"}, "which only the simulator has"),
        ({**SERVER, "device": "gpu", "gpu_count": 0}, "vllm_gpu_count is 0"),
        ({**SERVER, "args": ["--api-key", "x"]}, "sets an API key of the model server"),
        ({**SERVER, "env": {"VLLM_API_KEY": "x"}}, "sets an API key of the model server"),
        ({**SERVER, "env": {"HF_TOKEN": "x"}}, "vllm_env has HF_TOKEN"),
        ({**SERVER, "cache_size": "lots"}, "vllm_cache_size is 'lots', which is not a quantity"),
        ({**SERVER, "shm_size": "2 GiB"}, "vllm_shm_size is '2 GiB'"),
        ({**SERVER, **WIDE, "cache_claim": "models"}, "Both vllm_cache_size and vllm_cache_claim"),
        ({**SERVER, "cache_size": "20Gi", "replicas": 2}, "vllm_replicas is 2, and the model cache is ReadWriteOnce"),
        ({**SERVER, "cache_claim": "models", "replicas": 2}, "vllm_replicas is 2, and the model cache is ReadWriteOnce"),
        ({**SERVER, "cache_size": "20Gi", "autoscaling": True}, "vllm_autoscaling_max is 3, and the model cache is ReadWriteOnce"),
        ({**SERVER, "autoscaling": True, "autoscaling_min": 4}, "vllm_autoscaling_min is 4 and vllm_autoscaling_max 3"),
        ({**SERVER, "autoscaling": True, "autoscaling_min": 0}, "vllm_autoscaling_min is 0"),
        ({**SERVER, "autoscaling": True, "resources": {"requests": {"memory": "1Gi"}}}, "vllm_resources requests none"),
        ({**SERVER, "autoscaling": True, "autoscaling_cpu": 0}, "vllm_autoscaling_cpu is 0"),
        ({**SERVER, "autoscaling": True, "autoscaling_metric": "requests_waiting", "monitor": False}, "vllm_monitor is off"),
        (
            {**SERVER, "autoscaling": True, "autoscaling_metric": "requests_waiting", "autoscaling_waiting": 0},
            "vllm_autoscaling_waiting is 0",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_told(settings: dict[str, t.Any], words: str) -> None:
    with pytest.raises(GatewayError) as caught:
        checked(settings)
    assert words in caught.value.message
    assert len(caught.value.details.get("problems", [1])) == 1


def test_problems_are_told_all_at_once() -> None:
    with pytest.raises(GatewayError) as caught:
        checked({**SIMULATOR, "device": "gpu", "cache_size": "1Gi", "port": 0})
    assert len(caught.value.details["problems"]) == 3


def test_token_and_secret_exclude_each_other() -> None:
    token = {**SERVER, "hf_token_fingerprint": "0123"}
    assert checked(token) == parse(token)
    with pytest.raises(GatewayError, match="Both vllm_hf_token and vllm_hf_secret"):
        checked({**token, "hf_secret": "hf"})


def test_values_of_templates_are_converted() -> None:
    config = parse({**SIMULATOR, "replicas": "2", "autoscaling": "True", "env": {"A": True, "B": 1}, "args": None, "hf_secret": None})
    assert (config.replicas, config.autoscaling, config.env, config.args, config.hf_secret) == (2, True, {"A": "true", "B": "1"}, [], "")
