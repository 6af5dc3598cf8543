# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds the fault drills, and kills runs in the middle of their writes. Run by `make bench-drills`; writes build/bench/drills.json.

A stack of its own is started on ports of its own, and removed at the end. A run that is killed (site, api_key, usage_ledger, each in
processes of their own) is run again, which has to finish it, and once more, which has to change nothing (of site after each fifth kill).
Of site, both runs on a stack that is there and runs where nothing is are killed. The moments are spread evenly over the length of a run
that was not killed.

--drills NAME...   only these (none: --drills without a name); all of playbooks/vars/drills*.yml if not given
--kills N          how many runs are killed, in all: one in five is one of site, of which one in four where nothing is; the others are of
                   api_key and usage_ledger. 20 if not given
--of RUN           only runs of this one are killed: site, site_from_nothing, api_key or usage_ledger; its share of N, not all of it
--stack FOLDER     the stack is there, is started if it is not, and goes on afterwards: for parts that are held one after the other
--missing          only drills and kills that are not among the figures that are there, or did not come out as they should
--deny             the drills whose outcome is another one with llm_gateway_failure_mode: deny are held so; no run is killed
--minutes N        no other drill, and no other run that is killed, is begun after that
--add              the figures are added to those that are there; what was seen again replaces what was seen before
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import close
import yaml
from drills_runs import FirstSite, Keys, Ledger, Run, Site, kills
from figures import Figures, write
from server import serving
from stack import ROOT, Stack

# Of each kind of run how many were killed, and what was wrong with those that did not converge.
Killed: t.TypeAlias = "dict[str, tuple[int, list[str]]]"

PORT_BASE = int(os.environ.get("LLM_BENCH_PORT_BASE", "29000"))
USERS = 20
# The alerts are evaluated every 15 seconds; the stack is scraped more often here.
TWO_EVALUATIONS = 30
# Behind the name of a drill that is held with llm_gateway_failure_mode: deny.
DENIED = " (deny)"
# Of what a drill saw.
KEPT = (
    *("as_documented", "converged", "recovery_seconds", "good", "none", "spent", "alert", "alert_seconds", "alerts"),
    *("changed_seconds", "admitted", "billed", "problems"),
)


def hold(stack: Stack, names: list[str] | None, minutes: float, seen: Path) -> list[dict[str, t.Any]]:
    """What the playbook drill saw, on a stack as its variables have it."""
    stack.play("site.yml")
    chosen = {} if names is None else {"drill_names": names}
    given = json.dumps({**chosen, "drill_minutes": minutes, "drill_output": str(seen)})
    variables = [word for variable in (*stack.variables, given) for word in ("-e", variable)]
    command = ["ansible-playbook", "playbooks/drill.yml", *variables]
    print(f"bench: all drills take half an hour; each is told in {stack.log} when it has been held", flush=True)
    with stack.log.open("a") as log:
        subprocess.run(command, cwd=ROOT, check=False, stdout=log, stderr=subprocess.STDOUT)
    if not seen.exists():
        raise SystemExit(f"bench: the drills did not end; see {stack.log}\n{stack.log.read_text()[-3000:]}")
    return t.cast("list[dict[str, t.Any]]", json.loads(seen.read_text()))


def measure(arguments: argparse.Namespace, before: Figures, scratch: Path) -> t.Iterator[tuple[list[dict[str, t.Any]], Killed]]:
    """What the drills saw, and the killed runs: after the drills, and after each kill. ``before``: the figures that are there, if any."""
    output = ROOT / "build/bench"
    output.mkdir(parents=True, exist_ok=True)
    stack = Stack(arguments.stack or scratch / "stack", output / "drills.log")
    stack.log.unlink(missing_ok=True)
    stack.variables = [f"local_stack_state_dir={stack.state}", f"local_stack_port_base={PORT_BASE}", "local_stack_scrape_interval=2s"]
    until = time.monotonic() + 60 * arguments.minutes
    done = {name: run["kills"] for name, run in before.get("runs", {}).items()}
    results: Killed = {}
    day = scratch / "day"
    day.mkdir()
    close.USERS = USERS

    def kill(run: Run) -> t.Iterator[tuple[list[dict[str, t.Any]], Killed]]:
        wanted = shares(arguments.kills, arguments.of)[run.name] - (done.get(run.name, 0) if arguments.missing else 0)
        for found in kills(run, done.get(run.name, 0), wanted, until):
            results[run.name] = found
            yield drills, results

    drills: list[dict[str, t.Any]] = []
    try:
        if arguments.drills != []:
            stack.variables += ["llm_gateway_failure_mode=deny"] * arguments.deny
            drills = hold(stack, arguments.drills, (until - time.monotonic()) / 60, scratch / "seen.json")
            drills = [{**one, "name": one["name"] + DENIED * arguments.deny} for one in drills]
        elif not (stack.state / "run/supervisord.pid").exists():
            stack.play("site.yml")
        yield drills, results
        yield from kill(Site(stack, PORT_BASE))
        yield from kill(Keys(stack))
        close.load(day)
        with serving(day, close.BLOCKS) as url:
            yield from kill(Ledger(url, scratch / "ledgers"))
        # The last one, since nothing of the stack is left by it.
        yield from kill(FirstSite(stack, PORT_BASE))
    finally:
        if not arguments.stack:
            stack.play("playbooks/teardown.yml")


