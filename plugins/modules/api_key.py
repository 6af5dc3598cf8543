#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Manage the API keys of an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Creates, changes, rotates, revokes and deletes API keys, as the Secrets that Authorino reads. One task takes the whole list of keys.
  - A key is identified by its name in a namespace. Its value is generated when it is created, and left alone afterwards.
  - All entries are checked before anything is written, and errors name the entry.
  - A change of user, tier, groups or expiry takes effect at once and without an outage. Authorino ignores such an edit of a Secret,
    therefore a second Secret of the same value stands in for it for about a second. An interrupted run is finished by the next one.
  - Every Secret gets the labels C(authorino.kuadrant.io/managed-by=authorino) (without it a deleted key goes on working),
    C(kuadrant.io/auth-secret=true) and C(app.kubernetes.io/managed-by=kuadrant.llm). Secrets without the last one are touched only with
    O(adopt=true).
  - Requests go out eight at a time and are tried again when the API server asks for it.
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
options:
  namespace:
    description:
      - The namespace of the Secrets. It must exist.
    type: str
    required: true
  keys:
    description:
      - The keys.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Identifies the key, and is the name of its Secret.
        type: str
        required: true
      user:
        description:
          - Who the key belongs to. Limits and usage are counted per user.
          - Required if the key is to be present.
        type: str
      tier:
        description:
          - The name of the tier that decides the key's limits.
          - Required if the key is to be present.
        type: str
      groups:
        description:
          - The groups that the key is a member of.
          - The tier alone if omitted.
        type: list
        elements: str
      models:
        description:
          - The only models that the key may use, as names in which V(*) stands for any characters; its tier may allow fewer. All others get
            403, and so does what names no model, such as a list of models.
          - All models that its tier allows if omitted.
          - The policy has to know that there are such keys, see O(kuadrant.llm.tier#module:key_models). Else they are refused altogether.
        type: list
        elements: str
      owner:
        description:
          - Who answers for the key, for example a team or a mail address. Reports show it; the gateway does not use it.
          - If omitted, an existing key keeps its owner. An empty string removes it.
        type: str
      attributes:
        description:
          - Cost centre, project and whatever else the user's bill has to carry, for M(kuadrant.llm.chargeback). They are not in the Secret.
        type: dict
      expires_at:
        description:
          - When the gateway starts to refuse the key, as RFC 3339 time, for example V(2027-01-31T00:00:00Z).
          - If omitted, a new key never expires and an existing one keeps its expiry. An empty string removes it.
        type: str
      lifetime:
        description:
          - How long each value of the key works, for example V(90d) or V(12h). The key expires so long after its creation or, with
            O(keys[].rotation), after its last rotation; a run that makes no new value leaves the expiry as it is.
          - From V(1m) to V(36500d). Cannot be combined with O(keys[].expires_at).
        type: str
      key:
        description:
          - The key itself, if it is given from outside. 16 to 4096 characters, 8 different ones among them.
          - If omitted, one is generated when the key is created, and an existing key is left as it is.
          - A new value without a new O(keys[].rotation) takes the place of the old one at once.
          - For a key that is to be revoked, a value that must never be issued.
        type: str
      rotation:
        description:
          - Names a rotation, for example V(2027-01) or V(after-incident-17). The key gets a new value when this differs from the name of
            its last rotation, which is kept in the Secret, and at no other time. A second run with the same name changes nothing.
          - The new value is O(keys[].key), or generated. The old one goes on working for O(keys[].overlap).
          - If omitted, the key is not rotated. For a new key, the name is only noted.
        type: str
      overlap:
        description:
          - How long the old value works on after a rotation, for example V(24h), V(90m) or V(7d).
          - V(0s) for not at all, else at least V(10s).
          - The top-level O(overlap) if omitted.
        type: str
      state:
        description:
          - What is to become of the key. The top-level O(state) if omitted.
        type: str
        choices: [present, revoked, absent]
  state:
    description:
      - What is to become of the keys, for the entries of O(keys) that do not say it themselves.
      - A revoked or absent key is refused from the next request on, with the earlier values that a rotation left.
      - V(revoked) keeps the Secret without the value as a record of name, user, fingerprints and time.
        Neither the name nor the value can be used again.
      - V(absent) leaves nothing, and forgets that a key was revoked.
    type: str
    choices: [present, revoked, absent]
    default: present
  overlap:
    description:
      - How long the old value of a key works on after a rotation, for the entries of O(keys) that do not say it themselves.
      - It ends by itself, at the gateway, where the AuthPolicy of this collection is in force. Under another one it ends with the next run.
    type: str
    default: 1h
  purge:
    description:
      - Delete the keys that are not in O(keys). Only keys that this module manages, in O(namespace), with the O(labels).
      - Records of revoked keys stay, and so do the keys that a running check of the gateway has issued for itself
        (label C(kuadrant.llm/purpose=check)) until they expire. Check mode lists what would be deleted. At least one key must be listed.
    type: bool
    default: false
  adopt:
    description:
      - Take over Secrets of these names that another tool or person created, if they carry the O(labels) and hold a key. Their values
        stay, and no request is refused meanwhile. An annotation in which C(kubectl apply) keeps the value in plain text is removed.
      - Without it such a Secret is an error.
    type: bool
    default: false
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys. They are set on every key.
      - No two Secrets of the namespace with these labels may hold the same key.
    type: dict
    default: {app: llm-gateway}
  tiers:
    description:
      - The names of the tiers that exist. A key of another tier is an error.
      - Tiers are not checked if omitted.
    type: list
    elements: str
  return_secret:
    description:
      - Return the value of each key that was generated in this run, for a new key or a rotation, and of no other.
      - Set C(no_log) on the task then, and register the result to pass it on.
    type: bool
    default: false
seealso:
  - module: kuadrant.llm.api_key_info
  - module: kuadrant.llm.gateway_check
"""

EXAMPLES = r"""
- name: Create two keys
  kuadrant.llm.api_key:
    namespace: llm
    keys:
      - {name: alice-laptop, user: alice, tier: free}
      - {name: acme-prod, user: acme, tier: premium, expires_at: "2099-01-01T00:00:00Z"}

- name: Make the cluster follow the inventory
  kuadrant.llm.api_key:
    namespace: llm
    keys: "{{ llm_gateway_keys }}"
    tiers: "{{ llm_gateway_tiers | map(attribute='name') }}"

- name: Move a user to another tier, effective at once
  kuadrant.llm.api_key:
    namespace: llm
    keys:
      - {name: alice-laptop, user: alice, tier: premium}

- name: Revoke a key that has leaked
  kuadrant.llm.api_key:
    namespace: llm
    state: revoked
    keys:
      - name: alice-laptop

- name: Give a key a new value, while the old one works for another day
  kuadrant.llm.api_key:
    namespace: llm
    return_secret: true
    keys:
      - {name: acme-prod, user: acme, tier: premium, rotation: 2027-q1, overlap: 24h}
  register: rotated
  no_log: true

- name: Give a key a new value that works for another three months
  kuadrant.llm.api_key:
    namespace: llm
    keys:
      - {name: acme-prod, user: acme, tier: premium, rotation: 2027-q2, overlap: 7d, lifetime: 90d}

- name: Delete the keys that are in the cluster and not in the inventory
  kuadrant.llm.api_key:
    namespace: llm
    keys: "{{ llm_gateway_keys }}"
    purge: true

- name: Take over a key that was created with kubectl
  kuadrant.llm.api_key:
    namespace: llm
    adopt: true
    keys:
      - {name: freeuser1-apikey, user: freeuser1, tier: free}

- name: Create a key and get its value, which is told only once
  kuadrant.llm.api_key:
    namespace: llm
    return_secret: true
    keys:
      - {name: bob-ci, user: bob, tier: free}
  register: created
  no_log: true
"""

RETURN = r"""
api_keys:
  description: The keys, in the order of O(keys), then those that O(purge=true) removes.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the key.
      type: str
      returned: always
    namespace:
      description: The namespace of its Secret.
      type: str
      returned: unless the key was absent already
    state:
      description: V(present), V(revoked) or V(absent).
      type: str
      returned: always
    user:
      description: Who the key belongs to.
      type: str
      returned: unless the key was absent already
    tier:
      description: The tier of the key.
      type: str
      returned: unless the key was absent already
    groups:
      description: The groups of the key.
      type: list
      elements: str
      returned: unless the key was absent already
    models:
      description: The only models that the key may use. Empty means all that its tier allows.
      type: list
      elements: str
      returned: unless the key was absent already
    owner:
      description: Who answers for the key.
      type: str
      returned: unless the key was absent already
    expires_at:
      description: When the key expires (RFC 3339, UTC). Null if never.
      type: str
      returned: unless the key was absent already
    rotation:
      description: The name of its last rotation. Null if there was none.
      type: str
      returned: unless the key was absent already
    suspended_from:
      description: The tier that the key gets back, where M(kuadrant.llm.budget_enforcement) has moved it because a budget is spent.
      type: str
      returned: for a key that was moved
    revoked_at:
      description: When the key was revoked. Null if it was not.
      type: str
      returned: unless the key was absent already
    fingerprint:
      description: SHA-256 of the key. Null for a revoked key, and in check mode for one that would be generated.
      type: str
      returned: unless the key was absent already
      sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    revoked_fingerprints:
      description: SHA-256 of the values that were revoked with the key.
      type: list
      elements: str
      returned: unless the key was absent already
    previous:
      description: The earlier values that still work.
      type: list
      elements: dict
      returned: unless the key was absent already
      contains:
        fingerprint:
          description: SHA-256 of the value.
          type: str
          returned: always
        expires_at:
          description: The moment from which the gateway refuses it.
          type: str
          returned: always
    changed:
      description: Whether something was (or in check mode would be) done.
      type: bool
      returned: always
    action:
      description:
        - What was (or would be) done. V(refresh) is an update that made Authorino read the key again. V(clean_up) removed earlier values
          that had expired.
      type: str
      choices: [create, adopt, update, refresh, rotate, revoke, clean_up, delete, none]
      returned: always
    reasons:
      description: Why.
      type: list
      elements: str
      returned: always
      sample: [tier changes, groups changes]
    key:
      description: The value of the key. Null in check mode.
      type: str
      returned: with O(return_secret=true), for a key that was generated in this run
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.results import result_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.supplied import hiding, take_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import STATES, parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._manifests import manifests_of

KEY_SPEC = {
    "name": {"type": "str", "required": True},
    "user": {"type": "str"},
    "tier": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "models": {"type": "list", "elements": "str"},
    "owner": {"type": "str"},
    "attributes": {"type": "dict"},
    "expires_at": {"type": "str"},
    "lifetime": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "rotation": {"type": "str"},
    "overlap": {"type": "str"},
    "state": {"type": "str", "choices": list(STATES)},
}

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "dict", "required": True, "options": KEY_SPEC, "no_log": False},
    "state": {"type": "str", "choices": list(STATES), "default": "present"},
    "overlap": {"type": "str", "default": "1h"},
    "purge": {"type": "bool", "default": False},
    "adopt": {"type": "bool", "default": False},
    "labels": {"type": "dict", "default": {"app": "llm-gateway"}},
    "tiers": {"type": "list", "elements": "str"},
    "return_secret": {"type": "bool", "default": False, "no_log": False},
}


