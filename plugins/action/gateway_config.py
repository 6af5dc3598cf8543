# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gateway_config runs on the controller: it touches no host, and key values need not travel to one."""

from __future__ import annotations

import datetime as dt
import functools
import re
import typing as t
from pathlib import Path

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.supplied import hiding
from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._description.variables import likely_slips
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

_OPTIONS = ("tiers", "keys", "identities", "namespace", "overlap", "paths", "tls")

_ROLES = Path(__file__).parents[2] / "roles"


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        args = self._task.args
        unknown = sorted(set(args) - set(_OPTIONS))
        if unknown:
            return {
                **result,
                "failed": True,
                "msg": f"gateway_config has no option {', '.join(unknown)}. Its options are {', '.join(_OPTIONS)}.",
            }
        keys, variables = args.get("keys"), [name for name in task_vars or () if isinstance(name, str)]
        supplied = (
            [entry for entry in keys if isinstance(entry, dict) and isinstance(entry.get("key"), str)] if isinstance(keys, list) else []
        )
        try:
            with hiding(supplied):
                config = read_config(
                    args.get("tiers"),
                    keys,
                    overlap=args.get("overlap"),
                    identities=args.get("identities"),
                    paths=args.get("paths"),
                    tls=args.get("tls"),
                    namespace=args.get("namespace"),
                    variables=variables,
                    now=dt.datetime.now(dt.UTC),
                )
        except GatewayError as exc:
            return {**result, "failed": True, "msg": exc.message, **exc.details}
        warnings = _slips(variables)
        return {**result, "changed": False, **config, **({"warnings": warnings} if warnings else {})}


def _slips(variables: t.Collection[str]) -> list[str]:
    """Variables that are nearly called like one of a role. Only roles of whose variables some are set are looked at."""
    found = []
    for role in sorted(path.name for path in _ROLES.iterdir()):
        named = [name for name in variables if name.startswith(f"{role}_")]
        # What a role publishes with its tasks is no option, and no slip.
        found += likely_slips(set(named) - _published(role), _options(role)) if named else []
    return found


@functools.cache
def _published(role: str) -> frozenset[str]:
    """The variables of a role that its own tasks set."""
    pattern = re.compile(rf"^ +({role}_\w+):", re.MULTILINE)
    return frozenset(name for path in (_ROLES / role / "tasks").glob("*.yml") for name in pattern.findall(path.read_text(encoding="utf-8")))


@functools.cache
def _options(role: str) -> frozenset[str]:
    """The variables of a role, as its argument specification names them."""
    path = _ROLES / role / "meta/argument_specs.yml"
    # The C library's safe loader is ten times as fast, where PyYAML was built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    specs = yaml.load(path.read_text(encoding="utf-8"), Loader=loader) if path.exists() else {}  # noqa: S506
    return frozenset(name for entry in specs.get("argument_specs", {}).values() for name in entry.get("options") or ())
