#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_manifest
short_description: Internal to this collection, apply a published manifest or delete its objects
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Fetches a manifest, compares its checksum, fits it to a namespace and to a mirror, and applies its objects, CRDs first, or deletes them,
    CRDs last.
  - Nothing of the file stays on the machine.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - The API server predicts every write. A namespace or a kind that is missing is taken for what an earlier step would have created.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  manifest:
    description:
      - An entry of C(manifests) in the result of P(kuadrant.llm.platform_artifacts#filter), with C(name), C(version), C(file), C(url) or
        C(path), and C(sha256) where it is known.
    type: dict
    required: true
  state:
    description: Whether its objects are to be there.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description: The namespace in place of the one that the manifest assumes. Not given means that it stays.
    type: str
  images:
    description: Image as the manifest names it to image as it is to be, also where it stands in an argument.
    type: dict
    default: {}
  only:
    description: Kinds to keep. Empty means all.
    type: list
    elements: str
    default: []
  skip:
    description: Kinds to leave out.
    type: list
    elements: str
    default: []
  remove_crds:
    description:
      - Whether O(state=absent) also deletes custom resource definitions, and with them every object of their kinds.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until the kinds are served, or until an object is gone.
    type: int
    default: 120
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Install the Gateway API
  kuadrant.llm.platform_manifest:
    manifest: "{{ platform_artifacts.manifests.gateway_api }}"
    images: "{{ platform_artifacts.replacements }}"
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
    namespace:
      description: The namespace, or nothing where the kind has none.
      type: str
      returned: always
    name:
      description: The name.
      type: str
      returned: always
    action:
      description: One of V(create), V(update), V(delete) and V(none).
      type: str
      returned: always
"""

import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import failing_to, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply, remove
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import essence
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.download import download
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.objects import fit
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

_IMPORT_ERROR = None
try:
    from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.manifest import read
except ImportError:
    _IMPORT_ERROR = traceback.format_exc()

ARGUMENT_SPEC = {
    "manifest": {"type": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "namespace": {"type": "str"},
    "images": {"type": "dict", "default": {}},
    "only": {"type": "list", "elements": "str", "default": []},
    "skip": {"type": "list", "elements": "str", "default": []},
    "remove_crds": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    if _IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=_IMPORT_ERROR)
    with reporting(module):
        module.exit_json(**run(module))


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params, check = module.params, module.check_mode
    manifest, timeout = params["manifest"], params["timeout"]
    documents = read(manifest, download)
    objects = fit(documents, namespace=params["namespace"], only=params["only"], skip=params["skip"], images=params["images"])
    with failing_to(f"{'apply' if params['state'] == 'present' else 'delete'} manifest {manifest['name']} {manifest['version']}"):
        kube = connect(module)
        if params["state"] == "present":
            outcomes = apply(kube, objects, check=check, timeout=timeout)
        else:
            # Custom resource definitions take every object of their kind with them.
            going = [one for one in reversed(objects) if params["remove_crds"] or one["kind"] != "CustomResourceDefinition"]
            outcomes = remove(kube, going, owned_only=False, check=check, timeout=timeout)
    changes = Changes()
    for one in outcomes:
        changes.record(one.label, essence(one.before), essence(one.after), secret=one.resource.kind == "Secret")
    actions = [{"kind": one.resource.kind, "namespace": one.namespace, "name": one.name, "action": one.effect.value} for one in outcomes]
    return changes.result(diff=module._diff, actions=actions)


if __name__ == "__main__":
    main()
