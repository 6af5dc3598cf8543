# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""story shows a run as a person follows it: which step of how many, what was changed, what takes long, tables, and what failed."""

from __future__ import annotations

DOCUMENTATION = r"""
name: story
type: stdout
short_description: Show a run as steps, changes, tables and failures
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Shows each play as a step of how many, under it every task that changed something or took long, and the messages and tables that are
    made for people. Tasks that found everything as it should be are not shown.
  - A task that fails is shown with its message, with the warnings and the place that Ansible tells.
  - Lines are wrapped at 100 columns, or at the width of a narrower terminal. Tables and commands to copy are left as they are.
  - With C(-v), every task is shown.
  - C(make demo) uses it. All else shows Ansible's own output, unless O(ignore:ANSIBLE_STDOUT_CALLBACK) or C(stdout_callback) in
    C(ansible.cfg) names it.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set as stdout in the configuration.
"""

EXAMPLES = r"""
# As an environment variable: ANSIBLE_STDOUT_CALLBACK=kuadrant.llm.story ansible-playbook kuadrant.llm.site
# In ansible.cfg:
# [defaults]
# stdout_callback = kuadrant.llm.story
"""

import shutil
import sys
import textwrap
import time
import typing as t
from pathlib import Path

from ansible import constants, context
from ansible.plugins.callback import CallbackBase

WIDTH: t.Final = 100
LONG: t.Final = 5  # seconds from which on a task says how long it took
_SHOWN = ("debug", "ansible.builtin.debug")
_SILENT = ("include_role", "include_tasks", "import_role", "import_tasks")


def lines_of(message: t.Any) -> list[str]:
    """Lines of what a debug task says: text, or a list of it."""
    entries = message if isinstance(message, (list, tuple)) else [message]
    return [line for entry in entries for line in str(entry).splitlines() or [""]]


def wrapped(line: str, width: int, indent: str = "") -> str:
    """The line in several ones, the later ones indented; a word that is longer than the width stays whole."""
    return "\n".join(
        textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]
    )


def title(name: str) -> str:
    """A task's name without the role and the file that stand before it."""
    return name.rpartition(" : ")[2].rpartition(" | ")[2]


