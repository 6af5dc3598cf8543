# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recording of `make demo` (hack/record): it plays, shows what the playbooks show today, and the README quotes it to the letter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
CAST = ROOT / "docs/images/demo.cast"
DEMOS = ("site", "demo_authorization", "demo_rate_limiting", "demo_chargeback", "check_gateway")
QUOTED = re.compile(r"<!-- from docs/images/demo\.cast -->\n```text\n(.*?)```", re.DOTALL)


def parts(text: str) -> tuple[dict[str, t.Any], list[tuple[float, str, str]]]:
    header, *events = [json.loads(line) for line in text.splitlines()]
    return header, [(event[0], event[1], event[2]) for event in events]


def screen(events: list[tuple[float, str, str]]) -> list[str]:
    """The lines as they stand on a terminal at the end: without colours, and without what was cleared again."""
    said = "".join(text for _at, _kind, text in events)
    lines = [line.rpartition("\x1b[2K")[2] for line in said.replace("\r\n", "\n").split("\n")]
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).replace("\r", "").rstrip() for line in lines]


HEADER, EVENTS = parts(CAST.read_text(encoding="utf-8"))
SCREEN = screen(EVENTS)


def test_recording_plays() -> None:
    assert (HEADER["version"], HEADER["width"], HEADER["command"]) == (2, 100, "make demo")
    assert [at for at, _kind, _said in EVENTS] == sorted(at for at, _kind, _said in EVENTS)
    assert {kind for _at, kind, _said in EVENTS} == {"o"}
    assert CAST.stat().st_size < 65536


def test_what_passes_leaves_nothing_behind() -> None:
    assert [line for line in SCREEN if line.startswith("  ... ")] == []


def test_first_screens_fit_their_terminal() -> None:
    """But for commands to copy, which are one line."""
    bill = SCREEN.index("[1/1] Bill three users")
    assert [line for line in SCREEN[:bill] if len(line) > 100 and not re.match(r"curl -i |Policies: ", line)] == []


def test_recording_names_no_machine_and_no_key() -> None:
    text = "\n".join(SCREEN)
    assert re.findall(r"(?<![\w.~])/(?:root|tmp|home|work)\b", text) == []
    assert re.findall(r"(?:Bearer|APIKEY) (?!\$\()\S+", text) == []


def test_recording_shows_the_demos_of_today() -> None:
    """Record it again where this fails: hack/record docs/images/demo.cast -- make demo."""
    for demo in DEMOS:
        plays = yaml.safe_load((ROOT / f"playbooks/{demo}.yml").read_text(encoding="utf-8"))
        names = [play["name"] for play in plays if "hosts" in play]
        assert [name for name in names if not any(line.endswith(name) for line in SCREEN)] == [], demo
    ends = [line for line in SCREEN if line.startswith("Done after")]
    assert len(ends) == len(DEMOS)


def test_readme_quotes_the_recording() -> None:
    quotes = QUOTED.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert quotes
    for quote in quotes:
        assert f"\n{quote}" in "\n".join(["", *SCREEN, ""])


def test_a_command_is_recorded_as_it_shows_itself(tmp_path: Path) -> None:
    target = tmp_path / "x.cast"
    script = f"import os, sys; print(os.isatty(1), os.get_terminal_size().columns, 'port 22500', {str(Path.home())!r} + '/x')"
    command = [sys.executable, "hack/record", str(target), "--as", "22500=18000", "--", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert screen(parts(target.read_text())[1]) == ["True 100 port 18000 ~/x", ""]


def test_a_command_that_fails_is_not_recorded(tmp_path: Path) -> None:
    target = tmp_path / "x.cast"
    command = [sys.executable, "hack/record", str(target), "--", sys.executable, "-c", "raise SystemExit(3)"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, target.exists()) == (1, False)
    assert "failed with 3" in done.stderr
