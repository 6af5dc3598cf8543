# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels for label selectors, by the rules of the API server."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._objects.selectors import labels_for, matches, told


def expression(key: str, operator: str, *values: str) -> dict[str, t.Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


RELEASE = {"matchLabels": {"release": "monitoring"}}


@pytest.mark.parametrize(
    ("selectors", "base", "wanted"),
    [
        ([], {}, {}),
        ([{}], {}, {}),
        ([RELEASE], {}, {"release": "monitoring"}),
        ([RELEASE], {"release": "monitoring"}, {}),
        ([RELEASE, {"matchLabels": {"team": "ai"}}], {}, {"release": "monitoring", "team": "ai"}),
        ([expression("release", "In", "a", "b")], {}, {"release": "a"}),
        ([expression("release", "In", "a", "b")], {"release": "b"}, {}),
        ([expression("release", "In", "a", "b"), expression("release", "In", "c", "b")], {}, {"release": "b"}),
        ([expression("release", "In", "a", "b"), expression("release", "NotIn", "a")], {}, {"release": "b"}),
        ([RELEASE, expression("release", "Exists")], {}, {"release": "monitoring"}),
        ([expression("scrape", "Exists")], {}, {"scrape": "true"}),
        ([expression("scrape", "Exists")], {"scrape": "no"}, {}),
        ([expression("scrape", "Exists"), expression("scrape", "NotIn", "true")], {}, {"scrape": "kuadrant.llm"}),
        ([expression("env", "NotIn", "test")], {}, {}),
        ([expression("env", "NotIn", "test")], {"env": "live"}, {}),
        ([expression("env", "DoesNotExist")], {}, {}),
        ([{"matchLabels": {"n": 1}}], {}, {"n": "1"}),
        ([{"matchLabels": None, "matchExpressions": None}], {}, {}),
    ],
)
def test_labels_are_those_that_are_missing_and_are_then_selected(
    selectors: list[dict[str, t.Any]], base: dict[str, str], wanted: dict[str, str]
) -> None:
    assert labels_for(selectors, base) == wanted
    assert all(matches(selector, {**base, **wanted}) for selector in selectors)


@pytest.mark.parametrize(
    ("selectors", "base", "words"),
    [
        ([RELEASE], {"release": "other"}, "our objects carry release=other"),
        ([expression("owner", "DoesNotExist")], {"owner": "us"}, "our objects carry owner=us"),
        ([expression("owner", "NotIn", "us")], {"owner": "us"}, "our objects carry owner=us"),
        ([RELEASE, {"matchLabels": {"release": "other"}}], {}, "no value of label release"),
        ([RELEASE, expression("release", "NotIn", "monitoring")], {}, "no value of label release"),
        ([RELEASE, expression("release", "DoesNotExist")], {}, "no value of label release"),
        ([expression("a", "Exists"), expression("a", "DoesNotExist")], {}, "no value of label a"),
        ([expression("a", "Gt", "1")], {}, "operator 'Gt' on label 'a' is not known"),
    ],
)
def test_what_cannot_be_selected_is_told(selectors: list[dict[str, t.Any]], base: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        labels_for(selectors, base)


def test_labels_are_found_whenever_there_are_any() -> None:
    """Against a search of all values: every pair of requirements on one label."""
    requirements = [
        {},
        {"matchLabels": {"a": "x"}},
        *(expression("a", operator, *values) for operator in ("In", "NotIn") for values in (("x",), ("x", "y"))),
        expression("a", "Exists"),
        expression("a", "DoesNotExist"),
    ]
    values = [None, "x", "y", "z", "true", "kuadrant.llm"]
    for pair in itertools.product(requirements, repeat=2):
        possible = any(all(matches(one, {"a": value} if value else {}) for one in pair) for value in values)
        try:
            found = labels_for(pair, {})
        except ValueError:
            assert not possible, pair
        else:
            assert all(matches(one, found) for one in pair), pair


def test_null_selects_nothing_and_empty_everything() -> None:
    assert not matches(None, {"a": "b"})
    assert matches({}, {})


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, "everything"),
        (RELEASE, "release=monitoring"),
        ({**RELEASE, **expression("a", "NotIn", "x", "y")}, "release=monitoring, a NotIn (x,y)"),
        (expression("a", "DoesNotExist"), "!a"),
        (expression("a", "Exists"), "a"),
    ],
)
def test_selectors_are_told_as_kubectl_tells_them(selector: dict[str, t.Any], text: str) -> None:
    assert told(selector) == text
