# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.kind import kind_config, kind_differences

WISH = kind_config("llm", image="kindest/node@sha256:1", ports=[{"host": 8000, "node": 30080}, {"host": 9090, "node": 30090}])


def node(role: str = "control-plane", image: str = "kindest/node@sha256:1", **bindings: list[dict[str, str]]) -> dict[str, t.Any]:
    """As docker inspect tells it; a binding is named after its container port, ``p30080``."""
    return {
        "Config": {"Image": image, "Labels": {"io.x-k8s.kind.cluster": "llm", "io.x-k8s.kind.role": role}},
        "HostConfig": {"PortBindings": {f"{name[1:]}/tcp": value for name, value in bindings.items()}},
    }


def at(port: int, address: str = "127.0.0.1") -> list[dict[str, str]]:
    return [{"HostIp": address, "HostPort": str(port)}]


def test_config_opens_ports_on_the_first_node_only() -> None:
    config = kind_config("llm", control_planes=1, workers=2, ports=[{"host": 8000, "node": 30080}])
    assert [one["role"] for one in config["nodes"]] == ["control-plane", "worker", "worker"]
    assert config["nodes"][0]["extraPortMappings"] == [
        {"containerPort": 30080, "hostPort": 8000, "listenAddress": "127.0.0.1", "protocol": "TCP"}
    ]
    assert not any("extraPortMappings" in one for one in config["nodes"][1:])


def test_config_leaves_to_kind_what_is_not_wished_for() -> None:
    config = kind_config("llm")
    assert config["networking"] == {"apiServerAddress": "127.0.0.1"}
    assert "image" not in config["nodes"][0]
    assert "extraMounts" not in config["nodes"][0]


def test_config_has_every_wish() -> None:
    config = kind_config(
        "llm",
        workers=1,
        api_port=6443,
        pod_subnet="10.1.0.0/16",
        service_subnet="10.2.0.0/16",
        registries="/certs",
        image="mirror/kindest/node:v1",
        extra={"featureGates": {"X": True}, "networking": {"ipFamily": "dual"}, "name": "another", "nodes": []},
    )
    assert config["networking"] == {
        "apiServerAddress": "127.0.0.1",
        "apiServerPort": 6443,
        "podSubnet": "10.1.0.0/16",
        "serviceSubnet": "10.2.0.0/16",
        "ipFamily": "dual",
    }
    assert {one["image"] for one in config["nodes"]} == {"mirror/kindest/node:v1"}
    assert all(one["extraMounts"][0]["containerPath"] == "/etc/containerd/certs.d" for one in config["nodes"])
    assert (config["featureGates"], config["name"], len(config["nodes"])) == ({"X": True}, "llm", 2)


@pytest.mark.parametrize("numbers", [{"control_planes": 0}, {"workers": -1}])
def test_config_refuses_impossible_numbers(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        kind_config("llm", **numbers)


@pytest.mark.parametrize(
    ("nodes", "differences"),
    [
        ([node(p30080=at(8000), p30090=at(9090), p6443=at(40001))], []),
        ([node(p30080=at(8000), p30090=at(9090), p30443=at(8443))], []),
        ([node(p30080=at(8000), p30090=at(9090)), node("worker")], ["it has 1 nodes of role worker, not 0"]),
        ([node(p30080=at(8001), p30090=at(9090))], ["127.0.0.1:8000 does not lead to NodePort 30080, 127.0.0.1:8001 does"]),
        ([node(p30080=at(8000, ""), p30090=at(9090))], ["127.0.0.1:8000 does not lead to NodePort 30080, 0.0.0.0:8000 does"]),
        ([node(p30080=at(8000))], ["127.0.0.1:9090 does not lead to NodePort 30090"]),
        (
            [node(image="kindest/node:v1.29.0", p30080=at(8000), p30090=at(9090))],
            ["its nodes run kindest/node:v1.29.0, not kindest/node@sha256:1"],
        ),
        ([node(p30080=at(8000), p30090=at(9090)), node("external-load-balancer", "kindest/haproxy:v1")], []),
    ],
    ids=["same", "more ports", "one node more", "another port", "another address", "a port less", "another image", "load balancer"],
)
def test_differences(nodes: list[dict[str, t.Any]], differences: list[str]) -> None:
    assert kind_differences(WISH, nodes) == differences


def test_differences_of_the_port_of_the_api_server() -> None:
    wish = kind_config("llm", api_port=6443)
    assert kind_differences(wish, [node(p6443=at(6443))]) == []
    assert kind_differences(wish, [node(p6443=at(40001))]) == ["127.0.0.1:6443 does not lead to the API server, 127.0.0.1:40001 does"]


def test_differences_of_subnets_are_known_only_of_what_it_was_made_from() -> None:
    wish = kind_config("llm", pod_subnet="10.1.0.0/16")
    assert kind_differences(wish, [node()]) == []
    assert kind_differences(wish, [node()], wish) == []
    assert kind_differences(wish, [node()], kind_config("llm")) == ["podSubnet is the default of kind, not 10.1.0.0/16"]
    assert kind_differences(kind_config("llm"), [node()], wish) == []
