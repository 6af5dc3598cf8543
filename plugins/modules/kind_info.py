#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kind_info
short_description: Internal to this collection, tell what a machine has of a kind cluster
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.cluster). Options and results can change at any time.
  - Looks for a container engine that answers, a kind that is new enough, the nodes of a cluster and the note that the role created it, and
    compares the nodes with a configuration.
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  runtime:
    description: The container engine. V(auto) takes Docker before Podman.
    type: str
    choices: [auto, docker, podman]
    default: auto
  program:
    description: The kind that the user named. Empty means the one on E(PATH), else O(installed).
    type: path
    default: ""
  installed:
    description: Where the role installs kind.
    type: path
    required: true
  pinned:
    description: The version that the role installs, for messages.
    type: str
    required: true
  config:
    description: The configuration that is wanted, as of the filter P(kuadrant.llm.kind_config#filter).
    type: dict
    required: true
  folder:
    description: Folder with the note of the role.
    type: path
    required: true
  images:
    description: >-
      Images that the nodes are to have, each with C(archive), C(references) and C(digest), as M(kuadrant.llm.image_archives) returns them.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Look for the cluster
  kuadrant.llm.kind_info:
    name: kuadrant-llm
    installed: ~/.cache/kuadrant-llm/bin/kind-0.33.0/kind
    pinned: 0.33.0
    config: "{{ 'kuadrant-llm' | kuadrant.llm.kind_config }}"
    folder: ~/.local/state/kuadrant-llm/kind/kuadrant-llm
"""

RETURN = r"""
runtime:
  description: The container engine that answers.
  returned: success
  type: str
program:
  description: The kind to use. Empty if there is none that is new enough.
  returned: success
  type: str
nodes:
  description: Ids of the containers of the cluster. None means that there is no cluster.
  returned: success
  type: list
  elements: str
stopped:
  description: Names of the nodes that do not run.
  returned: success
  type: list
  elements: str
differences:
  description: What the cluster lacks of the configuration, in sentences.
  returned: success
  type: list
  elements: str
noted:
  description: Whether there is a note that the role created a cluster of this name.
  returned: success
  type: bool
ours:
  description: Whether the note names the nodes that there are.
  returned: success
  type: bool
unloaded:
  description: Archives of the images that a node lacks, or has with another digest; those of nodes that do not run are not known.
  returned: success
  type: list
  elements: str
"""

import dataclasses
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster import kind_state

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "runtime": {"type": "str", "choices": ["auto", "docker", "podman"], "default": "auto"},
    "program": {"type": "path", "default": ""},
    "installed": {"type": "path", "required": True},
    "pinned": {"type": "str", "required": True},
    "config": {"type": "dict", "required": True},
    "folder": {"type": "path", "required": True},
    "images": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params

    def run(command: list[str]) -> tuple[int, str, str]:
        try:
            return t.cast("tuple[int, str, str]", module.run_command(command, handle_exceptions=False))
        except OSError:
            return 127, "", ""

    with reporting(module):
        runtime = kind_state.engine(run, params["runtime"])
        program = kind_state.program(run, params["program"], params["installed"], params["pinned"])
        found = kind_state.nodes(run, runtime, params["name"])
        noted = kind_state.note(Path(params["folder"]))
        state = kind_state.state(found, noted, params["config"], runtime=runtime, program=program)
        stores = [kind_state.images(run, runtime, node) for node in kind_state.running(found)] if params["images"] else []
        unloaded = kind_state.unloaded(params["images"], stores)
        module.exit_json(changed=False, unloaded=unloaded, **dataclasses.asdict(state))


if __name__ == "__main__":
    main()
