# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module api_key in a process of its own, for tests that do with it what a playbook cannot, such as killing it; programs of the stack."""

from __future__ import annotations

import configparser
import json
import os
import pathlib
import shlex
import subprocess
import sys
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# Ansible puts its workers out of reach of a signal to ansible-playbook.
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kuadrant.llm.plugins.modules import api_key
with patch_module_args(json.load(sys.stdin)):
    api_key.main()
"""

Start = t.Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def start_api_key(kubeconfig: str) -> Start:
    """Start the module with these options; it prints its result."""

    def start(**options: t.Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "build/collections")}
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", MODULE], env=environment, text=True, **streams)
        assert process.stdin
        process.stdin.write(json.dumps({"kubeconfig": kubeconfig, **options}))
        process.stdin.close()
        process.stdin = None
        return process

    return start


@pytest.fixture(scope="session")
def run_api_key(start_api_key: Start) -> t.Callable[..., dict[str, t.Any]]:
    """Run it to its end: the result."""

    def run(**options: t.Any) -> dict[str, t.Any]:
        printed, errors = start_api_key(**options).communicate(timeout=300)
        assert printed, errors
        return t.cast("dict[str, t.Any]", json.loads(printed))

    return run


@pytest.fixture(scope="session")
def programs(state_dir: pathlib.Path) -> dict[str, str]:
    """Paths of prometheus and promtool, as the stack built them."""
    config = configparser.RawConfigParser()
    config.read(state_dir / "etc/supervisord.conf")
    prometheus = pathlib.Path(shlex.split(config["program:prometheus"]["command"])[0])
    (promtool,) = prometheus.parents[2].glob("promtool/*/promtool")
    return {"prometheus": str(prometheus), "promtool": str(promtool)}


@pytest.fixture(scope="session")
def data_plane_programs(state_dir: pathlib.Path) -> dict[str, str]:
    """Paths of envoy and limitador, as the stack built them."""
    config = configparser.RawConfigParser()
    config.read(state_dir / "etc/supervisord.conf")
    return {name: shlex.split(config[f"program:{name}"]["command"])[0] for name in ("envoy", "limitador")}