def duration(seconds: float) -> str:
    """A duration such as 8 s or 2 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class CallbackModule(CallbackBase):
    """Ansible's entry point."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "kuadrant.llm.story"

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()
        self._task_begun = self._begun
        self._step, self._steps = 0, 0
        self._playbooks = 0
        self._task_name = ""
        self._passing = False  # whether a line stands there that the next one replaces

    # What is shown

    def _say(self, text: str, color: str | None = None) -> None:
        self._clear()
        self._display.display(text, color=color)

    def _clear(self) -> None:
        if self._passing:
            sys.stdout.write("\r\033[2K")
            sys.stdout.flush()
            self._passing = False

    def _pass(self, text: str) -> None:
        """Show a line until the next one, on a terminal."""
        if sys.stdout.isatty():
            self._clear()
            sys.stdout.write(f"  ... {text}"[: self._width() - 1])
            sys.stdout.flush()
            self._passing = True

    @staticmethod
    def _width() -> int:
        return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)

    def _line(self, sign: str, text: str, color: str | None) -> None:
        taken = time.monotonic() - self._task_begun
        self._say(f"  {sign} {text}{f'  ({duration(taken)})' if taken >= LONG else ''}", color)

    def _host(self, result: t.Any) -> str:
        name = self.host_label(result)
        return "" if name == "localhost" else f" [{name}]"

    # What Ansible tells

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """A playbook begins; one command may run several."""
        self._playbooks += 1
        self._step, self._steps = 0, len(playbook.get_plays())
        named = context.CLIARGS.get("args") or ()
        if len(named) > 1:
            name = Path(str(playbook._file_name)).stem
            self._say(f"\n{name}, playbook {self._playbooks} of {len(named)}", constants.COLOR_HIGHLIGHT)

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A play is a step."""
        self._step += 1
        check = " (dry run)" if play.check_mode else ""
        self._say("\n" + wrapped(f"[{self._step}/{self._steps}] {play.get_name()}{check}", self._width()), constants.COLOR_HIGHLIGHT)

    def v2_playbook_on_task_start(self, task: t.Any, **_options: t.Any) -> None:
        """A task begins: shown while it runs."""
        self._task_begun, self._task_name = time.monotonic(), title(task.get_name())
        if task.action.endswith((*_SHOWN, *_SILENT, ".show")):
            self._clear()  # what such a task shows goes past this callback
        else:
            self._pass(self._task_name)

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        """A handler is a task."""
        self.v2_playbook_on_task_start(task)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """Shown if it changed something, says something or took long."""
        self._tell_warnings(result)
        if result.task.loop and "results" in result.result:
            return
        self._ok(result, self._task_name + self._host(result))

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        """The same for an item of a loop, with its label."""
        self._tell_warnings(result)
        self._ok(result, f"{self._task_name}: {self._get_item_label(result.result)}{self._host(result)}")

    def _ok(self, result: t.Any, text: str) -> None:
        action = result.task.action
        if action in _SHOWN:
            said = result.result.get("msg")
            if said is None:
                said = self._dump_results({name: value for name, value in result.result.items() if not name.startswith("_")})
            self._say("\n".join(wrapped(line, self._width(), "  ") for line in lines_of(said)))
        elif result.result.get("changed"):
            self._line("+", text, constants.COLOR_CHANGED)
        elif action.rpartition(".")[2] not in _SILENT and (self._display.verbosity or time.monotonic() - self._task_begun >= LONG):
            self._line("=", text, constants.COLOR_OK)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """Always shown; that of an item was shown with the item."""
        if ignore_errors:
            if self._display.verbosity:
                self._line("!", f"{self._task_name}{self._host(result)}: ignored", constants.COLOR_SKIP)
            return
        if not (result.task.loop and "results" in result.result):
            self._failed(result, self._task_name)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        """As a task that fails, with the label of the item."""
        if not result.task.ignore_errors:
            self._failed(result, f"{self._task_name}: {self._get_item_label(result.result)}")

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """A machine that does not answer."""
        self._failed(result, self._task_name)

    def _failed(self, result: t.Any, text: str) -> None:
        self._say(f"\n  FAILED {text}{self._host(result)}", constants.COLOR_ERROR)
        message = result.result.get("msg") or self._dump_results(result.result)
        self._say("\n".join(wrapped(line, self._width(), "  ") for line in lines_of(message)) + "\n", constants.COLOR_ERROR)
        self._tell_warnings(result)

    def _tell_warnings(self, result: t.Any) -> None:
        if any(result.result.get(field) for field in ("warnings", "deprecations", "exception")):
            self._clear()
            self._handle_warnings_and_exception(result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        """Not shown, but with -v."""
        if self._display.verbosity:
            self._line("-", f"{self._task_name}{self._host(result)}: skipped", constants.COLOR_SKIP)

    def v2_on_file_diff(self, result: t.Any) -> None:
        """What --diff shows."""
        found = result.result.get("results", [result.result]) if result.task.loop else [result.result]
        for one in found:
            diff = self._get_diff(one["diff"]) if one.get("diff") and one.get("changed") else None
            if diff:
                self._say(diff)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A step without a machine."""
        self._say("  no host matched", constants.COLOR_SKIP)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """How it ended."""
        for host in sorted(stats.processed):
            sums = stats.summarize(host)
            failed = sums["failures"] + sums["unreachable"]
            end = "FAILED" if failed else "Done"
            who = "" if host == "localhost" else f" on {host}"
            text = f"\n{end}{who} after {duration(time.monotonic() - self._begun)}: {sums['ok']} tasks, {sums['changed']} changed something"
            self._say(text + (f", {failed} failed" if failed else ""), constants.COLOR_ERROR if failed else constants.COLOR_OK)
            if failed:
                self._say("All that Ansible has to say: the same command with ANSIBLE_STDOUT_CALLBACK=default.")
