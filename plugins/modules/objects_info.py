#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: objects_info
short_description: Internal to this collection, read Kubernetes objects
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time; use M(kubernetes.core.k8s_info) in your own
    playbooks.
  - Reads objects, of kinds that the cluster need not serve, and waits until they are in effect if wanted.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  references:
    description:
      - Which objects, each with C(apiVersion), C(kind) and C(metadata).
      - With a name, the one object. Without, all that have its labels, in its namespace, or in all namespaces if it has none.
    type: list
    elements: dict
    required: true
  wait:
    description:
      - Wait until the objects are in effect, where it is known of their kind when they are. Nothing is waited for while one is missing.
    type: bool
    default: false
  timeout:
    description:
      - How many seconds to wait at most.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Read the Gateway
  kuadrant.llm.objects_info:
    references:
      - apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: vllm-gateway, namespace: llm}
  register: found
"""

RETURN = r"""
objects:
  description: The objects, without C(metadata.managedFields) and with the fingerprints of a Secret's data.
  returned: success
  type: list
  elements: dict
missing:
  description: The references with a name that no object has.
  returned: success
  type: list
  elements: str
  sample: [HTTPRoute llm/vllm-httproute]
unserved:
  description: The kinds that the cluster does not serve.
  returned: success
  type: list
  elements: str
  sample: [ServiceMonitor]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import shown
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.read import Found, read
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import Awaited, has_conditions, wait

ARGUMENT_SPEC = {
    "references": {"type": "list", "elements": "dict", "required": True},
    "wait": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        module.exit_json(changed=False, **run(connect(module), module.params))


def run(kube: Kube, params: dict[str, t.Any]) -> dict[str, t.Any]:
    found = read(kube, params["references"])
    missing = [one.label for one in found if one.name and not one.objects]
    if params["wait"] and not missing:
        wait(kube, list(awaited(found)), timeout=params["timeout"])
    return {
        "objects": [shown(obj) for one in found for obj in one.objects],
        "missing": missing,
        "unserved": sorted({one.kind for one in found if one.served is None}),
    }


def awaited(found: list[Found]) -> t.Iterator[Awaited]:
    for one in found:
        if one.served and has_conditions(one.served.resource):
            for obj in one.objects:
                yield Awaited(one.served.resource, obj["metadata"].get("namespace"), obj["metadata"]["name"], obj)


if __name__ == "__main__":
    main()
