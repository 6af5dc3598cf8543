# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What an import finds: descriptions of ours, and what of the other side has no place in them."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

try:
    import yaml
except ImportError:  # a requirement of the collection
    yaml = None  # type: ignore[assignment]

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST = 63
# Text of the other side stands in a comment of the file.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclasses.dataclass
class Imported:
    """``variables`` are those of an inventory, in order; ``notes`` are sentences about what was left out and what is to be done."""

    variables: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def text(self, origin: str) -> str:
        """As a file of variables, with the notes as its heading; the same for the same input."""
        heading = [
            f"Imported from {origin} by kuadrant.llm.description_import. Read it, correct it, and give it to a playbook with -e @FILE.",
            *self.notes,
        ]
        lines = [f"# {'- ' if index else ''}{_CONTROL.sub(' ', line)}" for index, line in enumerate(heading)]
        body = yaml.safe_dump(self.variables, sort_keys=False, allow_unicode=True, width=160, default_flow_style=None)
        return "\n".join(["---", *lines, body])


def name_from(text: str, taken: t.Container[str], otherwise: str) -> str:
    """A name for a Secret or a tier that resembles ``text``, and is none of those that are taken."""
    base = _NOT_IN_A_NAME.sub("-", text.lower()).strip("-")[:_LONGEST].strip("-") or otherwise
    name, number = base, 1
    while name in taken:
        number += 1
        end = f"-{number}"
        name = base[: _LONGEST - len(end)] + end
    return name


def some(names: t.Sequence[str]) -> str:
    """The first names, and how many there are beyond."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def read_yaml(text: str, what: str) -> list[t.Any]:
    """All documents. Raises GatewayError that names the file."""
    try:
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as exc:
        raise GatewayError(f"{what}: is not YAML: {exc}") from exc
