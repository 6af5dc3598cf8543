# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the callback story shows of a run, held against a recording of it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[4]
PLAYBOOK = """
- name: Explain and change
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Explain what this shows
      ansible.builtin.debug:
        msg:
          - A line of so many words that it does not fit into one hundred columns, and is therefore continued in the next one.
          - A short one.
    - name: "role : file | Make a thing"
      ansible.builtin.command: "true"
    - name: Make several things
      ansible.builtin.command: "echo {{ item }}"
      loop: [a, b]
    - name: Find all as it should be
      ansible.builtin.command: "true"
      changed_when: false
    - name: Fail, which is no harm
      ansible.builtin.command: "false"
      changed_when: false
      ignore_errors: true
    - name: Leave out
      ansible.builtin.command: "true"
      when: false
    - name: Show who gets how much
      kuadrant.llm.show:
        lines: ["USER   ANSWERS", "-----  -----------", "alice  200 200 429"]
"""
SECOND = """
- name: Go wrong
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Check things
      ansible.builtin.assert:
        that: item == 'a'
        fail_msg: "{{ item }} is not a."
        quiet: true
      loop: [a, b]
"""
RECORDED = """
[1/1] Explain and change
  A line of so many words that it does not fit into one hundred columns, and is therefore continued
  in the next one.
  A short one.
  + Make a thing
  + Make several things: a
  + Make several things: b

USER   ANSWERS
-----  -----------
alice  200 200 429

Done after N s: 6 tasks, 2 changed something
"""

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    def run(*playbooks: str, **environment: str) -> subprocess.CompletedProcess[str]:
        paths = [tmp_path / f"{name}.yml" for name, _text in zip(("first", "second"), playbooks, strict=False)]
        for path, text in zip(paths, playbooks, strict=True):
            path.write_text(text)
        settings = {"ANSIBLE_STDOUT_CALLBACK": "kuadrant.llm.story", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        settings["COLUMNS"] = "100"  # whatever terminal the tests have
        command = ["ansible-playbook", *map(str, paths)]
        more = {**os.environ, **settings, **environment}
        return subprocess.run(command, cwd=ROOT, env=more, capture_output=True, text=True, timeout=120, check=False)

    return run


def without_times(text: str) -> str:
    """Durations are no part of a recording, nor are those of tasks that happen to take long on a busy machine."""
    text = re.sub(r"  \((\d+ min )?\d+ s\)$", "", text, flags=re.MULTILINE)
    text = re.sub(r"after (\d+ min )?\d+ s", "after N s", text)
    return re.sub(r"^  = .*\n", "", text, flags=re.MULTILINE)


def test_a_run_is_shown_as_it_was_recorded(run: Run) -> None:
    done = run(PLAYBOOK)
    assert without_times(done.stdout) == RECORDED, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 100] == []


def test_a_failure_says_what_where_and_how_to_see_all(run: Run) -> None:
    done = run(PLAYBOOK, SECOND, COLUMNS="60")
    assert done.returncode != 0
    assert "first, playbook 1 of 2" in done.stdout
    failure = done.stdout.partition("second, playbook 2 of 2\n")[2]
    assert "\n[1/1] Go wrong\n\n  FAILED Check things: b\n  b is not a.\n" in failure
    assert "1 failed\n" in failure
    assert "ANSIBLE_STDOUT_CALLBACK=default" in failure
    assert max(len(line) for line in done.stdout.splitlines()[:10]) <= 60


def test_ansibles_own_output_is_one_switch_away(run: Run) -> None:
    assert "PLAY RECAP" in run(SECOND, ANSIBLE_STDOUT_CALLBACK="default").stdout
