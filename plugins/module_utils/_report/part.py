# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A part of a bill: whose it is, what its files are called, and what a user may ask for."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import visible

OF = ("user", "group", "tier")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")


@dataclasses.dataclass(frozen=True)
class Part:
    """``chosen`` are the values that all in it have, by user, group, tier or the name of an attribute; None: those that have none."""

    chosen: tuple[tuple[str, str | None], ...]

    @property
    def title(self) -> str:
        return ", ".join(f"without {by}" if value is None else f"{by} {value}" for by, value in self.chosen)

    @property
    def name(self) -> str | None:
        """The value that tells it from other parts of the same bill."""
        return self.chosen[-1][1]

    @property
    def slug(self) -> str:
        """A name for files, and for the number of an invoice. A name that not every system can use is told by its hash."""
        return "-".join(_slug(by, value) for by, value in self.chosen)

    def as_dict(self) -> dict[str, t.Any]:
        return {"of": [{"by": by, "value": value} for by, value in self.chosen], "title": self.title}

    def within(self, by: str, value: str | None) -> Part:
        return Part((*self.chosen, (by, value)))


def _slug(by: str, value: str | None) -> str:
    if value is None:
        return f"_without-{by}"
    if _PLAIN.fullmatch(value) and value != "index":
        return value
    readable = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:40]
    return f"{readable or by}_{hashlib.sha256(value.encode('utf-8', 'backslashreplace')).hexdigest()[:10]}"


def parse_only(raw: t.Any, attributes: t.Sequence[str]) -> Part | None:
    """Raises GatewayError. None: everything."""
    if not raw:
        return None
    for by, value in raw.items():
        require_by(str(by), attributes, f"only.{by}")
        if not isinstance(value, str) or not value:
            raise GatewayError(f"only.{by}: must be text that is not empty, not {kind_of(value)}")
    return Part(tuple(sorted(raw.items())))


def require_by(by: str, attributes: t.Sequence[str], option: str) -> None:
    if by not in (*OF, *attributes):
        known = f"the attributes {', '.join(attributes)}" if attributes else "the name of an attribute; there are none in attributes"
        raise GatewayError(f"{option}: {visible(by)!r} is none of user, group and tier, and not {known}")
