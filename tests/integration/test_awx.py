# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook awx_setup makes what playbooks/vars/awx.yml describes, and nothing a second time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.unit.fakes.awx import FakeAwx

ROOT = Path(__file__).resolve().parents[2]
SOURCE: dict[str, t.Any] = yaml.safe_load((ROOT / "playbooks/vars/awx.yml").read_text())


@pytest.fixture
def awx() -> t.Iterator[FakeAwx]:
    fake = FakeAwx()
    yield fake
    fake.server.shutdown()


def test_awx_setup_makes_it_all_once(awx: FakeAwx) -> None:
    env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "CONTROLLER_HOST": awx.url, "CONTROLLER_OAUTH_TOKEN": "token"}

    def setup() -> int:
        command = [
            "ansible-playbook",
            "kuadrant.llm.awx_setup",
            "--inventory",
            "localhost,",
            "-e",
            "awx_setup_image=registry.example.com/ee",
        ]
        done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        return int(re.search(r"changed=(\d+)", done.stdout)[1])  # type: ignore[index]

    assert setup() > 0
    assert awx.named("execution_environments")["kuadrant.llm"]["image"] == "registry.example.com/ee"
    kinds = awx.named("credential_types")
    # What is a template to AWX reaches it as it is written.
    assert {kind["name"]: kind["injectors"] for kind in SOURCE["credential_types"]} == {
        name: one["injectors"] for name, one in kinds.items()
    }
    made = awx.named("job_templates")
    for pattern in SOURCE["patterns"]:
        for template in pattern["templates"]:
            job = made.pop(template["name"])
            assert (ROOT / job["playbook"]).is_file()
            assert job["ask_inventory_on_launch"]
            assert job["ask_credential_on_launch"]
            assert bool(job["ask_job_type_on_launch"]) == bool(template.get("check"))
            assert awx.related.get(f"{job['url']}survey_spec/", {}).get("spec", []) == template.get("questions", [])
            assert len(awx.related[f"{job['url']}labels/"]) == len(SOURCE["labels"])
    assert made == {}
    nodes = awx.named("workflow_job_template_nodes")
    assert list(nodes) == [node["identifier"] for node in SOURCE["workflows"][0]["nodes"]]
    followers = {name: [one["id"] for one in awx.related.get(f"{node['url']}success_nodes/", [])] for name, node in nodes.items()}
    order = list(nodes.values())
    assert list(followers.values()) == [[node["id"]] for node in order[1:]] + [[]]
    assert list(awx.named("workflow_approval_templates")) == ["Approve the bill"]

    awx.writes.clear()
    assert (setup(), awx.writes) == (0, []), json.dumps(awx.writes)
