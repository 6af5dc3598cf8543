# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""To which revision a Helm release goes back."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.history import revision_of


def log(*revisions: tuple[str, str]) -> list[dict[str, t.Any]]:
    return [{"revision": number, "chart": chart, "status": status} for number, (chart, status) in enumerate(revisions, 1)]


OLD, NEW = "istiod-1.29.0", "istiod-1.29.1"


@pytest.mark.parametrize(
    ("history", "revision"),
    [
        (log((OLD, "superseded"), (NEW, "deployed")), 1),
        (log((OLD, "superseded"), (OLD, "superseded"), (NEW, "deployed")), 2),
        (log((OLD, "superseded"), (OLD, "failed"), (OLD, "pending-upgrade"), (NEW, "deployed")), 1),
        (log((OLD, "superseded"), (NEW, "superseded"), (OLD, "deployed")), None),
        # Interrupted on its way back.
        (log((OLD, "superseded"), (NEW, "deployed"), (OLD, "pending-rollback")), 1),
    ],
)
def test_newest_revision_that_was_at_work_is_chosen(history: list[dict[str, t.Any]], revision: int | None) -> None:
    assert revision_of(history, "istio-system/istiod", OLD) == revision


@pytest.mark.parametrize(
    ("history", "kept"),
    [(log((NEW, "superseded"), (NEW, "deployed")), NEW), (log((OLD, "failed"), (NEW, "deployed")), f"{OLD}, {NEW}"), ([], "none")],
)
def test_revision_that_helm_does_not_have_any_more_is_told(history: list[dict[str, t.Any]], kept: str) -> None:
    with pytest.raises(GatewayError) as refused:
        revision_of(history, "istio-system/istiod", OLD)
    assert refused.value.message == (
        f"Helm no longer has a revision of istio-system/istiod with chart {OLD} (it has {kept}). Nothing was rolled back."
    )
