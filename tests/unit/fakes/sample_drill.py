# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A drill as it is documented, for tests that change a field of it."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Drill, parse_drill

NO_KUBE: t.Any = None
ENTRY: dict[str, t.Any] = {
    "name": "limiter-gone",
    "title": "There is no limiter",
    "fault": "kill",
    "processes": ["limitador"],
    "answers": {"good": [200], "none": [401], "spent": [429]},
    "outcome": "Nothing.",
    "recovery": "by itself",
    "seconds": 0,
    "within": 1,
}


def drill(**fields: t.Any) -> Drill:
    return parse_drill({**ENTRY, **fields})
