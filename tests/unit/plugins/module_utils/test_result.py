# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes, fingerprint, masked


def test_fingerprint_is_plain_sha256() -> None:
    assert fingerprint("password") == "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"key": "canary"}, {"key": fingerprint("canary")}),
        ({"data": {"api_key": "canary"}}, {"data": {"api_key": fingerprint("canary")}}),
        ([{"api_key": None, "name": "a"}], [{"api_key": None, "name": "a"}]),
        ({"groups": ("a", "b")}, {"groups": ["a", "b"]}),
    ],
)
def test_masked(value: t.Any, expected: t.Any) -> None:
    assert masked(value) == expected


def test_changes_keep_what_differs_masked() -> None:
    changes = Changes()
    assert changes.record("same", {"tier": "a"}, {"tier": "a"}) is False
    assert changes.record("new", None, {"key": "canary"}) is True
    assert changes.record("gone", {"tier": "a"}, None) is True
    assert changes.record("rotated", {"key": "one"}, {"key": "two"}) is True
    result = changes.result(diff=True, api_keys=[])
    assert result == {
        "changed": True,
        "api_keys": [],
        "diff": {
            "before": {"gone": {"tier": "a"}, "rotated": {"key": fingerprint("one")}},
            "after": {"new": {"key": fingerprint("canary")}, "rotated": {"key": fingerprint("two")}},
        },
    }


def test_changes_without_diff() -> None:
    assert Changes().result(diff=False) == {"changed": False}
