# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of module budget_enforcement in a month that began three seconds ago, for budget.py: options on standard input."""

from __future__ import annotations

import json
import sys
from unittest import mock

from ansible.module_utils.testing import patch_module_args

from ansible_collections.kuadrant.llm.plugins.modules import budget_enforcement

LENGTH_MS = 3000


def main() -> None:
    began = mock.patch.object(budget_enforcement, "month_start", lambda now, _zone: now - LENGTH_MS)
    with began, patch_module_args(json.load(sys.stdin)):
        budget_enforcement.main()


if __name__ == "__main__":
    main()
