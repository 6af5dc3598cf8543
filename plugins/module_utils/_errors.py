# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The one exception of the collection and the one place where it becomes a task failure."""

from __future__ import annotations

import contextlib
import typing as t

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class GatewayError(Exception):
    """Something failed: the message says what, on which object, what the server said, and what to do.

    ``details`` are JSON-serialisable values returned beside the message (never secrets).
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


def kind_of(value: t.Any) -> str:
    """The type of a value as a user knows it: Ansible passes subclasses of its own, such as ``_AnsibleTaggedInt``."""
    return next(base.__name__ for base in type(value).__mro__ if base.__module__ in ("builtins", "datetime"))


class UnknownUsageError(GatewayError):
    """Nothing was scraped in a period, so that what was used in it is unknown."""


def refuse(problems: t.Sequence[str]) -> None:
    """Raise if there are problems: all of them in one message, and as the list ``problems`` beside it."""
    if problems:
        raise GatewayError("Nothing was changed. " + "; ".join(problems) + ".", problems=list(problems))


@contextlib.contextmanager
def failing_to(action: str) -> t.Iterator[None]:
    """Prefix a :class:`GatewayError` raised inside with ``Failed to <action>: ``; callers write only the verb phrase."""
    try:
        yield
    except GatewayError as exc:
        raise type(exc)(f"Failed to {action}: {exc.message}", **exc.details) from exc


@contextlib.contextmanager
def reporting(module: AnsibleModule) -> t.Iterator[None]:
    """Turn a :class:`GatewayError` into ``fail_json``, once, at the outermost level of a module."""
    try:
        refuse(list(_booleans(module.argument_spec, module.params)))
        yield
    except GatewayError as exc:
        module.fail_json(msg=exc.message, **exc.details)


def _booleans(spec: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any], prefix: str = "") -> t.Iterator[str]:
    """Where a number is wanted and true or false was written, which Python, and so Ansible, takes for 1 or 0."""
    for name, option in spec.items():
        value = params.get(name)
        if option.get("type") == "int" and isinstance(value, bool):
            yield f"{prefix}{name}: must be a number, not {str(value).lower()}"
        elif option.get("options") and isinstance(value, dict):
            yield from _booleans(option["options"], value, f"{prefix}{name}.")
        elif option.get("options") and isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield from _booleans(option["options"], entry, f"{prefix}{name}[{index}].")
