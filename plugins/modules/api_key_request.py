#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_request
short_description: Ask for an API key of an LLM gateway, and approve or refuse that
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Records who asks for what key and why, in a ConfigMap beside the keys, and who approved or refused it and when.
  - Whoever approves is another person than the one who asked. With the approval the key is made, and its value is recorded beside the
    request, encrypted to the public key that was given with it. That is done once.
  - The value is in no result, log, diff or argument of a task, other than encrypted.
  - What was asked for never changes, so that whoever approves decides about what they saw. A name is asked for once.
  - An interrupted run is finished by the next one.
requirements:
  - pyrage
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Keys are shown as fingerprints.
  idempotent:
    support: full
    details:
      - A step that was taken already is not taken again, whoever asks for it.
options:
  state:
    description:
      - V(requested) records a request. V(approved) makes the key and encrypts its value. V(refused) records that there will be none;
        whoever asked may do that, too.
    type: str
    choices: [requested, approved, refused]
    required: true
  namespace:
    description:
      - The namespace of the keys. It must exist.
    type: str
    required: true
  name:
    description:
      - The name of the key.
    type: str
    required: true
  by:
    description:
      - The person who takes this step. It is recorded as given; who may run this module is a matter of the system. AWX and Automation
        Platform say who has launched a job as C(awx_user_name).
    type: str
    required: true
  user:
    description:
      - Who the key is to belong to. Required with O(state=requested), and not used otherwise, as all options up to O(reason).
    type: str
  tier:
    description:
      - The tier of the key.
    type: str
  groups:
    description:
      - The groups of the key. The tier alone if omitted.
    type: list
    elements: str
  models:
    description:
      - The only models that the key may use. All that its tier allows if omitted.
    type: list
    elements: str
  owner:
    description:
      - Who answers for the key. Whoever asks for it if omitted.
    type: str
  expires_at:
    description:
      - When the gateway starts to refuse the key, as RFC 3339 time.
    type: str
  lifetime:
    description:
      - How long the key works from its approval on, for example V(90d).
    type: str
  recipient:
    description:
      - The public key of whoever asks, to which the value is encrypted with age. An SSH key of the types C(ssh-ed25519) and C(ssh-rsa), as
        in C(~/.ssh/id_ed25519.pub), or an age recipient (C(age1...)).
    type: str
  reason:
    description:
      - What the key is for.
    type: str
  note:
    description:
      - What else to record with O(state=approved) and O(state=refused), such as why.
    type: str
    default: ""
  same_person:
    description:
      - Whether one person may ask and approve.
    type: bool
    default: false
  path:
    description:
      - With O(state=approved), a file for the encrypted value, on the machine where the module runs. Its folder must exist.
    type: path
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys.
    type: dict
    default: {app: llm-gateway}
  tiers:
    description:
      - The names of the tiers that exist. A key of another tier is an error.
      - Tiers are not checked if omitted.
    type: list
    elements: str
seealso:
  - module: kuadrant.llm.api_key_request_info
  - module: kuadrant.llm.api_key
  - name: age
    description: What decrypts a value.
    link: https://age-encryption.org
"""

EXAMPLES = r"""
- name: Ask for a key
  kuadrant.llm.api_key_request:
    state: requested
    namespace: llm
    name: zoe-laptop
    by: zoe
    user: zoe
    tier: free
    lifetime: 90d
    recipient: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    reason: Evaluation of summaries, ticket 4711

- name: Approve it, and write what only zoe can decrypt into a file
  kuadrant.llm.api_key_request:
    state: approved
    namespace: llm
    name: zoe-laptop
    by: ann
    path: /srv/keys/zoe-laptop.age

- name: Refuse another one
  kuadrant.llm.api_key_request:
    state: refused
    namespace: llm
    name: max-laptop
    by: ann
    note: Use the key of your team
