# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a Prometheus of prometheus-operator is in effect."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.filter.unmet_conditions import unmet_conditions


def prometheus(generation: int = 2, **conditions: str) -> dict[str, t.Any]:
    told = [
        {"type": name, "status": status, "observedGeneration": 2, "reason": "Why", "message": "so"} for name, status in conditions.items()
    ]
    return {"kind": "Prometheus", "metadata": {"name": "p", "generation": generation}, "status": {"conditions": told}}


def test_reconciled_and_available_is_in_effect() -> None:
    assert unmet_conditions(prometheus(Reconciled="True", Available="True")) == []


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (prometheus(Reconciled="True", Available="Degraded"), "Available is Degraded (reason Why): so."),
        (prometheus(Reconciled="False", Available="True"), "Reconciled is False"),
        (prometheus(Reconciled="True"), "Available is not reported yet."),
    ],
)
def test_what_is_missing_is_told(one: dict[str, t.Any], words: str) -> None:
    (told,) = unmet_conditions(one)
    assert told.startswith(words)


def test_conditions_of_an_earlier_generation_do_not_count() -> None:
    told = unmet_conditions(prometheus(3, Reconciled="True", Available="True"))
    assert [line.split()[0] for line in told] == ["Reconciled", "Available"]
    assert all("generation 2" in line for line in told)
