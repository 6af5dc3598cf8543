# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``Limitador.spec.limits`` as the limits file that the Limitador process reads."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

from . import files

_HEADER = "# Written by the local controller from Limitador.spec.limits; changes here are overwritten.\n"


def render(limitador: dict[str, t.Any] | None) -> bytes:
    """Shape of the file: a YAML list of ``{namespace, max_value, seconds, name, conditions, variables}``; no resource, no limits."""
    limits = ((limitador or {}).get("spec") or {}).get("limits") or []
    return (_HEADER + yaml.safe_dump(limits, sort_keys=False, allow_unicode=True, width=1000)).encode()


def carry(limitador: dict[str, t.Any] | None, path: pathlib.Path) -> bool:
    """Write the file if its content changes; return whether it was written."""
    return files.write_if_changed(path, render(limitador))
