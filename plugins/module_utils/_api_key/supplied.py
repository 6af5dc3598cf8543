# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Thousands of supplied keys, kept out of whatever a module prints.

Ansible searches every string of the parameters and of the result for every secret parameter: with n supplied keys that takes n² steps,
which is minutes for ten thousand. So they are taken out of the parameters at once, and only what did not come from
:mod:`.report` (where values are fingerprints) or :mod:`.parse` (which refuses entries that repeat their key elsewhere) is searched.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"  # what Ansible shows instead


def take_keys(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """The entries of the parameter ``keys``, of which the parameters themselves, which Ansible prints, keep none's value."""
    entries: list[dict[str, t.Any]] = module.params["keys"]
    module.params["keys"] = [_shown(entry) for entry in entries]
    others = {value for name, value in module.params.items() if name != "keys" and isinstance(value, str)}
    module.no_log_values -= {entry["key"] for entry in entries if entry.get("key")} - others
    return entries


@contextlib.contextmanager
def hiding(entries: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[None]:
    """Take the values of these entries out of the message and the list of problems of a :class:`GatewayError` raised inside."""
    try:
        yield
    except GatewayError as exc:
        text = "\n".join([exc.message, *exc.details.get("problems", ())])
        found = [entry["key"] for entry in entries if entry.get("key") and entry["key"] in text]
        details = {**exc.details, "problems": [_without(found, one) for one in exc.details.get("problems", ())]}
        raise GatewayError(_without(found, exc.message), **(details if "problems" in exc.details else exc.details)) from None


def _shown(entry: dict[str, t.Any]) -> dict[str, t.Any]:
    value = entry.get("key")
    if not value:
        return entry
    texts = {field: _without([value], text) for field, text in entry.items() if isinstance(text, str)}
    lists = {field: entry.get(field) and [_without([value], text) for text in entry[field]] for field in ("groups", "models")}
    return {**entry, **texts, "key": HIDDEN, **lists}


def _without(values: t.Iterable[str], text: str) -> str:
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "********")
    return text
