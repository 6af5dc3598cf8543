# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def browser() -> t.Iterator[t.Any]:
    """Headless Chromium; without it the tests are skipped."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = subprocess.run(["hack/chromium"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no Chromium: {found.stderr.strip()}")
    with sync_api.sync_playwright() as playwright:
        # The sandbox needs a privilege that a container does not give; the page is our own.
        chromium = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        yield chromium
        chromium.close()
