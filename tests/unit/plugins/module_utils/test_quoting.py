# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import harmless, promql_string, re2_escape, visible


def test_quote_escapes() -> None:
    assert promql_string('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'


def test_promql_string_keeps_control_characters_readable() -> None:
    assert promql_string("a\tb\x01ü") == '"a\\tb\\u0001ü"'


@pytest.mark.parametrize("text", ["a.b", "a|b", "(a)", "[a]", "a{2}", "^a$", "a\\d", "a+b*c?", "acme-prod", "愛 x"])
def test_re2_escape_matches_the_text_only(text: str) -> None:
    assert re.fullmatch(re2_escape(text), text)
    assert not re.fullmatch(re2_escape(text), text + "x")


@pytest.mark.parametrize(("text", "shown"), [("=1", "'=1"), (" \t@x", "' \t@x"), ("\tx", "'\tx"), ("a=1", "a=1"), ("", ""), (None, "")])
def test_harmless(text: str | None, shown: str) -> None:
    assert harmless(text) == shown


@pytest.mark.parametrize(("text", "shown"), [("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\u202eb", "a\\u202eb"), ("Ünïcödé 愛", "Ünïcödé 愛")])
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
