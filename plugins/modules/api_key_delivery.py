#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_delivery
short_description: Hand the value of an API key to whoever asked for it, without showing it
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Copies the value of a key into a file that only its owner can read, or into a Secret in the namespace of whoever asked for the key.
  - The value is in no result, log, diff or argument of a task.
  - A Secret with a copy is no key. It lacks the labels by which the gateway finds keys, and a revoked key is refused whoever has a copy.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - A key that does not exist is taken for one that an earlier step would have created.
  diff_mode:
    support: full
    details:
      - Values are shown as fingerprints.
  idempotent:
    support: full
options:
  namespace:
    description:
      - The namespace of the key.
    type: str
    required: true
  name:
    description:
      - The name of the key.
    type: str
    required: true
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys. A Secret without them is an error.
    type: dict
    default: {app: llm-gateway}
  path:
    description:
      - The file for the value, on the machine where the module runs. It gets the mode C(0600), and the value with a line end.
      - Its folder must exist. A file that is there is replaced.
    type: path
  secret_name:
    description:
      - The Secret for the value. One that exists and holds no copy of this key is an error.
    type: str
  secret_namespace:
    description:
      - The namespace of O(secret_name). It must exist.
    type: str
  secret_key:
    description:
      - The key of the Secret's data.
    type: str
    default: api_key
seealso:
  - module: kuadrant.llm.api_key
"""

EXAMPLES = r"""
- name: Write a key to a file
  kuadrant.llm.api_key_delivery:
    namespace: llm
    name: alice-laptop
    path: ~/alice-laptop.key

- name: Give a team its key as a Secret in its own namespace
  kuadrant.llm.api_key_delivery:
    namespace: llm
    name: research-batch
    secret_name: llm-gateway
    secret_namespace: research
    secret_key: OPENAI_API_KEY
"""

RETURN = r"""
delivered_to:
  description: Where the value is, in words.
  returned: success
  type: str
  sample: Secret research/llm-gateway, data OPENAI_API_KEY
fingerprint:
  description: SHA-256 of the value. Null in check mode for a key that does not exist yet.
  returned: success
  type: str
  sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key import delivery
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import essence
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes, fingerprint

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "labels": {"type": "dict", "default": {"app": "llm-gateway"}},
    "path": {"type": "path"},
    "secret_name": {"type": "str", "no_log": False},
    "secret_namespace": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "default": "api_key", "no_log": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(**ARGUMENT_SPEC),
        supports_check_mode=True,
        mutually_exclusive=[("path", "secret_name")],
        required_one_of=[("path", "secret_name")],
        required_together=[("secret_name", "secret_namespace")],
    )
    with reporting(module):
        module.exit_json(**run(module, connect(module)))


def run(module: AnsibleModule, kube: Kube) -> dict[str, t.Any]:
    params = module.params
    source = params["namespace"], params["name"]
    labels = {name: str(value) for name, value in params["labels"].items()}
    key = delivery.key_to_deliver(kube, *source, labels)
    if key is None and not module.check_mode:
        raise GatewayError(f"There is no API key {'/'.join(source)}. Create it first.")
    if key is not None and key.value is not None:
        module.no_log_values.add(key.value)
    changes = Changes()
    where = to_file(module, key, changes) if params["path"] else to_secret(module, kube, key, changes)
    return changes.result(diff=module._diff, delivered_to=where, fingerprint=fingerprint(key.value) if key and key.value else None)


def to_file(module: AnsibleModule, key: StoredKey | None, changes: Changes) -> str:
    path = Path(module.params["path"])
    found = delivery.read_file(path)
    value = key.value if key else None
    if value is None or not delivery.file_is_as_wanted(found, value):
        before = {"content": fingerprint(found[0].rstrip("\n")), "mode": f"{found[1]:04o}"} if found else None
        changes.record(str(path), before, {"content": fingerprint(value) if value else "a new key", "mode": "0600"}, secret=False)
        if value is not None and not module.check_mode:
            delivery.write_file(path, value)
    return f"file {path}"


def to_secret(module: AnsibleModule, kube: Kube, key: StoredKey | None, changes: Changes) -> str:
    params = module.params
    namespace, name, field = params["secret_namespace"], params["secret_name"], params["secret_key"]
    where = f"Secret {namespace}/{name}"
    delivery.check_target(kube, (params["namespace"], params["name"]), namespace, name)
    if key is None:
        changes.record(where, None, {"data": {field: "a new key"}}, secret=False)
    else:
        for one in apply(kube, [delivery.copy_of(key, namespace, name, field)], check=module.check_mode):
            changes.record(one.label, essence(one.before), essence(one.after), secret=True)
    return f"{where}, data {field}"


if __name__ == "__main__":
    main()
