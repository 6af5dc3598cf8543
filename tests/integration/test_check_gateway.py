# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook check_gateway beside others, and without an inventory that describes the gateway."""

from __future__ import annotations

import concurrent.futures
import json
import typing as t

import pytest

# The local stack, and no inventory: nothing describes tiers or keys.
BARE = ("--inventory", "localhost,", "--connection", "local")


@pytest.fixture
def users_key(run_api_key: t.Callable[..., dict[str, t.Any]]) -> t.Iterator[str]:
    """A key of a user who happens to be called as the smoke request once was."""
    name = "gateway-smoke"
    key = {"name": name, "user": name, "tier": "free"}
    assert "failed" not in run_api_key(namespace="llm", keys=[key])
    yield name
    run_api_key(namespace="llm", keys=[{"name": name, "state": "absent"}])


def test_two_checks_at_once_disturb_neither_each_other_nor_a_user(playbook: t.Any, kubectl: t.Any, users_key: str) -> None:
    before = kubectl("-n", "llm", "get", "secret", users_key, "-o", "jsonpath={.metadata.uid}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _number: playbook("kuadrant.llm.check_gateway"), range(2)))
    for done in runs:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert kubectl("-n", "llm", "get", "secret", users_key, "-o", "jsonpath={.metadata.uid}") == before
    left = json.loads(kubectl("-n", "llm", "get", "secret", "-l", "kuadrant.llm/purpose=check", "-o", "json"))
    assert left["items"] == []


def test_keys_that_no_inventory_describes_are_seen(playbook: t.Any, users_key: str) -> None:
    done = playbook("kuadrant.llm.check_gateway", {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}, *BARE)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Nobody has a key yet" not in done.stdout
    assert f"Try it as {users_key} (free)" in done.stdout


def test_a_cluster_gets_no_tiers_that_are_not_described(playbook: t.Any) -> None:
    done = playbook("site.yml", {"cluster_provider": "existing", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}, *BARE)
    assert done.returncode != 0
    assert "llm_gateway_tiers: is empty; describe at least one tier" in done.stdout
