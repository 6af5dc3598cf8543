#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scrapers_info
short_description: Internal to this collection, find the monitors that have a target scraped
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection.
  - Says which ServiceMonitors and PodMonitors select a target. Where one Prometheus takes in two of them, everything is counted twice.
  - Looks only into the namespace of the target where those of others may not be listed. Finds none where the cluster does not serve these
    kinds.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  namespace:
    description:
      - The namespace of the target.
    type: str
    required: true
  service_labels:
    description:
      - Labels of its Service.
    type: dict
    required: true
  pod_labels:
    description:
      - Labels of its pods.
    type: dict
    required: true
  port:
    description:
      - Name of the port that serves its metrics.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Find the monitors of Limitador
  kuadrant.llm.scrapers_info:
    namespace: kuadrant-system
    service_labels: {app: limitador}
    pod_labels: {app: limitador}
    port: http
  register: found
"""

RETURN = r"""
monitors:
  description: The monitors, each with kind, namespace and name, sorted.
  returned: success
  type: list
  elements: str
  sample: [ServiceMonitor kuadrant-system/llm-limitador]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.read import read
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.scrapers import Scraped, scrapers

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "service_labels": {"type": "dict", "required": True},
    "pod_labels": {"type": "dict", "required": True},
    "port": {"type": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params = module.params
    target = Scraped(params["namespace"], params["service_labels"], params["pod_labels"], params["port"])
    with reporting(module):
        module.exit_json(changed=False, monitors=scrapers(monitors(connect(module), target.namespace), target))


def monitors(kube: Kube, namespace: str) -> list[Object]:
    """Of all namespaces, or of the target's where only that may be listed, or none."""
    discovery = Discovery(kube)
    found: list[Object] = []
    for kind in ("ServiceMonitor", "PodMonitor"):
        for where in ({}, {"namespace": namespace}):
            reference: dict[str, t.Any] = {"apiVersion": "monitoring.coreos.com/v1", "kind": kind, "metadata": where}
            try:
                found += (obj for one in read(kube, [reference], discovery) for obj in one.objects)
            except KubeError as exc:
                if exc.status != 403:
                    raise
            else:
                break
    return found


if __name__ == "__main__":
    main()
