#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_info
short_description: Internal to this collection, tell what of a stack of processes is built and runs
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Answers in one call which programs are built, which processes the supervisor runs and which of them do not answer, whether Envoy has
    the configuration that istiod wants, and which files exist.
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
options:
  programs:
    description: Name of a program to its folder, which holds C(build.json) once the program is built.
    type: dict
    default: {}
  supervisor:
    description: The socket of supervisord. Without it, supervisord is not asked.
    type: path
  health:
    description: Name of a process to the address at which it answers with 200. Those that the supervisor does not run are not asked.
    type: dict
    default: {}
  proxy:
    description: The Envoy whose configuration is compared with what istiod wants, if the supervisor runs both.
    type: dict
    suboptions:
      name:
        description: What istiod calls it, C(<name>.<namespace>).
        type: str
        required: true
      istiod:
        description: The address of istiod's HTTP port.
        type: str
        required: true
      admin:
        description: The address of Envoy's administration.
        type: str
        required: true
  patience:
    description: Seconds after which a process that does not answer, or a configuration that is not taken, is said to be so.
    type: int
    default: 20
  files:
    description: Files to look for.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: See what runs
  kuadrant.llm.stack_info:
    programs: {etcd: ~/.cache/kuadrant-llm/etcd/08ec8ba95d0e0cec}
    supervisor: /var/lib/stack/run/supervisor.sock
"""

RETURN = r"""
missing:
  description: Names of the programs that are not built.
  returned: success
  type: list
  elements: str
running:
  description: Whether the supervisor answers.
  returned: success
  type: bool
idle:
  description: Names of the supervisor's processes that do not run.
  returned: success
  type: list
  elements: str
silent:
  description: Names of processes that run and do not answer.
  returned: success
  type: list
  elements: str
outdated:
  description: Why Envoy has not the configuration that istiod wants; empty if it has.
  returned: success
  type: list
  elements: str
absent:
  description: Those of O(files) that do not exist.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.validation import check_type_path

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack import health
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.supervisor import processes

ARGUMENT_SPEC = {
    "programs": {"type": "dict", "default": {}},
    "supervisor": {"type": "path"},
    "health": {"type": "dict", "default": {}},
    "proxy": {
        "type": "dict",
        "options": {name: {"type": "str", "required": True} for name in ("name", "istiod", "admin")},
    },
    "patience": {"type": "int", "default": 20},
    "files": {"type": "list", "elements": "path", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    found = processes(params["supervisor"]) if params["supervisor"] else None
    running = {name for name, state in (found or {}).items() if state == "RUNNING"}
    silent = health.silent({name: url for name, url in params["health"].items() if name in running}, params["patience"])
    proxy, outdated = params["proxy"], []
    if proxy and running >= {"istiod", "envoy"} and not {"istiod", "envoy"} & set(silent):
        outdated = health.outdated(proxy["istiod"], proxy["admin"], proxy["name"], params["patience"])
    module.exit_json(
        changed=False,
        missing=[name for name, folder in params["programs"].items() if not (Path(check_type_path(folder)) / "build.json").exists()],
        running=found is not None,
        idle=sorted(set(found or {}) - running),
        silent=silent,
        outdated=outdated,
        absent=[path for path in params["files"] if not Path(path).exists()],
    )


if __name__ == "__main__":
    main()
