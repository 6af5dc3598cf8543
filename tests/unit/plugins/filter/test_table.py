# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.kuadrant.llm.plugins.filter.table import table


def test_table_has_a_line_per_row() -> None:
    assert len(table([{"a": 1}, {"a": 2}], ["a"])) == 4
