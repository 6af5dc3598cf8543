# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.models import pattern_of, read_models


@pytest.mark.parametrize(
    ("globs", "model", "matches"),
    [
        (["llama"], "llama", True),
        (["llama"], "llama-2", False),
        (["llama*"], "llama", True),
        (["*-8b", "x"], "llama-8b", True),
        (["a.b+c"], "a.b+c", True),
        (["a.b+c"], "axbbc", False),
        (["*"], "any/thing", True),
        (["*"], "", False),
        (["**"], "", False),
    ],
)
def test_a_glob_is_a_whole_name(globs: list[str], model: str, matches: bool) -> None:
    assert (re.search(pattern_of(globs), model) is not None) is matches


@pytest.mark.parametrize("raw", [[], "llama", [1], {"a": 1}])
def test_a_list_of_names_is_wanted(raw: t.Any) -> None:
    assert read_models(raw)[1] == ["must be a list of names such as [llama-*]; leave it out to allow all models"]


@pytest.mark.parametrize("glob", ["", "a b", "a,b", "a(b", "a[b]", "é", "a\n", "x" * 254])
def test_what_could_mean_something_else_is_refused(glob: str) -> None:
    assert read_models([glob])[1][0].startswith(repr(glob))
    assert read_models(None) == ((), [])
    assert read_models(["a", "b*"]) == (("a", "b*"), [])
