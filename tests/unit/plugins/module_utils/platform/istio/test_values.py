# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.values import istiod_values, merged


def test_istiod_values() -> None:
    images = {"istio_pilot": "m:5000/istio/pilot@sha256:0", "istio_proxy": "m:5000/istio/proxyv2:1.29.1"}
    extra = {"global": {"proxy": {"resources": {}}}, "env": {"A": "b"}, "resources": {"requests": {"cpu": "1"}}}
    resources = {"requests": {"cpu": "100m", "memory": "256Mi"}}
    values = istiod_values(images, "1.29.1", namespace="mesh", resources=resources, inference=True, pull_secret="creds", extra=extra)
    assert values == {
        "image": "m:5000/istio/pilot@sha256:0",
        "resources": {"requests": {"cpu": "1", "memory": "256Mi"}},
        "seccompProfile": {"type": "RuntimeDefault"},
        "gateways": {"seccompProfile": {"type": "RuntimeDefault"}},
        "env": {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true", "A": "b"},
        "global": {
            "hub": "m:5000/istio",
            "tag": "1.29.1",
            "istioNamespace": "mesh",
            "proxy": {"image": "m:5000/istio/proxyv2:1.29.1", "resources": {}},
            "proxy_init": {"image": "m:5000/istio/proxyv2:1.29.1"},
            "imagePullSecrets": ["creds"],
        },
    }


def test_merged_does_not_change_what_it_was_given() -> None:
    base = {"a": {"b": 1}}
    assert merged(base, {"a": {"c": 2}, "d": [1]}) == {"a": {"b": 1, "c": 2}, "d": [1]}
    assert base == {"a": {"b": 1}}
