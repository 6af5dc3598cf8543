# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log lines as ``level message key=value``, one per change."""

from __future__ import annotations

import json
import logging
import sys

_LOGGER = logging.getLogger("local_controller")


def setup(level: str) -> None:
    """Send our lines to stdout, and of the libraries only errors."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level.upper())
    _LOGGER.propagate = False
    for library in ("urllib3", "kubernetes", "celpy"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _value(value: object) -> str:
    text = str(value)
    return text if text and not any(c in ' "=\n\r\t' for c in text) else json.dumps(text, ensure_ascii=False)


def _log(level: int, message: str, fields: dict[str, object]) -> None:
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, " ".join([logging.getLevelName(level).lower(), message, *(f"{k}={_value(v)}" for k, v in fields.items())]))


def debug(event: str, /, **fields: object) -> None:
    _log(logging.DEBUG, event, fields)


def info(event: str, /, **fields: object) -> None:
    _log(logging.INFO, event, fields)


def warning(event: str, /, **fields: object) -> None:
    _log(logging.WARNING, event, fields)


def error(event: str, /, **fields: object) -> None:
    _log(logging.ERROR, event, fields)
