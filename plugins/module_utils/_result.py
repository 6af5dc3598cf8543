# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Uniform module results: ``changed`` and ``diff`` follow from what was recorded, and secrets are masked on the way in."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

#: Fields whose values are key material, wherever they stand in a recorded state.
SECRET_FIELDS = frozenset({"key", "api_key", "data", "stringData"})


def fingerprint(secret: str) -> str:
    """``sha256:<64 hex digits>``, the only form in which a key may be shown (``printf %s "$KEY" | sha256sum`` gives the same)."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def masked(value: t.Any) -> t.Any:
    """The same structure with every secret replaced by its fingerprint."""
    if isinstance(value, t.Mapping):
        return {name: _hidden(item) if name in SECRET_FIELDS else masked(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item) for item in value]
    return value


def _hidden(value: t.Any) -> t.Any:
    if value is None:
        return None
    if isinstance(value, t.Mapping):
        return {name: _hidden(item) for name, item in value.items()}
    return fingerprint(str(value))


@dataclasses.dataclass
class Changes:
    """States of named objects before and after. Unequal states make the result ``changed``; only those stand in the diff."""

    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def record(self, name: str, before: t.Any, after: t.Any, *, secret: bool = True) -> bool:
        """Note one object (``None``: it does not exist) and tell whether it changes. One that is not ``secret`` is shown as it is."""
        if secret:
            before, after = masked(before), masked(after)
        if before == after:
            return False
        if before is not None:
            self.before[name] = before
        if after is not None:
            self.after[name] = after
        return True

    def result(self, *, diff: bool, **values: t.Any) -> dict[str, t.Any]:
        """Arguments for ``exit_json``: ``changed``, ``diff`` if wanted (``module._diff``), and the module's own return values."""
        result = {"changed": bool(self.before or self.after), **values}
        return result | {"diff": {"before": self.before, "after": self.after}} if diff else result
