# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Attributes of users, groups and tiers: cost centres, projects and whatever else a bill is split by or has to carry.

They are written in ``llm_gateway_attributes``, by user, group and tier, and at the keys of users in ``llm_gateway_keys``.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import kind_of

ATTRIBUTES = "llm_gateway_attributes"
KEYS = "llm_gateway_keys"
OF = ("users", "groups", "tiers")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
# What a bill calls its own columns.
_TAKEN = frozenset(
    {
        *("start", "end", "user", "group", "tier", "model", "meter", "quantity", "quantity_upper", "included", "billable"),
        *("billable_upper", "unit_price", "per", "cost", "cost_upper", "currency", "price_entry", "notes", "attributes", "part"),
    }
)

Tags: t.TypeAlias = "t.Mapping[str, str]"
NO_TAGS: t.Final[Tags] = {}


@dataclasses.dataclass(frozen=True)
class Attributes:
    """By the name of the user, group or tier; each is a map from the attribute's name to its value."""

    users: t.Mapping[str, Tags] = dataclasses.field(default_factory=dict)
    groups: t.Mapping[str, Tags] = dataclasses.field(default_factory=dict)
    tiers: t.Mapping[str, Tags] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Of all attributes that there are, sorted."""
        return tuple(sorted({name for of in OF for tags in getattr(self, of).values() for name in tags}))

    def of(self, account: Account) -> Tags:
        """What the user has, else what the user's groups have, else what the tier has, attribute by attribute, sorted by name.

        Where two groups of a user have different values, the user has none of them: see ``disputed``.
        """
        if not (self.users or self.groups or self.tiers):
            return NO_TAGS
        found = dict(self.tiers.get(account.tier or "", NO_TAGS))
        groups = [self.groups.get(group, NO_TAGS) for group in account.groups]
        for name in sorted({name for tags in groups for name in tags}):
            values = {tags[name] for tags in groups if name in tags}
            if len(values) == 1:
                found[name] = values.pop()
            else:
                found.pop(name, None)
        found.update(self.users.get(account.user or "", NO_TAGS))
        return dict(sorted(found.items()))

    def disputed(self, account: Account) -> list[str]:
        """Names of the attributes that the user's groups have different values of, and the user has none of."""
        mine = self.users.get(account.user or "", NO_TAGS)
        groups = [self.groups.get(group, NO_TAGS) for group in account.groups]
        names = {name for tags in groups for name in tags} - set(mine)
        return sorted(name for name in names if len({tags[name] for tags in groups if name in tags}) > 1)


def parse_attributes(raw: t.Any, keys: t.Any = None) -> Attributes:
    """Raises GatewayError that lists every problem, as in ``llm_gateway_attributes: users.alice.cost_center: must be text, not int``.

    :param keys: entries of ``llm_gateway_keys``; only ``user`` and ``attributes`` of them are looked at.
    """
    problems = Problems()
    at = problems.at(ATTRIBUTES)
    found: dict[str, dict[str, dict[str, str]]] = {of: {} for of in OF}
    if raw is not None and not isinstance(raw, dict):
        problems.add(ATTRIBUTES, f"must be a dictionary such as {{users: {{alice: {{cost_center: CC-1}}}}}}, not {kind_of(raw)}")
        raw = None
    at.only_fields(raw or {}, OF)
    for of in OF:
        named = (raw or {}).get(of)
        if named is not None and not isinstance(named, dict):
            at.add(of, f"must be a dictionary of names, not {kind_of(named)}")
            continue
        for name, tags in (named or {}).items():
            found[of][str(name)] = read_tags(tags, str(name), at.under(of))
    _add_keys(keys, found["users"], problems)
    problems.raise_if_any()
    return Attributes(found["users"], found["groups"], found["tiers"])


def _add_keys(keys: t.Any, users: dict[str, dict[str, str]], problems: Problems) -> None:
    """A bill knows users, not keys: what is written at a key is the user's, and may not differ between keys of one user."""
    where: dict[tuple[str, str], str] = {
        (user, name): f"{ATTRIBUTES}: users.{user}.{name}" for user, tags in users.items() for name in tags
    }
    for index, entry in problems.entries(KEYS, keys):
        label = f"{KEYS}[{index}] ({entry.get('name')})"
        user = entry.get("user")
        if entry.get("attributes") is None or not isinstance(user, str) or entry.get("state", "present") == "absent":
            continue
        for name, value in read_tags(entry["attributes"], "attributes", problems.at(label)).items():
            mine = users.setdefault(user, {})
            if mine.setdefault(name, value) != value:
                problems.add(
                    label, f"attributes.{name}: {value!r}, and {where[user, name]} says {mine[name]!r}; user {user} can have one value"
                )
            where.setdefault((user, name), label)


def read_tags(raw: t.Any, field: str, at: At) -> dict[str, str]:
    """Names and values; what is wrong goes to ``at``."""
    if not isinstance(raw, dict):
        at.add(field, f"must be a dictionary such as {{cost_center: CC-1, project: apollo}}, not {kind_of(raw)}")
        return {}
    tags: dict[str, str] = {}
    inner = at.under(field)
    for name, value in raw.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            inner.add(str(name), "must begin with a lower case letter and consist of these, digits and '_', at most 63")
        elif name in _TAKEN:
            inner.add(name, "is a column that every bill has; choose another name")
        elif not isinstance(value, str):
            inner.add(name, f'must be text, not {kind_of(value)}; write it in quotes, such as "{value}"')
        elif not value or not value.isprintable() or value != value.strip():
            inner.add(name, "must be printable, not empty, and without spaces around it")
        else:
            tags[name] = value
    return tags
