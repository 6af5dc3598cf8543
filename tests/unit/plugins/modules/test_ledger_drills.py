# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whoever may write a ledger writes something else into it. The bill says so, by itself or by the head that was noted elsewhere."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import shutil
import subprocess

import pytest
from code_blocks import run_by
from ledger_drill import Drill

ROOT = pathlib.Path(__file__).parents[4]


def test_a_ledger_as_it_was_written_is_billed(drill: Drill) -> None:
    result = drill.bill()
    assert result["totals"]["overall"]["cost"] == "36.00", result
    assert json.loads(drill.anchor.read_text()) == drill.close()["head"]
    assert drill.close()["changed"] is False


def test_a_line_is_checked_by_hand(drill: Drill) -> None:
    """As docs/ledger.md says how."""
    (block,) = run_by(ROOT, "tests/unit/plugins/modules/test_ledger_drills.py::test_a_line_is_checked_by_hand")
    command = re.sub(r"\S+\.jsonl", str(drill.files[0]), block.text)
    printed = subprocess.run(["bash", "-euc", command], check=True, capture_output=True, text=True).stdout
    assert printed.split()[0] == json.loads(drill.files[0].read_text().splitlines()[1])["sha256"]


def test_a_header_that_was_edited_and_rehashed_is_found_by_the_bill(drill: Drill) -> None:
    text = drill.files[1].read_text().split("\n", 1)
    record = json.loads(text[0])
    del record["sha256"]
    record["totals"]["exact"]["requests"][1] = [1]
    body = json.dumps(record, sort_keys=True, separators=(",", ":"))[:-1]
    drill.files[1].write_text(f'{body},"sha256":"{hashlib.sha256(body.encode()).hexdigest()}"}}\n{text[1]}')
    result = drill.bill(anchored=False)
    assert f"{drill.files[1]} line 2: does not follow the line before it" in result["msg"]
    # What is not read is not looked at.
    assert drill.bill(anchored=False, end="1970-01-01T01:00:00Z")["totals"]["overall"]["cost"] == "12.00"


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_that_was_written_again_is_found_by_the_bill(drill: Drill, number: int) -> None:
    drill.rewrite(number, until=number + 1)
    assert f"{drill.files[number + 1]} line 1: does not follow" in drill.bill(anchored=False)["msg"]


def test_a_ledger_that_was_written_again_to_its_end_is_found_by_its_anchor(drill: Drill) -> None:
    drill.rewrite(0, until=3)
    assert drill.bill(anchored=False)["totals"]["overall"]["cost"] != "36.00"
    for result in (
        drill.bill(),
        drill.close(),
        drill.info(ledger_anchor=str(drill.anchor)),
    ):
        assert f"{drill.files[2]}: is not what {drill.anchor} has noted of line" in result["msg"]


def test_a_last_file_that_was_removed_is_found_by_the_anchor(drill: Drill) -> None:
    drill.files[2].unlink()
    assert drill.bill(anchored=False, end="1970-01-01T02:00:00Z")["totals"]["overall"]["cost"] == "24.00"
    assert "its last closes were removed, or it is an older copy" in drill.bill(end="1970-01-01T02:00:00Z")["msg"]
    # Nor is anything closed in its place.
    assert "its last closes were removed" in drill.close()["msg"]
    assert len(drill.files) == 2


def test_an_older_copy_is_found_by_the_anchor(drill: Drill, tmp_path: pathlib.Path) -> None:
    shutil.copytree(drill.ledger, tmp_path / "copy")
    for path in sorted((tmp_path / "copy").rglob("*.jsonl"))[1:]:
        path.unlink()
    shutil.rmtree(drill.ledger)
    shutil.copytree(tmp_path / "copy", drill.ledger)
    assert "or it is an older copy" in drill.bill(end="1970-01-01T01:00:00Z")["msg"]


def test_a_close_goes_on_from_its_anchor(drill: Drill) -> None:
    """Also where a run was killed between the close and the note of it."""
    noted = json.loads(drill.anchor.read_text())
    path, *_later = (json.loads(one.read_text().splitlines()[-1]) for one in drill.files[:1])
    drill.anchor.write_text(json.dumps({"seq": path["seq"], "sha256": path["sha256"]}))
    assert "msg" not in drill.bill()
    assert drill.close(check=True)["changed"] is True
    assert json.loads(drill.anchor.read_text())["seq"] == path["seq"]
    assert drill.close()["changed"] is True
    assert json.loads(drill.anchor.read_text()) == noted


def test_an_anchor_that_is_missing_or_foreign_is_an_error(drill: Drill) -> None:
    drill.anchor.unlink()
    assert "ledger_anchor: there is no" in drill.bill()["msg"]
    drill.anchor.write_text("[]")
    assert "is no head of a ledger" in drill.bill()["msg"]
