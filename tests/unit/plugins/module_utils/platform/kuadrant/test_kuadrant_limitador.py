# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of Limitador: what is refused, and what is patched."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.limitador import (
    limitador_patch,
    limitador_problems,
    wanted_spec,
)

DEFAULTS: dict[str, t.Any] = {
    "labels": "telemetry_policy",
    "image": "",
    "image_pull_secrets": [],
    "replicas": 1,
    "storage": "memory",
    "redis_secret": "",
    "redis_options": {},
    "disk_size": "1Gi",
    "disk_storage_class": "",
    "disk_volume": "",
    "disk_optimize": "",
    "rate_limit_headers": "NONE",
    "telemetry": "basic",
    "tracing_endpoint": "",
    "verbosity": 0,
    "http_port": 8080,
    "grpc_port": 8081,
    "resources": {},
    "pdb": {},
    "affinity": {},
}
KUADRANTS = {"limits": [{"namespace": "llm/x"}], "metricLabelsDefault": "descriptors[1]"}


def options(**changed: t.Any) -> dict[str, t.Any]:
    assert changed.keys() <= DEFAULTS.keys()
    return {**DEFAULTS, **changed}


def live(note: str = "", **spec: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"annotations": {"kuadrant.llm/fields": note}} if note else {}, "spec": {**KUADRANTS, **spec}}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"replicas": 2}, ["2 times their quota", "limitador_storage to redis"]),
        ({"replicas": 3, "storage": "disk"}, ["one volume"]),
        ({"storage": "redis"}, ["limitador_redis_secret", "key URL"]),
        ({"storage": "redis_cached"}, ["limitador_redis_secret"]),
        ({"labels": "custom"}, ["limitador_image is empty", "README of role limitador"]),
        ({"labels": "custom", "image": "x", "storage": "redis", "redis_secret": "r"}, ["memory or on disk"]),
        ({"pdb": {"minAvailable": 1, "maxUnavailable": 1}}, ["allows one"]),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(changed: dict[str, t.Any], words: list[str]) -> None:
    (problem,) = limitador_problems(options(**changed))
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"replicas": 2, "storage": "redis", "redis_secret": "r"},
        {"replicas": "5", "storage": "redis_cached", "redis_secret": "r"},
        {"labels": "custom", "image": "x", "storage": "disk"},
        {"labels": "telemetry_policy", "image": "x"},
        {"pdb": {"minAvailable": 1}},
    ],
)
def test_what_works_is_not_refused(changed: dict[str, t.Any]) -> None:
    assert limitador_problems(options(**changed)) == []


def test_every_problem_is_told_at_once() -> None:
    assert len(limitador_problems(options(replicas=2, labels="custom", pdb={"minAvailable": 1, "maxUnavailable": 1}))) == 3


@pytest.mark.parametrize(
    ("changed", "spec"),
    [
        ({}, {}),
        ({"image": "example.org/l:1", "image_pull_secrets": ["p"]}, {"image": "example.org/l:1", "imagePullSecrets": [{"name": "p"}]}),
        ({"storage": "redis", "redis_secret": "r"}, {"storage": {"redis": {"configSecretRef": {"name": "r"}}}}),
        (
            {"storage": "redis_cached", "redis_secret": "r", "redis_options": {"flush_period": 5, "batch_size": None}},
            {"storage": {"redis-cached": {"configSecretRef": {"name": "r"}, "options": {"flush-period": 5}}}},
        ),
        ({"storage": "disk"}, {"storage": {"disk": {"persistentVolumeClaim": {"resources": {"requests": "1Gi"}}}}}),
        (
            {"storage": "disk", "disk_storage_class": "fast", "disk_volume": "pv", "disk_optimize": "disk"},
            {
                "storage": {
                    "disk": {
                        "persistentVolumeClaim": {"resources": {"requests": "1Gi"}, "storageClassName": "fast", "volumeName": "pv"},
                        "optimize": "disk",
                    }
                }
            },
        ),
        ({"replicas": "2"}, {"replicas": 2}),
        (
            {"rate_limit_headers": "DRAFT_VERSION_03", "telemetry": "exhaustive"},
            {"rateLimitHeaders": "DRAFT_VERSION_03", "telemetry": "exhaustive"},
        ),
        ({"tracing_endpoint": "rpc://t:4317", "verbosity": 3}, {"tracing": {"endpoint": "rpc://t:4317"}, "verbosity": 3}),
        ({"http_port": 9080}, {"listener": {"http": {"port": 9080}}}),
        (
            {"pdb": {"minAvailable": 1}, "resources": {"limits": {"cpu": 1}}},
            {"pdb": {"minAvailable": 1}, "resourceRequirements": {"limits": {"cpu": 1}}},
        ),
    ],
)
def test_spec_says_only_what_differs_from_upstream(changed: dict[str, t.Any], spec: dict[str, t.Any]) -> None:
    assert wanted_spec(options(**changed)) == spec


def test_defaults_leave_a_new_limitador_alone() -> None:
    assert limitador_patch(live(), {}, everything=True) == {}


def test_setting_is_noted_and_then_right() -> None:
    wanted = {"replicas": 2, "image": "x"}
    assert limitador_patch(live(), wanted, everything=True) == {
        "spec": {"image": "x", "replicas": 2},
        "metadata": {"annotations": {"kuadrant.llm/fields": "image,replicas"}},
    }
    assert limitador_patch(live("image,replicas", **wanted), wanted, everything=False) == {}


def test_undoing_writes_null_and_never_an_empty_value() -> None:
    now = live("image", image="x", rateLimitHeaders="NONE")
    assert limitador_patch(now, {}, everything=True) == {
        "spec": {"image": None, "rateLimitHeaders": None},
        "metadata": {"annotations": {"kuadrant.llm/fields": None}},
    }


def test_limits_and_labels_of_kuadrant_are_never_touched() -> None:
    patch = limitador_patch(live("limits,image", image="x"), {}, everything=False)
    assert patch["spec"] == {"image": None}
    assert not set(KUADRANTS) & limitador_patch(live(image="x"), {"replicas": 2}, everything=True)["spec"].keys()


def test_what_others_set_stays_with_a_kuadrant_of_others() -> None:
    theirs = live("verbosity", storage={"redis": {"configSecretRef": {"name": "r"}}}, replicas=3, verbosity=2)
    assert limitador_patch(theirs, {}, everything=False)["spec"] == {"verbosity": None}
    assert limitador_patch(theirs, {}, everything=True)["spec"] == {"storage": None, "replicas": None, "verbosity": None}


def test_another_storage_takes_the_place_of_the_first() -> None:
    now = live("storage", storage={"redis": {"configSecretRef": {"name": "r"}}})
    assert limitador_patch(now, {"storage": {"disk": {"optimize": "disk"}}}, everything=True)["spec"] == {
        "storage": {"redis": None, "disk": {"optimize": "disk"}}
    }


def test_tracing_of_kuadrant_stays() -> None:
    now = live(tracing={"endpoint": "rpc://kuadrant:4317"})
    assert limitador_patch(now, {}, everything=True, tracing_default="rpc://kuadrant:4317") == {}
    assert limitador_patch(now, {}, everything=True, tracing_default="rpc://other:4317")["spec"] == {"tracing": None}
