#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_doctor
short_description: Find what is wrong with an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Looks at the whole path of a request, from the Gateway over routes, policies, keys, Authorino and Limitador to what Prometheus has seen
    of it, and says what is wrong, on which object, what follows, and which command mends it.
  - Reads only. Two requests are sent to the gateway, one without a key and one with a key that does not exist, which spend nothing. See
    O(probes).
  - What the user may not list is named, and the rest is looked at all the same.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  namespace:
    description:
      - The namespace of the Gateway, its policies and keys.
    type: str
    default: llm
  gateway:
    description:
      - The name of the Gateway.
    type: str
    default: vllm-gateway
  kuadrant_namespace:
    description:
      - The namespace of Kuadrant, Authorino and Limitador.
    type: str
    default: kuadrant-system
  key_labels:
    description:
      - The labels by which the AuthPolicy selects the keys.
    type: dict
    default: {app: llm-gateway}
  expires_within:
    description:
      - Report keys that end within this time.
    type: str
    default: 14d
  retention_days:
    description:
      - How many days of samples a bill needs. Less is reported. V(0) does not look.
    type: int
    default: 0
  kubectl:
    description:
      - How the commands of findings begin, for example with the kubeconfig.
    type: str
    default: kubectl
  prometheus_url:
    description:
      - The address of Prometheus. If omitted, what it has seen is not looked at.
    type: str
  prometheus_token:
    description:
      - The bearer token for Prometheus.
    type: str
  prometheus_ca_cert:
    description:
      - The certificate of the authority that signed that of Prometheus.
    type: path
  prometheus_validate_certs:
    description:
      - Whether to check the certificate of Prometheus.
    type: bool
    default: true
  gateway_url:
    description:
      - The address of the gateway. If omitted, no request is sent.
    type: str
  hostname:
    description:
      - The C(Host) header to send, where the route is bound to a hostname that does not resolve to the gateway.
    type: str
  path:
    description:
      - The path to send the requests to.
    type: str
    default: /v1/chat/completions
  model:
    description:
      - The model to ask for, with O(probe_key).
    type: str
    default: simulated-model
  probes:
    description:
      - Whether to send requests.
    type: bool
    default: true
  probe_key:
    description:
      - The name of a key with which one call is made, which has to be let in (200, or 429 if its quota is used up). Its user pays for it.
      - Not in check mode.
    type: str
  timeout:
    description:
      - How many seconds to wait for each answer of the gateway and of Prometheus.
    type: float
    default: 3
  fail_on:
    description:
      - Fail if something as bad as this is found, or worse.
    type: str
    choices: [never, error, warning]
    default: never
requirements:
  - requests
seealso:
  - module: kuadrant.llm.tier_info
  - module: kuadrant.llm.api_key_info
  - module: kuadrant.llm.gateway_check
"""

EXAMPLES = r"""
- name: Find what is wrong
  kuadrant.llm.gateway_doctor:
    gateway_url: http://127.0.0.1:18000
    prometheus_url: http://127.0.0.1:18001
  register: doctor

- name: Show what mends it
  ansible.builtin.debug:
    msg: "{{ item.object }}: {{ item.cause }} {{ item.command }}"
  loop: "{{ doctor.findings }}"
  loop_control:
    label: "{{ item.check }}"

- name: Stop a deployment if the gateway is not in order, without sending it requests
  kuadrant.llm.gateway_doctor:
    probes: false
    fail_on: error
"""

RETURN = r"""
findings:
  description: What is wrong, the worst first. Empty if nothing is. Also returned when the module fails for O(fail_on).
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: The name of the check. It stays the same.
      type: str
      returned: always
      sample: key-doubled
    severity:
      description: V(error) if the gateway does not do its work or is open, V(warning) if it soon may be, V(info) if it is good to know.
      type: str
      returned: always
    object:
      description: What it is about.
      type: str
      returned: always
      sample: Secret llm/mallory
    cause:
      description: What is wrong with it.
      type: str
      returned: always
    consequence:
      description: What follows from it.
      type: str
      returned: always
    command:
      description: What mends it, or leads to what does.
      type: str
      returned: always
      sample: kubectl -n llm delete secret mallory
counts:
  description: How many findings there are of each severity.
  returned: always
  type: dict
  sample: {error: 1, warning: 0, info: 2}
healthy:
  description: Whether there are neither errors nor warnings.
  returned: always
  type: bool
