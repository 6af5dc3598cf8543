#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kuadrant_objects
short_description: Export, compare and delete every object of Kuadrant, internal to role kuadrant and the playbooks
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles and playbooks of this collection, and may change with any release. Role C(kuadrant.llm.kuadrant) with
    C(tasks_from=export) is what users run.
  - Knows every kind of object whose definition is in Kuadrant's chart, and tells what users wrote from what Kuadrant created from it.
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
      - Names the files that are written, and shows the objects that are deleted.
  idempotent:
    support: full
options:
  state:
    description:
      - V(exported) writes the objects to files that C(kubectl apply -f) of the folder accepts, readable for the user alone.
      - V(unchanged) fails if one of O(before) is gone, is not what it was, or is not in effect (any more) although it was.
      - V(absent) exports, then deletes the objects while their operators run, and waits until those have deleted what they derived from
        them.
      - V(gone) waits until the O(definitions) are gone.
    type: str
    choices: [exported, unchanged, absent, gone]
    default: exported
  folder:
    description:
      - Where to export to; it may hold no files of another export. Empty means one for each cluster and content, below
        C($XDG_STATE_HOME/kuadrant-llm/exports) or C(~/.local/state/kuadrant-llm/exports).
    type: path
    default: ""
  namespace:
    description: Namespace of the operators, to be named where they do not do their part.
    type: str
    default: kuadrant-system
  before:
    description: RV(objects) before an upgrade. A field that is new afterwards is a default of the API and no change.
    type: list
    elements: dict
    default: []
  exported_to:
    description: Where they were exported to, and what else can be done, to be named where one is lost.
    type: path
    default: ""
  remedy:
    description: A sentence that ends the message of O(state=unchanged).
    type: str
    default: ""
  adopted:
    description:
      - With O(state=absent), whether the operators are of others. Then only the Kuadrant resource that this collection created is deleted,
        and only if nothing that others created depends on it. Nothing is exported.
    type: bool
    default: false
  remove_foreign:
    description: Whether O(state=absent) may delete what this collection did not create. It is exported all the same.
    type: bool
    default: false
  release:
    description: The Helm release of the operators.
    type: str
    default: kuadrant-operator
  definitions:
    description: The names of custom resource definitions.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait.
    type: int
    default: 300
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Export every object of Kuadrant
  kuadrant.llm.kuadrant_objects:
    folder: /srv/policies
  register: kuadrant

- name: Stop if one is not what it was
  kuadrant.llm.kuadrant_objects:
    state: unchanged
    before: "{{ kuadrant.objects }}"
    exported_to: "{{ kuadrant.path }}"
"""

RETURN = r"""
path:
  description: The folder of the export. Empty if there was nothing to export.
  returned: when exported
  type: str
names:
  description: What was exported.
  returned: when exported
  type: list
  elements: str
  sample: [Kuadrant kuadrant-system/kuadrant, AuthPolicy llm/llm-auth]
message:
  description: The same in a sentence, with how it comes back.
  returned: when exported
  type: str
policies:
  description: How many of them are policies on a Gateway or route.
  returned: when exported
  type: int
objects:
  description: The objects as they are, also those that Kuadrant created from others, for O(before).
  returned: when O(state=exported)
  type: list
  elements: dict
definitions:
  description: Names of the definitions that go with the Helm release.
  returned: when O(state=absent)
  type: list
  elements: str
