# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run of api_key that is killed half way, on a real API server: the next one finishes it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import typing as t

import pytest

NAMESPACE = f"api-key-killed-{os.getpid()}"
COUNT = 800

Kubectl = t.Callable[..., str]
Secrets = t.Callable[[], dict[str, t.Any]]


@pytest.fixture(scope="module", autouse=True)
def _namespace(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def secrets(kubectl: Kubectl) -> Secrets:
    """All Secrets of the namespace, by name."""

    def read() -> dict[str, t.Any]:
        listed = json.loads(kubectl("get", "secrets", f"--namespace={NAMESPACE}", "--output=json"))
        return {secret["metadata"]["name"]: secret for secret in listed["items"]}

    return read


def options(fields: dict[str, str]) -> dict[str, t.Any]:
    """Many entries with these fields."""
    return {
        "namespace": NAMESPACE,
        "keys": [{"name": f"key-{number}", "user": "user", "tier": "free", **fields} for number in range(COUNT)],
    }


def tier(secret: dict[str, t.Any]) -> str:
    return str(secret["metadata"]["annotations"]["secret.kuadrant.io/plan-id"])


def rotation(secret: dict[str, t.Any]) -> str | None:
    found: str | None = secret["metadata"]["annotations"].get("kuadrant.llm/rotation")
    return found


STEPS = [
    # What to apply, how much of it is done, and the Secrets beside the keys that are left when it is.
    pytest.param({}, len, 0, id="create"),
    pytest.param(
        {"tier": "gold"}, lambda secrets: sum(name.endswith(".stand-in") for name in secrets), 0, id="refresh, while it stands in"
    ),
    pytest.param({"tier": "silver"}, lambda secrets: sum(tier(one) == "silver" for one in secrets.values()), 0, id="refresh, earlier"),
    pytest.param(
        {"tier": "silver", "rotation": "r1"},
        lambda secrets: sum(".previous-" in name for name in secrets),
        COUNT,
        id="rotate, while it is kept",
    ),
    pytest.param(
        {"tier": "silver", "rotation": "r2"},
        lambda secrets: sum(rotation(one) == "r2" for name, one in secrets.items() if ".previous-" not in name),
        2 * COUNT,
        id="rotate, while it changes",
    ),
    pytest.param({"state": "revoked"}, lambda secrets: sum("data" not in one for one in secrets.values()), 0, id="revoke"),
]


@pytest.mark.parametrize(("fields", "done", "beside"), STEPS)
def test_killed_run_is_finished_by_the_next(
    fields: dict[str, str],
    done: t.Callable[[dict[str, t.Any]], int],
    beside: int,
    start_api_key: t.Callable[..., subprocess.Popen[str]],
    run_api_key: t.Callable[..., dict[str, t.Any]],
    secrets: Secrets,
    eventually: t.Any,
) -> None:
    killed = start_api_key(**options(fields))
    eventually(lambda: done(secrets()) >= 50 or killed.poll() is not None, 120)
    killed.kill()
    assert killed.wait() == -9, "it was finished before it could be killed: raise COUNT"
    # What it had sent before still takes effect, and would be another client's change to a run that starts within the same moment.
    eventually(lambda: secrets() == secrets(), 60)

    result = run_api_key(**options(fields))
    assert not result.get("failed"), result.get("msg")
    after = secrets()
    keys = {f"key-{number}": after.pop(f"key-{number}") for number in range(COUNT)}
    assert len(after) == beside
    assert {tier(one) for one in keys.values()} == {fields.get("tier", "free" if "state" not in fields else "silver")}
    assert not any("kuadrant.llm/refreshing" in one["metadata"]["annotations"] for one in (*keys.values(), *after.values()))
    values = [base64.b64decode(one["data"]["api_key"]) for one in (*keys.values(), *after.values()) if "data" in one]
    assert len(values) == len(set(values)) == (0 if "state" in fields else COUNT + beside)

    assert run_api_key(**options(fields))["changed"] is False