summary:
  description: The counts, in words.
  returned: always
  type: str
  sample: 1 error, 2 info
probes:
  description: The requests that were sent.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What the probe shows.
      type: str
      returned: always
    status:
      description: The status of the answer. V(0) stands for none.
      type: int
      returned: always
    expected:
      description: The statuses that are right.
      type: list
      elements: int
      returned: always
    ok:
      description: Whether the status is one of them.
      type: bool
      returned: always
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 1.2
"""

import datetime
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.examine import examine, result_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import SEVERITIES, Answered, Probed, Scope, Snapshot
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.read import ask_prometheus, probe, read_keys, read_objects
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._gateway import gateway_client
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_timedelta

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "default": "llm"},
    "gateway": {"type": "str", "default": "vllm-gateway"},
    "kuadrant_namespace": {"type": "str", "default": "kuadrant-system"},
    "key_labels": {"type": "dict", "default": {"app": "llm-gateway"}, "no_log": False},
    "expires_within": {"type": "str", "default": "14d"},
    "retention_days": {"type": "int", "default": 0},
    "kubectl": {"type": "str", "default": "kubectl"},
    "prometheus_url": {"type": "str"},
    "prometheus_token": {"type": "str", "no_log": True},
    "prometheus_ca_cert": {"type": "path"},
    "prometheus_validate_certs": {"type": "bool", "default": True},
    "gateway_url": {"type": "str"},
    "hostname": {"type": "str"},
    "path": {"type": "str", "default": "/v1/chat/completions"},
    "model": {"type": "str", "default": "simulated-model"},
    "probes": {"type": "bool", "default": True},
    "probe_key": {"type": "str", "no_log": False},
    "timeout": {"type": "float", "default": 3},
    "fail_on": {"type": "str", "choices": ["never", "error", "warning"], "default": "never"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        # No secret where it is also given as a part of commands, and needed there.
        module.no_log_values -= {one for one in module.no_log_values if one in module.params["kubectl"]}
        begun, scope, now = time.monotonic(), scope_of(module), datetime.datetime.now(datetime.UTC)
        kube = connect(module)
        objects = read_objects(kube, scope)
        snapshot = Snapshot(
            scope, now, objects.found, objects.unseen, read_keys(kube, scope, now), _prometheus(module), _probes(module, kube, scope)
        )
        findings = examine(snapshot)
        result = {**result_of(findings, snapshot), "seconds": round(time.monotonic() - begun, 1)}
        limit = module.params["fail_on"]
        worst = next((one for one in findings if limit != "never" and SEVERITIES.index(one.severity) <= SEVERITIES.index(limit)), None)
        if worst:
            raise GatewayError(
                f"The gateway is not in order ({result['summary']}). The worst: {worst.object}: {worst.cause} {worst.consequence} "
                f"What mends it: {worst.command}",
                **result,
            )
        module.exit_json(changed=False, **result)


def scope_of(module: AnsibleModule) -> Scope:
    params = module.params
    try:
        within = parse_timedelta(params["expires_within"])
    except ValueError as exc:
        raise GatewayError(f"expires_within: {params['expires_within']!r} is not a duration such as 14d or 12h.") from exc
    labels = {name: str(value) for name, value in params["key_labels"].items()}
    where = params["namespace"], params["gateway"], params["kuadrant_namespace"]
    return Scope(*where, labels, params["kubectl"], within, params["retention_days"])


def _prometheus(module: AnsibleModule) -> Answered:
    params = module.params
    if not params["prometheus_url"]:
        return Answered()
    return ask_prometheus(
        Prometheus(
            params["prometheus_url"],
            token=params["prometheus_token"],
            ca_cert=params["prometheus_ca_cert"],
            validate_certs=params["prometheus_validate_certs"],
            timeout=params["timeout"],
        )
    )


def _probes(module: AnsibleModule, kube: Kube, scope: Scope) -> list[Probed]:
    params = module.params
    if not params["probes"] or not params["gateway_url"]:
        return []
    key = None
    # A call with a good key costs its user something: check mode makes none.
    if params["probe_key"] and not module.check_mode:
        key = params["probe_key"], value_of(kube, scope.namespace, params["probe_key"])
        module.no_log_values.add(key[1])
    options = {name: params[name] for name in ("hostname", "path", "model", "timeout")}
    with gateway_client(module, params["gateway_url"], stream=False, **options) as client:
        return probe(params["gateway_url"], client.send, key)


if __name__ == "__main__":
    main()
