# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gateway_config runs on the controller: it touches no host, and key values need not travel to one."""

from __future__ import annotations

import datetime as dt
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.supplied import hiding
from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

_OPTIONS = ("tiers", "keys", "overlap", "paths")


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
        keys = args.get("keys")
        supplied = (
            [entry for entry in keys if isinstance(entry, dict) and isinstance(entry.get("key"), str)] if isinstance(keys, list) else []
        )
        try:
            with hiding(supplied):
                options = {"overlap": args.get("overlap"), "paths": args.get("paths")}
                config = read_config(args.get("tiers"), keys, **options, now=dt.datetime.now(dt.UTC))
        except GatewayError as exc:
            return {**result, "failed": True, "msg": exc.message, **exc.details}
        return {**result, "changed": False, **config}
