# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stock Envoy cannot say, and whom it concerns."""

from __future__ import annotations

import dataclasses
import typing as t

UNTRANSLATABLE_EXPRESSION = "UntranslatableExpression"
UNSUPPORTED_ACTION = "UnsupportedAction"
UNSUPPORTED_ROUTE = "UnsupportedRoute"
UNKNOWN_ROUTE = "UnknownRoute"
DIFFERS = "DiffersFromKuadrant"

Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a route is closed. ``policies`` are locators such as ``ratelimitpolicy.kuadrant.io:llm/llm-rate-limits``."""

    route: str
    policies: tuple[str, ...]
    reason: str
    cause: str


def explain(refusals: t.Iterable[Refusal]) -> str:
    """One sentence for each cause, with all routes that it closes."""
    routes: dict[str, list[str]] = {}
    for refusal in refusals:
        routes.setdefault(refusal.cause, []).append(refusal.route)
    return " ".join(f"Closed (503): {', '.join(dict.fromkeys(names))}, because {cause}" for cause, names in routes.items())


class RefusedError(Exception):
    def __init__(self, reason: str, message: str, action: Json | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.action = action
