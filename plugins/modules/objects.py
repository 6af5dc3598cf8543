#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: objects
short_description: Internal to this collection, apply or delete Kubernetes objects and wait for them
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time; use M(kubernetes.core.k8s) in your own playbooks.
  - Applies whole objects and waits until those with known conditions are in effect, or deletes objects and waits until they are gone.
  - A Namespace that exists is left as it is. One that is being deleted is an error.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - The API server predicts every write. A namespace or a kind that is missing is taken for what an earlier step would have created.
      - Nothing is waited for.
  diff_mode:
    support: full
    details:
      - Without status and what the API server alone writes. Data of Secrets is shown as its fingerprint.
  idempotent:
    support: full
options:
  definitions:
    description:
      - The objects. Namespaces are applied first, then CRDs, then the others in their order; objects are deleted in their order.
      - With O(state=absent), only C(apiVersion), C(kind) and C(metadata) count. One without a name stands for all that have its labels.
    type: list
    elements: dict
    required: true
  state:
    description:
      - Whether they are there.
    type: str
    choices: [present, absent]
    default: present
  method:
    description:
      - V(apply) is a server-side apply, as manager C(kuadrant.llm), forced. What others set in other fields stays, and what earlier
        versions of this collection wrote by patches is taken over.
      - V(exact) makes everything that the definition has beside its metadata exactly so.
      - V(merge) and V(strategic) patch an object that must exist.
    type: str
    choices: [apply, exact, merge, strategic]
    default: apply
  optional:
    description:
      - Kinds that the cluster need not serve, such as V(ServiceMonitor). Objects of a kind that it does not serve are left out.
    type: list
    elements: str
    default: []
  unless:
    description:
      - References to objects of others, with C(apiVersion), C(kind) and C(metadata), that stand in the place of O(definitions). Where one
        of them exists, O(definitions) are deleted as with O(state=absent) and O(owned_only=true).
    type: list
    elements: dict
    default: []
  unwanted:
    description:
      - Objects to delete after O(definitions) are applied and in effect, in the form and by the rules of O(state=absent).
    type: list
    elements: dict
    default: []
  owned_only:
    description:
      - With O(state=absent), delete only what has the label C(app.kubernetes.io/managed-by=kuadrant.llm). A Namespace always needs it.
    type: bool
    default: true
  namespace_ignore:
    description:
      - With O(state=absent), what a Namespace may still hold when it is deleted, as patterns of kind and name such as V(Secret/istio-*).
    type: list
    elements: str
    default: []
  namespace_releases:
    description:
      - With O(state=absent), Helm releases that are being removed from that Namespace. What belongs to them does not count.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Wait until the objects are in effect, where it is known of their kind when they are, or until they are gone.
      - A CRD is always waited for.
    type: bool
    default: true
  timeout:
    description:
      - How many seconds to wait at most.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Apply the Gateway
  kuadrant.llm.objects:
    definitions: ["{{ gateway }}"]
"""

RETURN = r"""
actions:
  description: What was done with each object, or would be done.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind.
      type: str
      returned: always
      sample: Gateway
    namespace:
      description: The namespace, or nothing where the kind has none.
      type: str
      returned: always
      sample: llm
    name:
      description: The name.
      type: str
      returned: always
      sample: vllm-gateway
    action:
      description: One of V(create), V(update), V(delete) and V(none).
      type: str
      returned: always
      sample: update
    why:
      description: Why an object that should be deleted stays, or why one is not applied.
      type: str
      returned: for those
      sample: it holds ConfigMap/theirs
objects:
  description:
    - The objects as the server has them afterwards, without C(metadata.managedFields) and with the fingerprints of a Secret's data.
    - Those of a dry run are what the server predicts. Those that are gone are left out.
  returned: success
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply, remove
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method, Outcome, essence, shown
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.read import read
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import Awaited, has_conditions, wait
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC = {
    "definitions": {"type": "list", "elements": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "method": {"type": "str", "choices": ["apply", "exact", "merge", "strategic"], "default": "apply"},
    "optional": {"type": "list", "elements": "str", "default": []},
    "unless": {"type": "list", "elements": "dict", "default": []},
    "unwanted": {"type": "list", "elements": "dict", "default": []},
    "owned_only": {"type": "bool", "default": True},
    "namespace_ignore": {"type": "list", "elements": "str", "default": []},
    "namespace_releases": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    module.no_log_values.update(secret_values(module.params["definitions"]))
    with reporting(module):
        module.exit_json(**run(module, connect(module)))


def run(module: AnsibleModule, kube: Kube) -> dict[str, t.Any]:
    params, check, discovery = module.params, module.check_mode, Discovery(kube)
    outcomes: list[Outcome] = []
    unwanted = params["unwanted"]
    if params["state"] == "absent" or any(found.objects for found in read(kube, params["unless"], discovery)):
        unwanted = [*params["definitions"], *unwanted]
    else:
        outcomes = apply(
            kube,
            params["definitions"],
            method=Method(params["method"]),
            optional=params["optional"],
            check=check,
            timeout=params["timeout"],
            discovery=discovery,
        )
        if params["wait"] and not check:
            outcomes = in_effect(kube, outcomes, params["timeout"])
    outcomes += remove(
        kube,
        unwanted,
        owned_only=params["owned_only"],
        namespace_ignore=params["namespace_ignore"],
        releases=params["namespace_releases"],
        check=check,
        gone=params["wait"],
        timeout=params["timeout"],
        discovery=discovery,
    )
    changes = Changes()
    for one in outcomes:
        changes.record(one.label, essence(one.before), essence(one.after), secret=one.resource.kind == "Secret")
    objects = [shown(one.after) for one in outcomes if one.after is not None]
    return changes.result(diff=module._diff, actions=[entry(one) for one in outcomes], objects=objects)


def in_effect(kube: Kube, outcomes: list[Outcome], timeout: float) -> list[Outcome]:
    """The same, with the objects as they are once they are in effect. What their controllers write meanwhile is no change of ours."""
    present = [one for one in outcomes if one.after is not None]
    awaited = [Awaited(one.resource, one.namespace, one.name, one.after) for one in present if has_conditions(one.resource)]
    found = wait(kube, awaited, timeout=timeout)
    return [with_status(one, found.get(one.label)) for one in outcomes]


def with_status(outcome: Outcome, found: Object | None) -> Outcome:
    if found is None or outcome.after is None:
        return outcome
    after = {**outcome.after, "status": found.get("status")}
    return Outcome(outcome.resource, outcome.namespace, outcome.name, outcome.before, after, outcome.why)


def entry(outcome: Outcome) -> dict[str, t.Any]:
    result = {"kind": outcome.resource.kind, "namespace": outcome.namespace, "name": outcome.name, "action": outcome.effect.value}
    return result | {"why": outcome.why} if outcome.why else result


def secret_values(definitions: t.Iterable[Object]) -> set[str]:
    """What Ansible must not print of the options."""
    secrets = [one for one in definitions if one.get("kind") == "Secret"]
    return {str(value) for one in secrets for field in ("data", "stringData") for value in (one.get(field) or {}).values() if value}


if __name__ == "__main__":
    main()
