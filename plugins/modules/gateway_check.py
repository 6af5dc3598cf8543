#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_check
short_description: Send requests to an LLM gateway and compare the answers with what is expected
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Sends chat completions with and without keys, and fails if a status is not the expected one. The error names the probe, the statuses,
    what the gateway said and what to do.
  - The requests are real. They count against the limits of the keys' users, and they are metered.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: partial
    details:
      - Probes with O(probes[].key_secret) are skipped, since they would spend quota. The others are sent.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: partial
    details:
      - Nothing is ever reported as changed, but every run spends quota.
options:
  url:
    description:
      - The address of the gateway, for example V(http://127.0.0.1:18000).
    type: str
    required: true
  hostname:
    description:
      - The C(Host) header to send, where the route is bound to a hostname that does not resolve to the gateway.
      - With HTTPS, the certificate has to be for this name or for the address in O(url).
      - Not to be confused with O(host), the address of the Kubernetes API.
    type: str
  path:
    description:
      - The path to send the requests to.
    type: str
    default: /v1/chat/completions
  model:
    description:
      - The model to ask for.
    type: str
    required: true
  stream:
    description:
      - Whether to ask for a stream, as clients do that do not ask for its usage.
    type: bool
    default: false
  ca_path:
    description:
      - A file with the certificates, in PEM form, of the authorities that may have signed the certificate of an HTTPS gateway.
      - If omitted, those that this machine trusts.
    type: path
  key_prefix:
    description:
      - What stands before a key in the header C(Authorization).
    type: str
    default: APIKEY
  probes:
    description:
      - What to send, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - What the probe shows. Errors name it.
        type: str
        required: true
      key:
        description:
          - The key to send. Without O(probes[].key) and O(probes[].key_secret) none is sent.
          - Mutually exclusive with O(probes[].key_secret).
        type: str
      key_secret:
        description:
          - The Secret that holds the key, as M(kuadrant.llm.api_key) creates it.
          - Mutually exclusive with O(probes[].key).
        type: dict
        suboptions:
          name:
            description:
              - The name of the Secret, which is the name of the key.
            type: str
            required: true
          namespace:
            description:
              - The namespace of the Secret.
            type: str
            required: true
      count:
        description:
          - How many requests to send. As many as there are statuses in O(probes[].expect) if omitted.
        type: int
      expect:
        description:
          - The expected status of each request, in order, or one for all.
        type: list
        elements: int
        required: true
  settle:
    description:
      - How many seconds a probe may take to become true after a change. Its first request is repeated until it is answered as expected,
        as long as repeating cannot spend quota.
    type: float
    default: 0
  timeout:
    description:
      - How many seconds to wait for the connection, and for each response.
    type: float
    default: 10
requirements:
  - requests
seealso:
  - module: kuadrant.llm.api_key
"""

EXAMPLES = r"""
- name: Check that only callers with a key get through, and how often
  kuadrant.llm.gateway_check:
    url: http://127.0.0.1:18000
    model: simulated-model
    settle: 60
    probes:
      - {name: without a key, expect: [401]}
      - {name: with a wrong key, key: no-such-key, expect: [401]}
      - name: a free user has two calls
        key_secret: {name: alice-laptop, namespace: llm}
        expect: [200, 200, 429]
      - name: a premium user has ten
        key_secret: {name: acme-prod, namespace: llm}
        count: 10
        expect: [200]
"""

RETURN = r"""
probes:
  description: The probes, in their order. Also returned when the module fails.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the probe.
      type: str
      returned: always
    expected:
      description: The expected statuses.
      type: list
      elements: int
      returned: always
      sample: [200, 200, 429]
    statuses:
      description: The statuses of the answers. V(0) stands for no answer.
      type: list
      elements: int
      returned: always
      sample: [200, 200, 429]
    tokens:
      description: The tokens that the answers say they cost. Null if none says it.
      type: int
      returned: always
    ok:
      description: Whether the statuses are those that were expected, or the probe was skipped.
      type: bool
      returned: always
    skipped:
      description: Whether the probe was skipped (check mode).
      type: bool
      returned: always
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._gateway import gateway_client
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._probe import Probe, ProbeOutcome, judge, parse_probes, run_probe

PROBE_SPEC = {
    "name": {"type": "str", "required": True},
    "key": {"type": "str", "no_log": True},
    "key_secret": {
        "type": "dict",
        "no_log": False,
        "options": {"name": {"type": "str", "required": True}, "namespace": {"type": "str", "required": True}},
    },
    "count": {"type": "int"},
    "expect": {"type": "list", "elements": "int", "required": True},
}

ARGUMENT_SPEC = {
    "url": {"type": "str", "required": True},
    "hostname": {"type": "str"},
    "path": {"type": "str", "default": "/v1/chat/completions"},
    "model": {"type": "str", "required": True},
    "stream": {"type": "bool", "default": False},
    "ca_path": {"type": "path"},
    "key_prefix": {"type": "str", "default": "APIKEY", "no_log": False},
    "probes": {"type": "list", "elements": "dict", "required": True, "options": PROBE_SPEC, "mutually_exclusive": [("key", "key_secret")]},
    "settle": {"type": "float", "default": 0},
    "timeout": {"type": "float", "default": 10},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        outcomes = run(module, with_keys(module, parse_probes(module.params["probes"])))
        entries = [outcome.entry() for outcome in outcomes]
        try:
            judge(outcomes, module.params["url"])
        except GatewayError as exc:
            raise GatewayError(exc.message, probes=entries) from exc
        module.exit_json(changed=False, probes=entries)


def with_keys(module: AnsibleModule, probes: list[Probe]) -> list[Probe]:
    """The probes with the keys of their Secrets, which are masked in whatever the module prints from then on."""
    if module.check_mode or not any(probe.secret for probe in probes):
        return probes
    kube = connect(module)
    probes = [dataclasses.replace(probe, key=value_of(kube, *probe.secret)) if probe.secret else probe for probe in probes]
    module.no_log_values.update(probe.key for probe in probes if probe.key)
    return probes


def run(module: AnsibleModule, probes: list[Probe]) -> list[ProbeOutcome]:
    params = module.params
    options = {name: params[name] for name in ("hostname", "path", "model", "stream", "key_prefix", "ca_path", "timeout")}
    with gateway_client(module, params["url"], **options) as client:
        return [
            ProbeOutcome(probe, (), skipped=True)
            if module.check_mode and probe.secret
            else run_probe(probe, client.send, settle=params["settle"])
            for probe in probes
        ]


if __name__ == "__main__":
    main()
