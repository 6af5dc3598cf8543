# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider existing on an empty simulated cluster: dry run, installation, second run, dry run again, removal.

The charts, the API server, the operators and the data plane are real; only the containers are not.
"""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest

from .conftest import WHOLE

Done = subprocess.CompletedProcess
Run = t.Callable[..., "Done[str]"]

TIERS = [
    {"name": "free", "requests": [{"limit": 100, "window": "1m"}], "price": {"request": "0.001"}},
    {"name": "premium", "requests": [{"limit": 200, "window": "1m"}], "price": {"request": "0.002"}},
]
VARIABLES = {"llm_gateway_tiers": TIERS, "llm_gateway_keys": [{"name": "alice-laptop", "user": "alice", "tier": "premium"}]}


@pytest.fixture(scope="module")
def predicted(playbook: Run, empty: list[str], passed: Run) -> Done[str]:
    """A dry run on the empty cluster."""
    assert empty
    return passed(playbook("site.yml", VARIABLES, "--check"))


@pytest.fixture(scope="module")
def installed(playbook: Run, predicted: Done[str], passed: Run) -> Done[str]:
    """The first run, with the smoke request at its end."""
    assert predicted
    return passed(playbook("site.yml", VARIABLES))


def test_dry_run_makes_nothing(predicted: Done[str], empty: list[str], inventory: t.Callable[[], list[str]]) -> None:
    assert predicted.returncode == 0
    assert inventory() == empty


def test_dry_run_predicts_the_first_run(predicted: Done[str], installed: Done[str], changed_tasks: t.Callable[[str], list[str]]) -> None:
    will, did = changed_tasks(predicted.stdout), changed_tasks(installed.stdout)
    assert did
    assert {
        "changed without being predicted": [task for task in did if task not in will],
        "predicted without changing": [task for task in will if task not in did],
    } == {"changed without being predicted": [], "predicted without changing": []}


@pytest.mark.usefixtures("installed")
def test_every_release_is_deployed(helm: t.Callable[..., str]) -> None:
    releases = {
        release["chart"].rsplit("-", 1)[0]: release["status"]
        for release in json.loads(helm("list", "--all-namespaces", "--all", "-o", "json"))
    }
    assert releases == {"base": "deployed", "istiod": "deployed", "kuadrant-operator": "deployed"}


@pytest.mark.usefixtures("installed")
def test_every_policy_is_enforced_by_the_real_operators(kubectl: t.Callable[..., str]) -> None:
    policies = json.loads(kubectl("get", "authpolicy,ratelimitpolicy", "--all-namespaces", "-o", "json"))["items"]
    states = {
        policy["kind"]: {c["type"]: c["status"] for c in policy["status"]["conditions"] if c["type"] in ("Accepted", "Enforced")}
        for policy in policies
    }
    enforced = {"Accepted": "True", "Enforced": "True"}
    assert states == {"AuthPolicy": enforced, "RateLimitPolicy": enforced}


def lacks(pod: dict[str, t.Any]) -> list[str]:
    """What the level "restricted" of Pod Security asks of a pod, and this one does not say."""
    whole = pod.get("securityContext", {})
    problems = set()
    for container in pod["containers"]:
        own = {
            **{name: whole[name] for name in ("runAsNonRoot", "seccompProfile") if name in whole},
            **container.get("securityContext", {}),
        }
        wanted = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"}}
        problems |= {name for name, value in wanted.items() if own.get(name) != value}
        problems |= set() if "ALL" in own.get("capabilities", {}).get("drop", ()) else {"capabilities"}
    return sorted(problems)


@pytest.mark.usefixtures("installed")
def test_only_what_upstreams_operators_make_is_less_than_restricted(kubectl: t.Callable[..., str]) -> None:
    """Of the pods of Authorino and Limitador nothing can be said in what their operators read."""
    pods = json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]
    found = {one["metadata"]["generateName"].rsplit("-", 2)[0]: lacks(one["spec"]) for one in pods}
    assert {"istiod", "vllm-simulator", "vllm-gateway-istio", "kuadrant-operator-controller-manager"} <= found.keys()
    assert {name for name, problems in found.items() if problems} <= {"authorino", "limitador-limitador"}, found


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("arguments", [[], ["--check", "--diff"]], ids=["second run", "dry run"])
def test_nothing_changes_any_more(playbook: Run, passed: Run, changed_tasks: t.Callable[[str], list[str]], arguments: list[str]) -> None:
    done = passed(playbook("site.yml", VARIABLES, *arguments))
    assert changed_tasks(done.stdout) == []
    assert "changed=0 " in done.stdout


@pytest.mark.usefixtures("installed")
def test_teardown_leaves_the_cluster_as_it_was(playbook: Run, passed: Run, empty: list[str], same_as: t.Callable[..., None]) -> None:
    passed(playbook("playbooks/teardown.yml", {**VARIABLES, **WHOLE}))
    same_as(empty)
