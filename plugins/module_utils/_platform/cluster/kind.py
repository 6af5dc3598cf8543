# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Clusters of kind (https://kind.sigs.k8s.io): the configuration of the one that is wished for, and what an existing one lacks of it."""

from __future__ import annotations

import typing as t

Object: t.TypeAlias = dict[str, t.Any]

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
ROLE_LABEL = "io.x-k8s.kind.role"
REGISTRIES = "/etc/containerd/certs.d"  # where containerd in kind's nodes looks for a registry's hosts.toml


def kind_config(
    name: str,
    *,
    control_planes: int = 1,
    workers: int = 0,
    image: str = "",
    address: str = "127.0.0.1",
    api_port: int = 0,
    ports: t.Iterable[t.Mapping[str, int]] = (),
    pod_subnet: str = "",
    service_subnet: str = "",
    registries: str = "",
    extra: t.Mapping[str, t.Any] | None = None,
) -> Object:
    """The configuration (kind.x-k8s.io/v1alpha4). ``ports`` are ``{host, node}``: ``address:host`` here leads to NodePort ``node``.

    A NodePort answers on every node, so the first one has all mappings. ``registries`` is a folder of this machine with hosts.toml files.
    """
    if control_planes < 1 or workers < 0:
        raise ValueError(f"a cluster has at least one control plane, not {control_planes}, and no fewer than 0 workers, not {workers}")
    common: Object = {"image": image} if image else {}
    if registries:
        common["extraMounts"] = [{"hostPath": registries, "containerPath": REGISTRIES, "readOnly": True}]
    nodes: list[Object] = [{"role": role, **common} for role in ["control-plane"] * control_planes + ["worker"] * workers]
    nodes[0]["extraPortMappings"] = [
        {"containerPort": port["node"], "hostPort": port["host"], "listenAddress": address, "protocol": "TCP"} for port in ports
    ]
    networking: Object = {"apiServerAddress": address}
    networking |= {"apiServerPort": api_port} if api_port else {}
    networking |= {"podSubnet": pod_subnet} if pod_subnet else {}
    networking |= {"serviceSubnet": service_subnet} if service_subnet else {}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name,
        "networking": networking | dict((extra or {}).get("networking") or {}),
        "nodes": nodes,
        **{key: value for key, value in (extra or {}).items() if key not in ("kind", "apiVersion", "name", "networking", "nodes")},
    }


def kind_differences(config: t.Mapping[str, t.Any], nodes: t.Iterable[t.Mapping[str, t.Any]], made_from: t.Any = None) -> list[str]:
    """What the cluster of these containers (``docker inspect``) lacks of the configuration, in sentences.

    ``made_from`` is the configuration that it was made from, where that is known: what cannot be seen from outside is compared with it.
    """
    roles: dict[str, list[t.Mapping[str, t.Any]]] = {"control-plane": [], "worker": []}
    for node in nodes:
        roles.setdefault(node["Config"]["Labels"].get(ROLE_LABEL, ""), []).append(node)
    found = [*_of_nodes(config, roles), *_of_ports(config, roles["control-plane"]), *_of_images(config, roles)]
    before = (made_from or config)["networking"]
    for key, wish in config["networking"].items():
        if key not in ("apiServerAddress", "apiServerPort") and before.get(key) != wish:
            found.append(f"{key} is {before.get(key, 'the default of kind')}, not {wish}")
    return found


def _of_nodes(config: t.Mapping[str, t.Any], roles: t.Mapping[str, list[t.Any]]) -> t.Iterator[str]:
    for role in ("control-plane", "worker"):
        wanted = sum(node["role"] == role for node in config["nodes"])
        if len(roles[role]) != wanted:
            yield f"it has {len(roles[role])} nodes of role {role}, not {wanted}"


def _of_ports(config: t.Mapping[str, t.Any], control_planes: list[t.Any]) -> t.Iterator[str]:
    bound = {
        (target.partition("/")[0], f"{one.get('HostIp') or '0.0.0.0'}:{one['HostPort']}")  # noqa: S104
        for node in control_planes
        for target, bindings in (node["HostConfig"].get("PortBindings") or {}).items()
        for one in bindings or ()
    }
    address, api_port = config["networking"]["apiServerAddress"], config["networking"].get("apiServerPort")
    wanted = [
        (str(port["containerPort"]), f"{port['listenAddress']}:{port['hostPort']}", f"NodePort {port['containerPort']}")
        for port in config["nodes"][0]["extraPortMappings"]
    ]
    # With several control planes the port belongs to kind's load balancer.
    if api_port and len(control_planes) == 1:
        wanted.append(("6443", f"{address}:{api_port}", "the API server"))
    for target, host, what in wanted:
        if (target, host) not in bound:
            others = sorted(there for one, there in bound if one == target)
            yield f"{host} does not lead to {what}" + (f", {', '.join(others)} does" if others else "")


def _of_images(config: t.Mapping[str, t.Any], roles: t.Mapping[str, list[t.Any]]) -> t.Iterator[str]:
    wanted = config["nodes"][0].get("image")
    others = sorted({node["Config"]["Image"] for role in ("control-plane", "worker") for node in roles[role]} - {wanted})
    if wanted and others:
        yield f"its nodes run {', '.join(others)}, not {wanted}"