def shares(number: int, only: str | None) -> dict[str, int]:
    """How many runs of each kind are killed."""
    of_nothing, of_site = number // 20, number // 5 - number // 20
    of_keys = (number - of_nothing - of_site) // 2
    of_ledger = number - of_nothing - of_site - of_keys
    spread = {"site": of_site, "site_from_nothing": of_nothing, "api_key": of_keys, "usage_ledger": of_ledger}
    return {name: share if only in (None, name) else 0 for name, share in spread.items()}


def well(before: Figures) -> Figures:
    """The figures without the killed runs that did not converge."""
    runs = {name: {"kills": run["converged"], "converged": run["converged"]} for name, run in before.get("runs", {}).items()}
    return {**before, "runs": runs}


def added(before: Figures, drills: list[dict[str, t.Any]], results: Killed) -> Figures:
    """``before``: the figures that are there, if any."""
    now = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime())
    seen = {**before.get("seen", {}), **{one["name"]: {"at": now, **{key: one[key] for key in KEPT}} for one in drills}}
    runs = {name: dict(one) for name, one in before.get("runs", {}).items()}
    for name, (killed_, wrong) in results.items():
        run = runs.setdefault(name, {"kills": 0, "converged": 0})
        run["kills"] += killed_
        run["converged"] += killed_ - len(wrong)
    alerts = [one["alert_seconds"] for one in seen.values() if one["alert_seconds"] is not None]
    return {
        "drills": len(seen),
        "as_documented": sum(one["as_documented"] for one in seen.values()),
        "drills_converged": sum(one["converged"] for one in seen.values()),
        "slowest_recovery_s": max((one["recovery_seconds"] or 0 for one in seen.values()), default=0),
        "alerts": len(alerts),
        "alerts_within_30_s": sum(one <= TWO_EVALUATIONS for one in alerts),
        "kills": sum(one["kills"] for one in runs.values()),
        "converged": sum(one["converged"] for one in runs.values()),
        "runs": runs,
        "seen": seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drills", nargs="*")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--of", choices=list(shares(0, None)))
    parser.add_argument("--stack", type=Path)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--deny", action="store_true")
    parser.add_argument("--minutes", type=float, default=1440)
    parser.add_argument("--add", action="store_true")
    arguments = parser.parse_args()
    written = ROOT / "build/bench/drills.json"

    figures = json.loads(written.read_text()) if (arguments.add or arguments.missing) and written.exists() else {}
    before = well(figures) if arguments.missing else figures
    arguments.kills *= not arguments.deny
    if (arguments.missing or arguments.deny) and arguments.drills != []:
        texts = [path.read_text() for path in sorted(ROOT.glob("playbooks/vars/drills*.yml"))]
        every = [one for text in texts for some in yaml.safe_load(text).values() for one in some]
        wanted = [
            one["name"]
            for one in every
            if (not arguments.drills or one["name"] in arguments.drills) and (one.get("denied") or not arguments.deny)
        ]
        seen = before.get("seen", {}) if arguments.missing else {}
        arguments.drills = [name for name in wanted if not seen.get(name + DENIED * arguments.deny, {}).get("as_documented")]
    scratch = Path(tempfile.mkdtemp(prefix="llm-"))
    drills: list[dict[str, t.Any]] = []
    results: Killed = {}
    try:
        for drills, results in measure(arguments, before, scratch):
            figures = added(before, drills, results)
            # What was seen is kept, also of a part that does not end by itself.
            written.write_text(json.dumps(figures, indent=2) + "\n")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    table = "\n".join(f"{name:<20}{value!s:>8}" for name, value in figures.items() if name not in ("runs", "seen"))
    write("drills", figures, table)
    wrong = [f"{one['name']}: {problem}" for one in drills for problem in one["problems"]]
    wrong += [problem for _number, some in results.values() for problem in some]
    if wrong:
        raise SystemExit("bench: not as documented:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