def main() -> None:
    # no_log: neither does a list of all users belong in the system's log, nor does Ansible mask thousands of keys there in reasonable time.
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True, no_log=True)
    entries = take_keys(module)
    with reporting(module), hiding(entries):
        module.exit_json(**run(module, entries))


def run(module: AnsibleModule, entries: list[dict[str, t.Any]]) -> dict[str, object]:
    params = module.params
    namespace, labels = params["namespace"], {name: str(value) for name, value in params["labels"].items()}
    wanted = parse_keys(entries, state=params["state"], overlap=params["overlap"], tiers=params["tiers"])
    kube = connect(module)
    manifests = manifests_of(kube)
    if manifests is not None and wanted:
        manifests.omit("1 key" if len(wanted) == 1 else f"{len(wanted)} keys")
    current = stored_keys(kube, namespace, labels, {key.name for key in wanted})
    plan = plan_keys(
        current,
        wanted,
        namespace=namespace,
        labels=labels,
        now=datetime.datetime.now(datetime.UTC),
        adopt=params["adopt"],
        purge=params["purge"],
    )
    finished: dict[str, KeyAction] = {}

    def result() -> dict[str, object]:
        return result_of(plan, finished, diff=module._diff, return_secret=params["return_secret"])

    try:
        if module.check_mode:
            finished.update((action.name, action) for action in plan)
        else:
            apply_plan(kube, namespace, plan, finished)
    except GatewayError as exc:  # what was done before is told too: a generated key is not lost
        raise GatewayError(exc.message, **exc.details, **result()) from exc
    return result()


if __name__ == "__main__":
    main()
