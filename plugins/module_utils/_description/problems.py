# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What is wrong with a description, collected so that the user sees all of it at once."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of


class Problems:
    """A list of messages; every message starts with the entry it is about."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, where: str, message: str) -> None:
        self.messages.append(f"{where}: {message}")

    def raise_if_any(self) -> None:
        """Raises GatewayError: the only problem as it is, several as a list."""
        if len(self.messages) == 1:
            raise GatewayError(self.messages[0], problems=self.messages)
        if self.messages:
            lines = "\n".join(f"  - {message}" for message in self.messages)
            raise GatewayError(f"{len(self.messages)} entries need correction:\n{lines}", problems=self.messages)

    def at(self, where: str) -> At:
        return At(self, where)

    def entries(self, where: str, raw: t.Any) -> t.Iterator[tuple[int, dict[str, t.Any]]]:
        """Index and value of each dictionary in the list ``raw``; None is the empty list."""
        if raw is None:
            return
        if not isinstance(raw, (list, tuple)):
            self.add(where, f"must be a list of dictionaries, not {kind_of(raw)}")
            return
        for index, entry in enumerate(raw):
            if isinstance(entry, dict):
                yield index, entry
            else:
                self.add(f"{where}[{index}]", f"must be a dictionary, not {kind_of(entry)}")


@dataclasses.dataclass(frozen=True)
class At:
    """The problems of one entry; ``prefix`` leads to a dictionary inside it."""

    problems: Problems
    where: str
    prefix: str = ""

    def add(self, field: str, message: str) -> None:
        self.problems.add(self.where, f"{self.prefix}{field}: {message}")

    def under(self, field: str) -> At:
        return dataclasses.replace(self, prefix=f"{self.prefix}{field}.")

    def entries(self, field: str, raw: t.Any) -> t.Iterator[tuple[int, dict[str, t.Any]]]:
        return self.problems.entries(f"{self.where}: {self.prefix}{field}", raw)

    def only_fields(self, entry: t.Mapping[str, t.Any], known: t.Sequence[str]) -> None:
        for field in entry:
            if field not in known:
                self.add(str(field), f"is not a known field; known are {', '.join(known)}")

    def text(self, entry: t.Mapping[str, t.Any], field: str, *, required: bool = True) -> str | None:
        """A non-empty text. Adds a problem when it is missing (if required) or something else; never shows the value."""
        value = entry.get(field)
        if isinstance(value, str) and value:
            return value
        if value is not None:
            self.add(field, "is empty" if value == "" else f"must be text, not {kind_of(value)}")
        elif required:
            self.add(field, "is required")
        return None
