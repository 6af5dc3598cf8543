# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hack/secrets finds tokens. They are put together here, or it would find them in this file."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        ("ghp_" + "a1B2" * 9, "GitHub Token"),
        ("-----BEGIN " + "PRIVATE KEY-----", "Private Key"),
        ("AKIA" + "ABCDEFGH12345678", "AWS Access Key"),
        ("xoxb-" + "123456789012-abcdefghijkl", "Slack Token"),
    ],
)
def test_a_secret_is_found_by_its_line_and_not_shown(root: Path, secret: str, kind: str) -> None:
    script = runpy.run_path(str(root / "hack/secrets"))
    assert len(script["detectors"]()) >= 10
    problems = script["found"](f"nothing\nx = '{secret}'\n", script["detectors"]())
    assert (kind, 2) in problems
    assert secret not in repr(problems)


def test_what_is_no_secret_is_none(root: Path) -> None:
    script = runpy.run_path(str(root / "hack/secrets"))
    assert script["found"]("password: changeme\nkey: llm_abcdefghijklmnop\nurl: http://user:name@host/\n", script["detectors"]()) == []
