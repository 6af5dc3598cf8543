#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_info
short_description: List the API keys of an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Lists the API keys of a namespace, with whatever is wrong with them. Never returns the value of a key.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  namespace:
    description:
      - The namespace of the keys.
    type: str
    required: true
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys. Only Secrets that carry all of them are listed.
    type: dict
    default: {app: llm-gateway}
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0
seealso:
  - module: kuadrant.llm.api_key
"""

EXAMPLES = r"""
- name: List the keys
  kuadrant.llm.api_key_info:
    namespace: llm
  register: listed

- name: Show what is wrong with them
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.problems | join('; ') }}"
  loop: "{{ listed.api_keys | rejectattr('problems', 'equalto', []) }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
api_keys:
  description: The keys, by name. Empty if there are none.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the key, and of its Secret.
      type: str
      returned: always
    namespace:
      description: The namespace of its Secret.
      type: str
      returned: always
    user:
      description: Who the key belongs to. Null if the Secret does not say it.
      type: str
      returned: always
    tier:
      description: The tier of the key. Null if the Secret does not say it.
      type: str
      returned: always
    groups:
      description: The groups of the key.
      type: list
      elements: str
      returned: always
    expires_at:
      description: When the key expires. Null if never.
      type: str
      returned: always
    expired:
      description: Whether that time has come, by the clock of the machine where the module runs.
      type: bool
      returned: always
    created:
      description: When its Secret was created (RFC 3339, UTC).
      type: str
      returned: always
    fingerprint:
      description: SHA-256 of the key. Null if the Secret holds none.
      type: str
      returned: always
      sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    managed:
      description: Whether M(kuadrant.llm.api_key) made it.
      type: bool
      returned: always
    problems:
      description: What is wrong with the key. Empty if nothing is.
      type: list
      elements: str
      returned: always
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import read_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.report import inspect
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "labels": {"type": "dict", "default": {"app": "llm-gateway"}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        labels = {name: str(value) for name, value in module.params["labels"].items()}
        keys = read_keys(connect(module), module.params["namespace"], labels)
        now = datetime.datetime.now(datetime.UTC)
        module.exit_json(changed=False, api_keys=[inspect(keys[name], now) for name in sorted(keys)])


if __name__ == "__main__":
    main()