"""

RETURN = r"""
request:
  description: The request as it is recorded. Texts that were not given are empty.
  returned: success
  type: dict
  contains:
    name:
      description: The name of the key.
      type: str
      returned: always
    state:
      description: What became of the request. V(approved) is one whose key is not delivered yet, because a run was interrupted.
      type: str
      choices: [pending, refused, approved, delivered]
      returned: always
    user:
      description: Who the key belongs to.
      type: str
      returned: always
    tier:
      description: The tier of the key.
      type: str
      returned: always
    groups:
      description: The groups of the key. Empty means the tier alone.
      type: list
      elements: str
      returned: always
    models:
      description: The only models that the key may use. Empty means all that its tier allows.
      type: list
      elements: str
      returned: always
    owner:
      description: Who answers for the key. Empty means whoever asked.
      type: str
      returned: always
    expires_at:
      description: When the key expires, as it was asked for.
      type: str
      returned: always
    lifetime:
      description: How long the key works from its approval on.
      type: str
      returned: always
    recipient:
      description: The public key to which the value is encrypted.
      type: str
      returned: always
    reason:
      description: What the key is for.
      type: str
      returned: always
    requested_by:
      description: Who asked.
      type: str
      returned: always
    requested_at:
      description: When (RFC 3339, UTC).
      type: str
      returned: always
    decided_by:
      description: Who approved or refused.
      type: str
      returned: always
    decided_at:
      description: When (RFC 3339, UTC).
      type: str
      returned: always
    note:
      description: What they noted.
      type: str
      returned: always
    delivered_at:
      description: When the value was encrypted (RFC 3339, UTC).
      type: str
      returned: always
    fingerprint:
      description: SHA-256 of the value that was delivered.
      type: str
      returned: always
      sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    delivery:
      description: The value of the key, encrypted, as an armored age file. Only the owner of O(recipient) can read it.
      type: str
      returned: always
      sample: "-----BEGIN AGE ENCRYPTED FILE-----\n..."
"""

import datetime
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.delivery import file_is_as_wanted, read_file, write_file
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.model import KeyRequest
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.plan import parse_request
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.recipient import IMPORT_ERROR
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.run import Desk
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["requested", "approved", "refused"], "required": True},
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "by": {"type": "str", "required": True},
    "user": {"type": "str"},
    "tier": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "models": {"type": "list", "elements": "str"},
    "owner": {"type": "str"},
    "expires_at": {"type": "str"},
    "lifetime": {"type": "str"},
    "recipient": {"type": "str"},
    "reason": {"type": "str"},
    "note": {"type": "str", "default": ""},
    "same_person": {"type": "bool", "default": False},
    "path": {"type": "path"},
    "labels": {"type": "dict", "default": {"app": "llm-gateway"}},
    "tiers": {"type": "list", "elements": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(**ARGUMENT_SPEC),
        required_if=[("state", "requested", ("user", "tier", "recipient", "reason"))],
        supports_check_mode=True,
    )
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("pyrage"), exception=IMPORT_ERROR)
    with reporting(module):
        module.exit_json(**run(module))


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    desk = Desk(
        kube=connect(module),
        namespace=params["namespace"],
        labels={name: str(value) for name, value in params["labels"].items()},
        tiers=params["tiers"],
        now=datetime.datetime.now(datetime.UTC),
        check=module.check_mode,
        hide=module.no_log_values.add,
    )
    if params["state"] == "requested":
        request = desk.ask(parse_request(params, desk.tiers, desk.now))
    elif params["state"] == "refused":
        request = desk.refuse(params["name"], params["by"], params["note"])
    else:
        path = Path(params["path"]) if params["path"] else None
        found = read_file(path) if path else None
        request = desk.approve(params["name"], params["by"], params["note"], same_person=params["same_person"])
        if path:
            write(module, desk, path, found, request)
    return desk.changes.result(diff=module._diff, request=request.as_dict())


def write(module: AnsibleModule, desk: Desk, path: Path, found: tuple[str, int] | None, request: KeyRequest) -> None:
    """The encrypted value into a file, unless it is there."""
    value = request.delivery.rstrip("\n")
    if value and file_is_as_wanted(found, value):
        return
    wanted = {"content": f"key {request.name}, encrypted to {request.requested_by}", "mode": "0600"}
    desk.changes.record(str(path), {"content": "something else"} if found else None, wanted, secret=False)
    if value and not module.check_mode:
        write_file(path, value)


if __name__ == "__main__":
    main()
