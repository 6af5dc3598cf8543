# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hack/docs makes of the guides. `make docs` makes the whole site, and looks at it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = runpy.run_path(str(ROOT / "hack/docs"))
GUIDE, OTHER = Path("docs/awx.md"), Path("docs/keys-and-tiers.md")


def test_every_guide_is_in_the_menu_once() -> None:
    named = [name for _heading, names in DOCS["sections"]() for name in names]
    assert sorted(named) == sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "index")


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("keys-and-tiers.md#keys", "keys-and-tiers.md#keys"),
        ("#folders", "#folders"),
        ("https://example.com/x", "https://example.com/x"),
        ("images/status-page.png", "images/status-page.png"),
        ("no-such-guide.md", "no-such-guide.md"),  # Sphinx objects to it
        ("../extensions/patterns", f"{DOCS['REPOSITORY']}/blob/main/extensions/patterns"),
        ("../plugins/modules/tier.py#L1", f"{DOCS['REPOSITORY']}/blob/main/plugins/modules/tier.py#L1"),
    ],
)
def test_links_lead_to_the_site_or_to_the_repository(link: str, leads_to: str) -> None:
    assert DOCS["on_site"](f"See [this]({link}).", GUIDE, {GUIDE, OTHER}) == f"See [this]({leads_to})."


def test_links_in_code_stay() -> None:
    text = "```text\n[a](../extensions/patterns)\n```\n"
    assert DOCS["on_site"](text, GUIDE, {GUIDE, OTHER}) == text


def test_first_page_leads_to_the_guides() -> None:
    text = DOCS["index"]({GUIDE, OTHER})
    assert "](docs/awx.md)" in text
    assert "\ndocs/awx\n" in text