"""

import pathlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import NAMESPACES
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import export, inventory
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.objects import (
    clean,
    exported,
    foreign_objects,
    name_of,
    policies_of,
    removal_stages,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["exported", "unchanged", "absent", "gone"], "default": "exported"},
    "folder": {"type": "path", "default": ""},
    "namespace": {"type": "str", "default": "kuadrant-system"},
    "before": {"type": "list", "elements": "dict", "default": []},
    "exported_to": {"type": "path", "default": ""},
    "remedy": {"type": "str", "default": ""},
    "adopted": {"type": "bool", "default": False},
    "remove_foreign": {"type": "bool", "default": False},
    "release": {"type": "str", "default": "kuadrant-operator"},
    "definitions": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        changes, values = RUNS[module.params["state"]](connect(module), module.params, module.check_mode)
        module.exit_json(**changes.result(diff=module._diff, **values))


Answer = tuple[Changes, dict[str, t.Any]]


def export_all(kube: Kube, params: t.Mapping[str, t.Any], check: bool) -> Answer:
    changes, objects = Changes(), inventory.read(kube)
    return changes, {**_export(kube, objects, params, changes, check=check), "objects": objects}


def _export(kube: Kube, objects: t.Sequence[Object], params: t.Mapping[str, t.Any], changes: Changes, *, check: bool) -> dict[str, t.Any]:
    files = exported(objects)
    if not files:
        nothing = "There is nothing to export: the cluster has no object of Kuadrant."
        return {"path": "", "names": [], "policies": 0, "message": nothing}
    folder = pathlib.Path(params["folder"]) if params["folder"] else export.default_folder(files, _cluster(kube))
    for path in export.write(folder, files, check=check):
        changes.record(path, None, "written")
    message = (
        f"{len(files)} objects of Kuadrant {'would be' if check else 'are'} in {folder}. They come back with: kubectl apply -f {folder}"
    )
    names = [name_of(one["definition"]) for one in files]
    return {"path": str(folder), "names": names, "policies": len(policies_of(objects)), "message": message}


def _cluster(kube: Kube) -> str:
    """The identity of the cluster; the user need not be allowed to read it."""
    try:
        found = kube.get(NAMESPACES, None, "kube-system")
    except KubeError as exc:
        if exc.status != 403:
            raise
        found = None
    return str(found["metadata"]["uid"]) if found else "cluster"


def verify(kube: Kube, params: t.Mapping[str, t.Any], check: bool) -> Answer:
    if not check:
        try:
            inventory.verify(kube, params["before"], timeout=params["timeout"])
        except GatewayError as exc:
            folder = params["exported_to"]
            back = f" They were exported before: kubectl apply -f {folder} brings them back." if folder else ""
            raise GatewayError(f"{exc.message}{back} {params['remedy']}".rstrip(), **exc.details) from exc
    return Changes(), {}


def remove(kube: Kube, params: t.Mapping[str, t.Any], check: bool) -> Answer:
    changes, objects = Changes(), inventory.read(kube)
    values: dict[str, t.Any] = {}
    stages: t.Sequence[t.Sequence[t.Mapping[str, t.Any]]]
    foreign = foreign_objects(objects)
    if params["adopted"]:
        ours = [obj for obj in objects if obj["kind"] == "Kuadrant" and is_managed(obj)]
        # With policies of others it is no longer ours alone.
        stages = [] if foreign else [ours] if ours else []
    else:
        if foreign and not params["remove_foreign"]:
            raise GatewayError(
                f"Removing Kuadrant removes its custom resource definitions, and with them what others created: {', '.join(foreign)}. "
                "Leave Kuadrant installed, or set kuadrant_remove_foreign_policies to true: everything is exported first."
            )
        values = {**_export(kube, objects, params, changes, check=check), "definitions": inventory.definitions_of(kube, params["release"])}
        stages = removal_stages(objects)
    for obj in (obj for stage in stages for obj in stage):
        changes.record(name_of(obj), clean(obj), None)
    if not check:
        inventory.delete(kube, stages, namespace=params["namespace"], timeout=params["timeout"])
    return changes, values


def await_gone(kube: Kube, params: t.Mapping[str, t.Any], check: bool) -> Answer:
    if not check:
        inventory.await_definitions_gone(kube, params["definitions"], exported_to=params["exported_to"], timeout=params["timeout"])
    return Changes(), {}


RUNS: dict[str, t.Callable[[Kube, t.Mapping[str, t.Any], bool], Answer]] = {
    "exported": export_all,
    "unchanged": verify,
    "absent": remove,
    "gone": await_gone,
}


if __name__ == "__main__":
    main()
