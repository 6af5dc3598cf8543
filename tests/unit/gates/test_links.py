# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every link of README.md, CONTRIBUTING.md, docs and the READMEs of inventories and roles inside the repository leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Anchors of the headings, as GitHub and Galaxy make them."""
    titles = re.findall(r"^#+ (.+?) *$", _CODE.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def dead(path: Path, text: str, root: Path) -> list[str]:
    """Links of a document that lead to no file, or to no heading of one."""
    found = []
    for link in _LINK.findall(_CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _sign, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            found.append(f"{path.relative_to(root)}: {link}: there is no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(root)}: {link}: there is no such heading")
    return found


def test_links_lead_somewhere(root: Path, files: list[Path]) -> None:
    documents = [path for path in files if path.suffix == ".md"]
    assert len(documents) > 40
    problems = [problem for path in documents for problem in dead(root / path, (root / path).read_text(encoding="utf-8"), root)]
    assert not problems, "\n".join(problems)


def test_dead_links_are_found(root: Path) -> None:
    text = "[a](docs/nothing.md) [b](docs/exposure.md#no-heading) [c](docs/exposure.md#without-a-policy-403) [d](https://example.com/x)\n"
    assert dead(root / "README.md", text, root) == [
        "README.md: docs/nothing.md: there is no such file",
        "README.md: docs/exposure.md#no-heading: there is no such heading",
    ]
