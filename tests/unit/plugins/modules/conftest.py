# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of several modules start from."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ledger_drill import Drill

Server = t.Any  # the fake of tests/unit/conftest.py
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def drill(prometheus: Server, run_module: Run, tmp_path: pathlib.Path) -> Drill:
    scrapes = range(30_000, 11_400_000, 30_000)
    prometheus.now = 11_400_000
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    prometheus.add("authorized_calls", *((moment, moment // 300_000) for moment in scrapes if moment >= 300_000), user="ann", tier="free")
    made = Drill(run_module, prometheus.url, tmp_path)
    closed = made.close()
    assert closed["changed"] is True, closed
    return made


@pytest.fixture
def limiter(prometheus: Server) -> Server:
    """Of bob 10 calls were let through, of =ann 2, and 3 were limited; all within the last scrapes."""
    scrapes = range(800_000, 1_000_001, 10_000)
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    for metric, user, tier, value in (
        ("authorized_calls", "bob", "premium", 10),
        ("authorized_calls", "=ann", "free", 2),
        ("limited_calls", "=ann", "free", 3),
    ):
        prometheus.add(metric, *((moment, value) for moment in scrapes if moment > 950_000), user=user, group=tier, tier=tier)
    return prometheus
