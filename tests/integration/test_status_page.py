# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page as a process, on the stack: it shows what Authorino, Limitador, Prometheus and the API server say, to whom it may."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import requests

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = ROOT / "roles/status_page/files/program"
NAMESPACE = "llm"
ALICE, BOB = (f"test-status-page-{os.getpid()}-{name}" for name in ("alice", "bob"))
TOKEN = "the-token-of-an-operator-of-this-test"


@pytest.fixture(scope="module")
def keys(kubectl: t.Any, run_api_key: t.Any) -> t.Iterator[dict[str, str]]:
    """Of alice and bob, in the tier free of the demos: 2 requests in 2 minutes."""
    entries = [{"name": name, "user": name, "tier": "free"} for name in (ALICE, BOB)]
    made = run_api_key(namespace=NAMESPACE, keys=entries, return_secret=True)
    yield {entry["name"]: entry["key"] for entry in made["api_keys"]}
    kubectl("delete", "secret", ALICE, BOB, "--namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def url(
    kubeconfig: str, gateway_url: str, prometheus_url: str, port_base: int, tmp_path_factory: pytest.TempPathFactory, eventually: t.Any
) -> t.Iterator[str]:
    """The page as a supervisor runs it, on the port that the stack has for it."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "token").write_text(TOKEN)
    tier = {"name": "free", "requests": [{"limit": 2, "window": "2m"}], "price": {"request": "0.001"}}
    page = {
        "kubeconfig": kubeconfig,
        "namespace": NAMESPACE,
        "gateway_url": gateway_url,
        "prometheus_url": prometheus_url,
        "limitador_url": f"http://127.0.0.1:{port_base + 18}",
        "limitador_namespace": ["llm/vllm-httproute"],
        "tiers": [tier],
        "period": "10m",
    }
    listen = {"address": "127.0.0.1", "port": port_base + 4, "hosts": ["127.0.0.1"], "secure": False, "streams": 4, "interval": 1}
    settings = {"listen": listen, "page": page, "operator_token_file": str(folder / "token")}
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = {**os.environ, "PYTHONPATH": f"{PROGRAM}:{ROOT / 'build/collections'}"}
    address = f"http://127.0.0.1:{port_base + 4}/"

    def serves() -> bool:
        try:
            return requests.get(f"{address}healthz", timeout=5).status_code == 200
        except requests.ConnectionError:
            assert process.poll() is None, (folder / "log").read_text()
            return False

    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "status_page", str(folder / "settings.json")], env=environment, stdout=log, stderr=log
        ) as process,
    ):
        eventually(serves, 60)
        yield address
        process.terminate()
    assert (folder / "log").read_text() == ""


def text_of(answer: requests.Response) -> str:
    """What is on the page, as a person reads it."""
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def signed_in(url: str, role: str, secret: str) -> requests.Session:
    session = requests.Session()
    answer = session.post(f"{url}sign-in-{role}", data={"secret": secret}, allow_redirects=False, timeout=60)
    assert answer.status_code == 303, answer.text
    return session


def test_page_shows_what_the_gateway_decides(url: str, gateway_url: str, keys: dict[str, str], kubectl: t.Any, eventually: t.Any) -> None:
    def call(user: str) -> int:
        body = {"model": "simulated-model", "messages": [{"role": "user", "content": "one two three"}]}
        headers = {"Authorization": f"Bearer {keys[user]}"}
        return requests.post(f"{gateway_url}/v1/chat/completions", json=body, headers=headers, timeout=10).status_code

    usage = f"{gateway_url}/v1/usage"
    for user in (ALICE, BOB):
        eventually(
            lambda user=user: requests.get(usage, headers={"Authorization": f"Bearer {keys[user]}"}, timeout=10).status_code == 200, 60
        )
    assert [call(ALICE), call(ALICE), call(ALICE)] == [200, 200, 429]

    alice, bob, operator = signed_in(url, "user", keys[ALICE]), signed_in(url, "user", keys[BOB]), signed_in(url, "operator", TOKEN)
    assert requests.post(f"{url}sign-in-user", data={"secret": "no-such-key"}, timeout=60).status_code == 401

    def page(session: requests.Session) -> str:
        return text_of(session.get(url, timeout=60))

    # What is left is known at once, what was used after a scrape.
    assert "free 2 requests in 2m 0%" in page(alice)
    assert "free 2 requests in 2m 100%" in page(bob)
    eventually(lambda: f"{ALICE} free 2 1 " in page(alice), 120, lambda: page(alice))
    assert ALICE not in page(bob)
    assert BOB not in page(alice)
    eventually(lambda: f"{ALICE} free 2 1 " in page(operator), 120, lambda: page(operator))
    whole = page(operator)
    assert f"{ALICE} free 1 33.3 %" in whole  # limited users
    assert f"{BOB} {BOB} free" in whole  # keys
    assert not any(value in whole for value in keys.values())

    # A revoked key ends the session that it opened.
    kubectl("delete", "secret", ALICE, "--namespace", NAMESPACE)
    eventually(lambda: "Your API key" in page(alice), 30)
    assert "Your API key" not in page(bob)
