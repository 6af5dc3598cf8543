# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter kind_config."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.kind import kind_config as configure

DOCUMENTATION = r"""
name: kind_config
short_description: Make the configuration of a kind cluster
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.cluster), and may change with any release.
  - Returns the configuration from which C(kind create cluster) makes a cluster whose NodePorts are reached from this machine.
options:
  _input:
    description: Name of the cluster.
    type: str
    required: true
  control_planes:
    description: How many nodes run the control plane.
    type: int
    default: 1
  workers:
    description: How many more nodes there are.
    type: int
    default: 0
  image:
    description: Image of the nodes. Empty means what kind was released with.
    type: str
    default: ""
  address:
    description: Address of this machine on which ports are opened.
    type: str
    default: 127.0.0.1
  api_port:
    description: Port of the API server on that address. V(0) means a free one.
    type: int
    default: 0
  ports:
    description: Ports of this machine, each with C(host) and the NodePort C(node) to which it leads.
    type: list
    elements: dict
    default: []
  pod_subnet:
    description: Addresses of pods. Empty means kind's default.
    type: str
    default: ""
  service_subnet:
    description: Addresses of Services. Empty means kind's default.
    type: str
    default: ""
  registries:
    description: Folder of this machine with containerd's C(hosts.toml) files by registry. Empty means none.
    type: str
    default: ""
  extra:
    description: More of kind's configuration, such as C(featureGates) or C(kubeadmConfigPatches).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the configuration
  ansible.builtin.copy:
    dest: kind.yml
    content: "{{ 'llm' | kuadrant.llm.kind_config(workers=1, ports=[{'host': 8000, 'node': 30080}]) | to_nice_yaml }}"
    mode: "0600"
"""

RETURN = r"""
_value:
  description: The configuration.
  type: dict
"""


def kind_config(name: str, **options: t.Any) -> dict[str, t.Any]:
    """The configuration, with the numbers that Jinja may have made strings."""
    given: dict[str, t.Any] = {key: int(options[key]) for key in ("control_planes", "workers", "api_port") if key in options}
    given["ports"] = [{"host": int(port["host"]), "node": int(port["node"])} for port in options.get("ports", ())]
    try:
        return configure(name, **(options | given))
    except ValueError as exc:
        raise AnsibleFilterError(f"kind_config: {exc}") from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"kind_config": kind_config}
