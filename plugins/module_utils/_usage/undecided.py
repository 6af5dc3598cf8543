# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Requests that were served without a decision, because the limiter did not answer: exact figures say nothing of them."""

from __future__ import annotations

import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, bounds

_TENTH = Decimal("0.1")


def undecided_facts(silent: Count | None, admitted: int) -> dict[str, t.Any]:
    """How many they were, and their share of all requests that were served; None where the gateway's own count is not known.

    :param admitted: requests that the limiter let through.
    """
    if silent is None:
        return {"requests": None, "requests_upper": None, "requests_assumed": None, "share_percent": None}
    served = admitted + silent.lower
    share = Decimal(100 * silent.lower) / served if served else Decimal(0)
    return {**bounds("requests", silent), "share_percent": f"{share.quantize(_TENTH)}"}
