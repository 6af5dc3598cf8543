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
  - Every filter that is given narrows the list.
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
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys. Only Secrets that carry all of them are listed.
    type: dict
    default: {app: llm-gateway}
  names:
    description:
      - Only the keys of these names.
    type: list
    elements: str
  fingerprint:
    description:
      - Only the key that has or had the value with this SHA-256, in hexadecimal, with or without C(sha256:) before it.
      - Values that a rotation left and revoked ones count too, so that whoever found a value finds its key.
    type: str
  user:
    description:
      - Only the keys of this user.
    type: str
  tier:
    description:
      - Only the keys of this tier.
    type: str
  group:
    description:
      - Only the keys that are members of this group.
    type: str
  owner:
    description:
      - Only the keys that this owner answers for.
    type: str
  state:
    description:
      - Only the keys that can be used (if they have not expired), or only the records of those that were revoked.
    type: str
    choices: [present, revoked]
  managed:
    description:
      - Only the keys that M(kuadrant.llm.api_key) manages, or only the others, which O(kuadrant.llm.api_key#module:adopt) takes over.
    type: bool
  expired:
    description:
      - Only the keys that have expired, or only those that have not.
    type: bool
  expires_within:
    description:
      - Only the keys that work and will have expired after this time, for example V(30d) or V(12h).
    type: str
  unchanged_for:
    description:
      - Only the keys that were not changed for so long, for example V(90d), to find those that a rotation is due for.
    type: str
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

- name: Find the keys that expire within a month
  kuadrant.llm.api_key_info:
    namespace: llm
    expires_within: 30d
  register: expiring

- name: Find the keys of the original demos
  kuadrant.llm.api_key_info:
    namespace: llm
    managed: false
  register: foreign
"""

RETURN = r"""
api_keys:
  description: The keys, by name. Empty if none suits the filters.
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
    state:
      description: V(revoked) for the record of a revoked key, else V(present).
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
    models:
      description: The only models that the key may use. Empty means all that its tier allows.
      type: list
      elements: str
      returned: always
    owner:
      description: Who answers for the key. Null if no one is named.
      type: str
      returned: always
    expires_at:
      description: When the key expires. Null if never.
      type: str
      returned: always
    expired:
      description: Whether that time has come, by the clock of the machine where the module runs.
      type: bool
      returned: always
    rotation:
      description: The name of its last rotation. Null if there was none.
      type: str
      returned: always
    suspended_from:
      description: The tier that the key gets back, where M(kuadrant.llm.budget_enforcement) has moved it because a budget is spent.
      type: str
      returned: for a key that was moved
    revoked_at:
      description: When the key was revoked. Null if it was not.
      type: str
      returned: always
    revoked_fingerprints:
      description: SHA-256 of the values that were revoked with the key.
      type: list
      elements: str
      returned: always
    previous:
      description: The earlier values that still work after a rotation.
      type: list
      elements: dict
      returned: always
      contains:
        fingerprint:
          description: SHA-256 of the value.
          type: str
          returned: always
        expires_at:
          description: The moment from which the gateway refuses it.
          type: str
          returned: always
    created:
      description: When its Secret was created (RFC 3339, UTC).
      type: str
      returned: always
    changed_at:
      description: When M(kuadrant.llm.api_key) changed it last. Null if it did not say so.
      type: str
      returned: always
    fingerprint:
      description: SHA-256 of the key. Null if the Secret holds none.
      type: str
      returned: always
      sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    temporary:
      description: Whether the playbook C(kuadrant.llm.check_gateway) issued it for itself, for a moment.
      type: bool
      returned: always
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

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.listing import KeyFilter, listing, read_fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_timedelta

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "labels": {"type": "dict", "default": {"app": "llm-gateway"}},
    "names": {"type": "list", "elements": "str"},
    "fingerprint": {"type": "str"},
    "user": {"type": "str"},
    "tier": {"type": "str"},
    "group": {"type": "str"},
    "owner": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "revoked"]},
    "managed": {"type": "bool"},
    "expired": {"type": "bool"},
    "expires_within": {"type": "str"},
    "unchanged_for": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        params = module.params
        same = {name: params[name] for name in ("names", "user", "tier", "group", "owner", "state", "managed", "expired")}
        same["fingerprint"] = None if params["fingerprint"] is None else read_fingerprint(params["fingerprint"])
        wanted = KeyFilter(**same, expires_within=_duration(module, "expires_within"), unchanged_for=_duration(module, "unchanged_for"))
        labels = {name: str(value) for name, value in params["labels"].items()}
        keys = stored_keys(connect(module), params["namespace"], labels)
        module.exit_json(changed=False, api_keys=listing(keys, wanted, datetime.datetime.now(datetime.UTC)))


def _duration(module: AnsibleModule, option: str) -> datetime.timedelta | None:
    text = module.params[option]
    try:
        return None if text is None else parse_timedelta(text)
    except ValueError as exc:
        raise GatewayError(f"{option}: {text!r} is not a duration such as 30d, 12h or 1h30m.") from exc


if __name__ == "__main__":
    main()
