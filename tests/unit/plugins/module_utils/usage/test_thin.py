# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading few samples gives what reading all of them gives."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

import pytest
from histories import END, START, History, make

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import read, thin
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import ScrapeTarget
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, read_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage

Server = t.Any  # the fake of conftest.py
HISTORIES = 150


class Direct(Prometheus):
    """The client without HTTP in between. ``answers`` counts samples by query."""

    def __init__(self, server: Server, samples_per_query: int) -> None:
        super().__init__(server.url, samples_per_query=samples_per_query)
        self.server = server
        self.most = 0

    def _ask(self, path: str, form: t.Mapping[str, str], what: str = "") -> t.Any:  # noqa: ARG002 - the interface
        answer = self.server.answer(path, form)
        if isinstance(answer, dict) and answer["resultType"] == "matrix":
            self.most = max(self.most, sum(len(one["values"]) for one in answer["result"]))
        return answer


def load(server: Server, history: History) -> None:
    scraped, series = history.measured()
    server.series = []
    for target in scraped:
        server.add("limitador_up", *((moment, 1) for moment in target.scrapes), counting_since=None, **target.labels)
        for life in sorted(set(target.lives.values()), key=lambda life: life.since):
            shown = [(moment, life.since / 1000) for moment in target.scrapes if target.lives.get(moment) == life]
            server.add("limitador_counting_since_seconds", *shown, **target.labels, life=life.name)
    for one in series:
        server.add("authorized_calls", *one.samples, **one.labels)


def ask(server: Server, samples_per_query: int) -> Usage | str:
    """The usage, or why it is refused."""
    try:
        return read_usage(Direct(server, samples_per_query), Question(START, END, family="upstream"))
    except GatewayError as exc:
        return exc.message


def proved(usage: Usage) -> Usage:
    """Without what is assumed."""
    rows = tuple(dataclasses.replace(row, authorized=dataclasses.replace(row.authorized, assumed=None)) for row in usage.proved)
    tokens = dataclasses.replace(usage.tokens, authorized=dataclasses.replace(usage.tokens.authorized, assumed=None))
    return dataclasses.replace(
        usage, proved=rows, tokens=tokens, notes=tuple(note for note in usage.notes if not note.startswith("assumed figures"))
    )


@pytest.mark.parametrize("closed_left", [False, True], ids=["prometheus-3", "prometheus-2"])
def test_few_samples_give_what_all_of_them_give(prometheus: Server, monkeypatch: pytest.MonkeyPatch, closed_left: bool) -> None:
    prometheus.closed_left = closed_left
    outcomes: collections.Counter[str] = collections.Counter()

    class Small(thin.Thin):
        """Windows of a few scrapes, shards of two users, so that every history has many."""

        def __init__(self, client: Prometheus, target: ScrapeTarget, scrapes: t.Sequence[int]) -> None:
            super().__init__(client, target, scrapes, thin.Limits(touched=20, answer=6, users=2, longest=3))

        def read(self, selectors: t.Mapping[str, str]) -> t.Any:
            found = super().read(selectors)
            outcomes["thin" if found is not None else "whole"] += 1
            if found is not None:
                outcomes["left out"] += sum(len(one.left_out) for members in found.values() for one in members)
            return found

    monkeypatch.setattr(read, "Thin", Small)
    for number in range(HISTORIES):
        history = make(number, seed=2)
        if not history.scraped:
            continue
        load(prometheus, history)
        whole = ask(prometheus, 500_000)
        few = ask(prometheus, 1)
        if isinstance(few, Usage) and isinstance(whole, Usage):
            for one, other in zip(few.rows, whole.rows, strict=True):
                # Where samples were left out, a counter may have been faster than the samples show.
                assert (one.authorized.likely is None) == (other.authorized.likely is None)
                assert (one.authorized.likely or 0) >= (other.authorized.likely or 0), (number, history.features)
            few, whole = proved(few), proved(whole)
        assert few == whole, (number, history.features)
        if isinstance(whole, str):
            assert history.refusable, (number, history.features, whole)
            outcomes["refused"] += 1
            continue
        outcomes["restarts"] += any(entry["restarts"] for entry in whole.scrapes)
    # The quick way was gone, in histories with restarts too, and it left samples out.
    assert outcomes["thin"] > 60, outcomes
    assert outcomes["left out"] > 200, outcomes
    assert outcomes["restarts"] > 20, outcomes
    assert outcomes["refused"] > 5, outcomes


@pytest.mark.parametrize(
    ("scrapes", "width", "expected"),
    [
        pytest.param(1, 5, [(0, 0)], id="one"),
        pytest.param(5, 5, [(0, 4)], id="fits"),
        pytest.param(6, 5, [(0, 4), (4, 5)], id="one-more"),
        pytest.param(5, 2, [(0, 1), (1, 2), (2, 3), (3, 4)], id="pairs"),
        pytest.param(3, 0, [(0, 1), (1, 2)], id="more-counters-than-samples-allowed"),
    ],
)
def test_windows_follow_one_another(scrapes: int, width: int, expected: list[tuple[int, int]]) -> None:
    assert thin.windows(scrapes, width) == expected


def test_users_are_shared_among_matchers() -> None:
    assert list(thin.user_matchers(["", "b.c", "a"], 2)) == ['user=~"|a"', 'user=~"b\\\\.c"']
    assert len(list(thin.user_matchers(["u" * 300 + str(number) for number in range(1_000)], 10_000))) == 6
