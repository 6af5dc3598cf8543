# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gateway_doctor finds of what is wrong, and how long it takes: figures for build/bench/doctor.json. Run by `make bench-doctor`.

``seeded``, ``found`` and ``false_alarms`` are of snapshots with one thing wrong each, and of ones with nothing wrong. ``seconds`` is the
longest of five runs of the playbook's module on a real local stack, which is started from the cache and removed at the end;
LLM_TEST_STATE_DIR and LLM_BENCH_PORT_BASE name one that runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figures, write

ROOT = Path(__file__).resolve().parents[2]
PORT_BASE, RUNS = 29000, 5
sys.path.insert(0, str(ROOT / "tests/unit/fakes"))


def play(*arguments: str) -> str:
    done = subprocess.run(["ansible-playbook", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: ansible-playbook {' '.join(arguments)}: {done.stdout[-2000:]}")
    return done.stdout


def seeded() -> Figures:
    """Every seed is to be found by its name; every good configuration is to raise neither error nor warning."""
    from doctor_seeds import CONSEQUENCES, GOOD, SEEDS
    from doctor_state import snapshot_of

    from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.examine import examine

    found, false = 0, 0
    for seed, (change, check) in SEEDS.items():
        checks = {one.check for one in examine(snapshot_of(change))}
        found += check in checks
        false += len(checks - {check} - CONSEQUENCES.get(seed, set()))
    false += sum(one.severity != "info" for change in GOOD.values() for one in examine(snapshot_of(change)))
    return {"seeded": len(SEEDS), "found": found, "good": len(GOOD), "false_alarms": false}


def timed(state: Path, port_base: int) -> float:
    """Seconds of the slowest run, of reading and checking."""
    variables = json.dumps({"local_stack_state_dir": str(state), "local_stack_port_base": port_base, "doctor_fail_on": "never"})
    longest = 0.0
    for _run in range(RUNS):
        said = next(line for line in play("playbooks/doctor.yml", "-e", variables).splitlines() if line.startswith("Gateway "))
        longest = max(longest, float(said.rpartition("(")[2].removesuffix(" s)")))
    return longest


def main() -> None:
    running = os.environ.get("LLM_TEST_STATE_DIR")
    port_base = int(os.environ.get("LLM_BENCH_PORT_BASE", PORT_BASE))
    figures = seeded()
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as scratch:  # a short path: unix sockets lie under it
        state = Path(running or scratch)
        variables = json.dumps({"local_stack_state_dir": str(state), "local_stack_port_base": port_base})
        if not running:
            play("site.yml", "-e", variables)
        try:
            figures["seconds"] = timed(state, port_base)
        finally:
            if not running:
                play("playbooks/teardown.yml", "-e", variables)
    write("doctor", figures)


if __name__ == "__main__":
    main()
