# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which revision of a Helm release goes back to a chart version. Pure: what ``helm history`` prints in, a revision out."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

# States of a revision that was never at work: there is nothing to go back to.
_UNUSABLE = ("failed", "pending")


def revision_of(history: t.Sequence[t.Mapping[str, t.Any]], release: str, chart: str) -> int | None:
    """The newest revision with ``chart`` (as ``istiod-1.29.1``); None when that one is deployed already.

    ``history`` holds ``{revision, status, chart}``, the newest last. ``release`` is ``namespace/name``.
    Raises GatewayError where Helm no longer has one.
    """
    last = history[-1] if history else {}
    if (last.get("chart"), last.get("status")) == (chart, "deployed"):
        return None
    revisions = [int(one["revision"]) for one in history if one["chart"] == chart and not str(one["status"]).startswith(_UNUSABLE)]
    if not revisions:
        kept = ", ".join(dict.fromkeys(str(one["chart"]) for one in history)) or "none"
        raise GatewayError(f"Helm no longer has a revision of {release} with chart {chart} (it has {kept}). Nothing was rolled back.")
    return max(revisions)
