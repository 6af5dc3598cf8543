#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: limitador
short_description: Set up Kuadrant's rate limiter, internal to role limitador
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection, and may change with any release. Role C(kuadrant.llm.limitador) is what users run.
  - Refuses options that cannot work together, patches the Limitador resource, and waits until Limitador runs that way, or says why it does
    not. What kuadrant-operator writes there, the limits above all, is never touched.
  - Where Kuadrant was not installed by this collection, only fields that it set itself are taken back.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - Where there is no Limitador yet, a change is predicted, since an earlier step would have installed it.
  diff_mode:
    support: full
    details:
      - Shows the fields that the options can set.
  idempotent:
    support: full
options:
  state:
    description: V(present) sets what the options say. V(absent) takes it back, so that Limitador is as upstream creates it.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description: Namespace of Kuadrant.
    type: str
    required: true
  timeout:
    description: Seconds to wait until Limitador runs.
    type: int
    default: 300
  image:
    description: Image of Limitador. Empty means upstream's.
    type: str
    default: ""
  image_pull_secrets:
    description: Names of Secrets in O(namespace) for the registry of the image.
    type: list
    elements: str
    default: []
  labels:
    description: Where user, group and tier of a metric come from. V(custom) needs our O(image).
    type: str
    choices: [custom, telemetry_policy]
    default: telemetry_policy
  storage:
    description: Where the counters are.
    type: str
    choices: [memory, redis, redis_cached, disk]
    default: memory
  replicas:
    description: How many.
    type: int
    default: 1
  redis_secret:
    description: Secret with the address of Redis under the key C(URL). Only its presence is looked at.
    type: str
    default: ""
  redis_options:
    description: Tuning of V(redis_cached), numbers by name, such as C(flush_period).
    type: dict
    default: {}
  disk_size:
    description: Size of the volume of V(disk).
    type: str
    default: 1Gi
  disk_storage_class:
    description: Its storage class. Empty means the cluster's default.
    type: str
    default: ""
  disk_volume:
    description: A PersistentVolume to take. Empty means that the storage class provides one.
    type: str
    default: ""
  disk_optimize:
    description: What to save, if it has to be chosen.
    type: str
    choices: ["", throughput, disk]
    default: ""
  rate_limit_headers:
    description: Whether answers tell the client what remains of its limit, and by which standard.
    type: str
    choices: [NONE, DRAFT_VERSION_03]
    default: NONE
  telemetry:
    description: V(exhaustive) adds the name of the limit to the metric of refused requests.
    type: str
    choices: [basic, exhaustive]
    default: basic
  tracing_endpoint:
    description: Where to send traces. Empty leaves Kuadrant's setting.
    type: str
    default: ""
  verbosity:
    description: How much is logged, from 1 to 4. 0 leaves upstream's.
    type: int
    choices: [0, 1, 2, 3, 4]
    default: 0
  http_port:
    description: Port of metrics and administration.
    type: int
    default: 8080
  grpc_port:
    description: Port that gateways ask.
    type: int
    default: 8081
  resources:
    description: Requests and limits, as in a pod.
    type: dict
    default: {}
  pdb:
    description: C(maxUnavailable) or C(minAvailable) of a PodDisruptionBudget.
    type: dict
    default: {}
  affinity:
    description: Affinity, as in a pod.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Keep the counters in Redis
  kuadrant.llm.limitador:
    namespace: kuadrant-system
    storage: redis
    redis_secret: redis
    replicas: 2
"""

RETURN = r"""
problems:
  description: Every problem of the options by itself.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.limiter import converge

SETTINGS = {
    "image": {"type": "str", "default": ""},
    "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "labels": {"type": "str", "choices": ["custom", "telemetry_policy"], "default": "telemetry_policy"},
    "storage": {"type": "str", "choices": ["memory", "redis", "redis_cached", "disk"], "default": "memory"},
    "replicas": {"type": "int", "default": 1},
    "redis_secret": {"type": "str", "default": "", "no_log": False},
    "redis_options": {"type": "dict", "default": {}},
    "disk_size": {"type": "str", "default": "1Gi"},
    "disk_storage_class": {"type": "str", "default": ""},
    "disk_volume": {"type": "str", "default": ""},
    "disk_optimize": {"type": "str", "choices": ["", "throughput", "disk"], "default": ""},
    "rate_limit_headers": {"type": "str", "choices": ["NONE", "DRAFT_VERSION_03"], "default": "NONE"},
    "telemetry": {"type": "str", "choices": ["basic", "exhaustive"], "default": "basic"},
    "tracing_endpoint": {"type": "str", "default": ""},
    "verbosity": {"type": "int", "choices": [0, 1, 2, 3, 4], "default": 0},
    "http_port": {"type": "int", "default": 8080},
    "grpc_port": {"type": "int", "default": 8081},
    "resources": {"type": "dict", "default": {}},
    "pdb": {"type": "dict", "default": {}},
    "affinity": {"type": "dict", "default": {}},
}

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "namespace": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 300},
    **SETTINGS,
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params = module.params
    options = {name: params[name] for name in SETTINGS} if params["state"] == "present" else None
    with reporting(module):
        changes = converge(connect(module), params["namespace"], options, check=module.check_mode, timeout=params["timeout"])
        module.exit_json(**changes.result(diff=module._diff))


if __name__ == "__main__":
    main()
