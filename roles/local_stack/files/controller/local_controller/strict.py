# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this data plane does and Kuadrant's own filter (wasm-shim 0.14.1) does not: refused, so that a policy means the same on both."""

from __future__ import annotations

import typing as t

from . import cel, remote
from .refusals import DIFFERS, Json, RefusedError

if t.TYPE_CHECKING:
    from .conditionals import Conditional, Label

_OPTION = "local_stack_strict: false keeps it on this machine."
# Every request has these.
_ALWAYS_THERE = ("host", "x-request-id")


def check(conditionals: t.Sequence[Conditional], labels: t.Sequence[Label]) -> None:
    """:raises RefusedError: naming the first expression that Kuadrant's filter evaluates otherwise, and what it does instead."""
    for conditional in conditionals:
        guarded = {name for text in (*conditional.action_predicates, *conditional.predicates) for name in remote.guards_of(text)}
        for text, where in conditional.texts:
            _check(text, where, guarded, conditional.action)
    for label in labels:
        if not label.of_response:
            _check(label.source, f"the label {label.name!r} of a TelemetryPolicy", set(), None)


def check_order(token_action: Json | None) -> None:
    """Token limits that Kuadrant runs before authentication, on a route that has one.

    :param token_action: that of the limits; None: there are none.
    :raises RefusedError: if there are some.
    """
    if token_action is not None:
        raise RefusedError(
            DIFFERS,
            "its token limits read nothing of auth, so Kuadrant's filter decides them before authentication, and a request without a key "
            f"is answered there. Count by auth.identity.userid, or compare another field of auth. {_OPTION}",
            token_action,
        )


def _check(text: str, where: str, guarded: set[str], action: Json | None) -> None:
    try:
        read = remote.inputs_of(text)
    except cel.UntranslatableError as exc:
        raise RefusedError(DIFFERS, f"{where} is {text!r}: {exc}, so no limit of the policy would hold there. {_OPTION}", action) from exc
    for name in sorted(read - guarded - remote.guards_of(text)):
        header = name.removeprefix("request.headers/")
        if header != name and not header.startswith(":") and header not in _ALWAYS_THERE:
            raise RefusedError(
                DIFFERS,
                f"{where} is {text!r}, and a client may leave out the header {header!r}: with Kuadrant's filter no limit of the policy "
                f"holds then. Write {header!r} in request.headers && … before it, or let the AuthPolicy compute a property. {_OPTION}",
                action,
            )
