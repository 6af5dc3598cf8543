#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_files
short_description: Internal to this collection, write the folder of a stack of processes
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Creates folders, links, what is issued once, and files, all in one call, because each call of a module costs more than all of the files.
extends_documentation_fragment:
  - kuadrant.llm._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Files with a token are not shown.
  idempotent:
    support: full
options:
  directories:
    description: Folders. Only their owner can enter them.
    type: list
    elements: path
    default: []
  links:
    description: Symbolic links.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The link.
        type: path
        required: true
      target:
        description: Where it leads.
        type: path
        required: true
  issued:
    description: Files that a command creates, once.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file. The command runs if it does not exist.
        type: path
        required: true
      argv:
        description: The command.
        type: list
        elements: str
        required: true
      chdir:
        description: The folder that the command runs in.
        type: path
  token:
    description: The file in which the API server finds the token of the administrator. Created with a new token if it does not exist.
    type: path
  accounts:
    description: Who has a token in that file beside the administrator.
    type: list
    elements: dict
    default: []
    suboptions:
      user:
        description: The name of the user.
        type: str
        required: true
      group:
        description: The group of the user.
        type: str
        required: true
  files:
    description: Files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: All of it. The word V(@TOKEN@) is replaced by the token of the administrator, V(@TOKEN:user@) by that of an account.
        type: str
        required: true
      mode:
        description: Its mode, in octal digits.
        type: str
        default: "0600"
      keep:
        description: Whether a file that exists stays as it is.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Write the files of a stack
  kuadrant.llm.stack_files:
    directories: [/var/lib/stack, /var/lib/stack/etc]
    token: /var/lib/stack/etc/tokens.csv
    files:
      - {path: /var/lib/stack/etc/limits.yaml, content: "[]\n", mode: "0644", keep: true}
"""

RETURN = r"""
written:
  description: Every path that was created or changed, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.files import plan

_PATH = {"type": "path", "required": True}

ARGUMENT_SPEC: dict[str, t.Any] = {
    "directories": {"type": "list", "elements": "path", "default": []},
    "links": {"type": "list", "elements": "dict", "default": [], "options": {"path": _PATH, "target": _PATH}},
    "issued": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": _PATH, "argv": {"type": "list", "elements": "str", "required": True}, "chdir": {"type": "path"}},
    },
    "token": {"type": "path", "no_log": False},
    "accounts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"user": {"type": "str", "required": True}, "group": {"type": "str", "required": True}},
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": _PATH,
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0600"},
            "keep": {"type": "bool", "default": False},
        },
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with reporting(module):
        changes = plan(module.params, lambda argv, folder: module.run_command(argv, cwd=folder))
        if not module.check_mode:
            for change in changes:
                change.carry_out()
        result: dict[str, t.Any] = {"changed": bool(changes), "written": [str(change.path) for change in changes]}
        if module._diff:
            result["diff"] = [
                {
                    "before_header": str(change.path),
                    "after_header": str(change.path),
                    "before": change.before,
                    "after": change.after,
                }
                for change in changes
            ]
        module.exit_json(**result)


if __name__ == "__main__":
    main()
