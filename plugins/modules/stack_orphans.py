#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_orphans
short_description: Internal to this collection, end the processes of a stack whose supervisor is gone
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - A supervisor that was killed leaves its processes, which hold their ports. They are known by their environment, which nothing else has,
    are asked to end, and are killed if they do not.
  - Does nothing while the supervisor answers.
extends_documentation_fragment:
  - kuadrant.llm._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  home:
    description: The folder of the stack's data, which is C(HOME) of its processes.
    type: path
    required: true
  supervisor:
    description: The socket of supervisord.
    type: path
    required: true
  timeout:
    description: How many seconds a process may take to end before it is killed.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: End what a killed supervisor has left
  kuadrant.llm.stack_orphans:
    home: /var/lib/stack/data
    supervisor: /var/lib/stack/run/supervisor.sock
"""

RETURN = r"""
processes:
  description: What was ended, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [envoy (4711)]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.orphans import end, find, told
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.supervisor import processes

ARGUMENT_SPEC = {
    "home": {"type": "path", "required": True},
    "supervisor": {"type": "path", "required": True},
    "timeout": {"type": "int", "default": 20},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    orphans = [] if processes(params["supervisor"]) is not None else find(params["home"])
    if orphans and not module.check_mode:
        left = told(end(params["home"], params["timeout"]))
        if left:
            module.fail_json(
                msg=f"Failed to end {', '.join(left)}, which a killed supervisor has left. End them by hand, then run this again."
            )
    module.exit_json(changed=bool(orphans), processes=told(orphans))


if __name__ == "__main__":
    main()
