# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which labels an object needs to be selected by label selectors, and whether it can be. Pure.

The rules are those of ``metav1.LabelSelector``: all requirements hold together; a selector that is null selects nothing, an empty
one everything.
"""

from __future__ import annotations

import dataclasses
import typing as t

Selector: t.TypeAlias = dict[str, t.Any]


@dataclasses.dataclass(slots=True)
class _Key:
    """What all requirements on one label say together."""

    allowed: set[str] | None = None  # None: any value
    preferred: list[str] = dataclasses.field(default_factory=list)  # allowed values in the order in which they were named
    forbidden: set[str] = dataclasses.field(default_factory=set)
    present: bool = False
    absent: bool = False

    def allow(self, values: t.Sequence[str]) -> None:
        self.present = True
        self.preferred += [value for value in values if value not in self.preferred]
        self.allowed = set(values) if self.allowed is None else self.allowed & set(values)

    def accepts(self, value: str | None) -> bool:
        if value is None:
            return not self.present
        return not self.absent and value not in self.forbidden and (self.allowed is None or value in self.allowed)


def _requirements(selectors: t.Iterable[Selector]) -> dict[str, _Key]:
    keys: dict[str, _Key] = {}
    for selector in selectors:
        for name, value in (selector.get("matchLabels") or {}).items():
            keys.setdefault(name, _Key()).allow([str(value)])
        for expression in selector.get("matchExpressions") or ():
            key = keys.setdefault(expression["key"], _Key())
            values = [str(value) for value in expression.get("values") or ()]
            operator = expression["operator"]
            if operator == "In":
                key.allow(values)
            elif operator == "NotIn":
                key.forbidden |= set(values)
            elif operator == "Exists":
                key.present = True
            elif operator == "DoesNotExist":
                key.absent = True
            else:
                raise ValueError(f"operator '{operator}' on label '{expression['key']}' is not known")
    return keys


def matches(selector: Selector | None, labels: t.Mapping[str, str]) -> bool:
    """Whether the selector selects an object with these labels."""
    return selector is not None and all(key.accepts(labels.get(name)) for name, key in _requirements([selector]).items())


def labels_for(selectors: t.Iterable[Selector], base: t.Mapping[str, str]) -> dict[str, str]:
    """The labels that an object needs beside those of ``base`` to be selected by every selector; :class:`ValueError` says why it cannot be.

    >>> labels_for([{"matchLabels": {"release": "monitoring"}}], {})
    {'release': 'monitoring'}
    """
    needed: dict[str, str] = {}
    for name, key in _requirements(selectors).items():
        has = base.get(name)
        if key.accepts(has):
            continue
        if has is not None:
            raise ValueError(f"our objects carry {name}={has}, which it does not select")
        choices = [value for value in key.preferred if key.accepts(value)]
        if key.allowed is None:
            choices = [value for value in ("true", "kuadrant.llm") if key.accepts(value)]
        if not choices:
            raise ValueError(f"no value of label {name} satisfies all of its requirements")
        needed[name] = choices[0]
    return needed


def told(selector: Selector) -> str:
    """A selector as kubectl writes it."""
    parts = [f"{name}={value}" for name, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        name, operator = expression["key"], expression["operator"]
        values = ",".join(str(value) for value in expression.get("values") or ())
        parts.append({"Exists": name, "DoesNotExist": f"!{name}"}.get(operator, f"{name} {operator} ({values})"))
    return ", ".join(parts) or "everything"
