# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The models that a tier or a key may use: names in which ``*`` stands for any characters. Pure."""

from __future__ import annotations

import re
import typing as t

# What names of models consist of; the gateway compares by rules in which other characters have a meaning.
_GLOB = re.compile(r"[A-Za-z0-9._:/@*+-]{1,253}")

RULE = "must be letters, digits and any of . _ : / @ + - with * for any characters, at most 253"


def read_models(raw: t.Any) -> tuple[tuple[str, ...], list[str]]:
    """The globs of a field ``models`` (None: it is not there, and all models are allowed), and what is wrong with them."""
    if raw is None:
        return (), []
    if not isinstance(raw, list) or not raw or not all(isinstance(glob, str) for glob in raw):
        return (), ["must be a list of names such as [llama-*]; leave it out to allow all models"]
    return tuple(raw), [f"{glob!r} {RULE}" for glob in raw if not _GLOB.fullmatch(glob)]


def pattern_of(globs: t.Sequence[str]) -> str:
    """A regular expression of RE2 that a whole name must match. No name, the empty text, matches none."""
    return "^(" + "|".join(re.sub(r"([.+])", r"[\1]", glob).replace("*", ".*") if glob.strip("*") else ".+" for glob in globs) + ")$"
