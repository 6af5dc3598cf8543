#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_request_info
short_description: List the requests for API keys of an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Lists what M(kuadrant.llm.api_key_request) has recorded, from the oldest request to the newest.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  namespace:
    description:
      - The namespace of the keys.
    type: str
    required: true
  name:
    description:
      - Only the request for the key of this name.
    type: str
  state:
    description:
      - Only the requests that this became of.
    type: str
    choices: [pending, refused, approved, delivered]
seealso:
  - module: kuadrant.llm.api_key_request
"""

EXAMPLES = r"""
- name: List the requests that wait for someone
  kuadrant.llm.api_key_request_info:
    namespace: llm
    state: pending
  register: waiting
"""

RETURN = r"""
requests:
  description: The requests, each as M(kuadrant.llm.api_key_request) returns it.
  returned: success
  type: list
  elements: dict
  sample:
    - name: zoe-laptop
      state: pending
      user: zoe
      tier: free
      groups: []
      models: []
      owner: ""
      expires_at: ""
      lifetime: 90d
      recipient: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...
      reason: Evaluation of summaries, ticket 4711
      requested_by: zoe
      requested_at: "2026-11-28T09:30:00Z"
      decided_by: ""
      decided_at: ""
      note: ""
      delivered_at: ""
      fingerprint: ""
      delivery: ""
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.model import STATES
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.run import all_requests
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str"},
    "state": {"type": "str", "choices": list(STATES)},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        params = module.params
        found = [
            one.as_dict()
            for one in all_requests(connect(module), params["namespace"])
            if params["name"] in (None, one.name) and params["state"] in (None, one.state)
        ]
        module.exit_json(changed=False, requests=found)


if __name__ == "__main__":
    main()
