# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""permissions reads the files of roles on the controller, with the variables of the run, and lets the module ask the API server."""

from __future__ import annotations

import functools
import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.permissions import Permission, resolved

ROLES = Path(__file__).parents[2] / "roles"

#: What a role will publish in this run, and others read: role to variables and their values.
PUBLISHED = {"limitador": {"llm_gateway_usage_labels": "{{ limitador_labels }}"}}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        args = self._task.args
        try:
            wanted = self._wanted(args, task_vars or {})
        except GatewayError as exc:
            return {**result, "failed": True, "msg": exc.message}
        permissions = [
            {"group": one.group, "resource": one.resource, "namespace": one.namespace, "verb": one.verb, "roles": roles}
            for one, roles in wanted.items()
        ]
        answer = self._execute_module(
            module_name="kuadrant.llm.permissions", module_args={**args, "permissions": permissions}, task_vars=task_vars
        )
        return {**result, **answer}

    def _wanted(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[Permission, list[str]]:
        """Permission to the roles that want it. What the user set wins over the defaults of the roles."""
        roles = [str(role) for role in args.get("roles") or ()]
        # The expressions of the files may read the pins, which role platform publishes.
        files = [ROLES / role / kind / "main.yml" for role in [*roles, "platform"] for kind in ("defaults", "vars")]
        variables: dict[str, t.Any] = {}
        for path in files:
            variables |= self._read(path) or {}
        for role in roles:
            variables |= {name: trust_as_template(value) for name, value in PUBLISHED.get(role, {}).items()}
        variables |= task_vars
        variables |= {"cluster_plan": args.get("plan") or {}, "monitored": args.get("monitored", True)}
        wanted: dict[Permission, list[str]] = {}
        for role in roles:
            installs = {"installs": role in (args.get("working") or ())}
            templar = self._templar.copy_with_new_env(available_variables=variables | installs)
            entries = self._read(ROLES / role / "meta/permissions.yml") or []
            for permission in resolved(role, entries, functools.partial(evaluate, templar)):
                wanted.setdefault(permission, []).append(role)
        return {permission: list(dict.fromkeys(names)) for permission, names in wanted.items()}

    def _read(self, path: Path) -> t.Any:
        return self._loader.load_from_file(str(path), trusted_as_template=True) if path.exists() else None


def evaluate(templar: t.Any, expression: str) -> t.Any:
    """The value of an expression of one of our own files."""
    return templar.evaluate_expression(trust_as_template(str(expression)))
