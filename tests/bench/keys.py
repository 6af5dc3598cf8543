# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What managing ten thousand keys costs, and how fast a key dies: figures for build/bench/keys.json and a table. Run by `make bench-keys`.

A local stack of its own is started from the cache and removed at the end; LLM_TEST_STATE_DIR and LLM_BENCH_PORT_BASE name one that runs.
The floor is the same Secrets written to the same API server with raw HTTP over as many keep-alive connections as the module uses.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import json
import os
import queue
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
import urllib.parse
from pathlib import Path

import yaml
from figures import Figures, write
from keys_traffic import Call, Load, deaths, parallel, statuses

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "bench-keys"
PORT_BASE = 29000
AUTHORINO_METRICS = 14  # offset of its port, as in roles/local_stack
TIERS = [{"name": "bench"}, {"name": "bench-other"}]
KEYS, CHANGED, LOOPED, REVOKED, ROTATED = 10_000, 100, 50, 1_000, 500
CONNECTIONS, REVOKED_AT_ONCE = 8, 50
RATE, OVERLAP = 100, 45  # requests a second during the rotations; seconds for which the old values live on

Entry = dict[str, t.Any]


class Api:
    """The API server of the stack, asked directly."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._address = urllib.parse.urlsplit(cluster["server"]).netloc
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": "application/json"}

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, context=self._context, timeout=120)

    def ask(self, connection: http.client.HTTPSConnection, method: str, path: str, body: bytes | None = None) -> t.Any:
        connection.request(method, path, body, self._headers)
        response = connection.getresponse()
        data = response.read()
        if response.status >= 400 and response.status not in (404, 504):
            raise SystemExit(f"bench: {method} {path}: {response.status} {data[:300]!r}")
        return data

    def secrets(self, namespace: str = NAMESPACE) -> dict[str, Entry]:
        listed = json.loads(self.ask(self.connection(), "GET", f"/api/v1/namespaces/{namespace}/secrets"))
        return {secret["metadata"]["name"]: secret for secret in listed["items"]}

    def values(self, namespace: str = NAMESPACE) -> dict[str, str]:
        data = {name: secret.get("data", {}).get("api_key") for name, secret in self.secrets(namespace).items()}
        return {name: base64.b64decode(value).decode() for name, value in data.items() if value}

    def delete_all(self) -> None:
        while json.loads(self.ask(self.connection(), "GET", f"/api/v1/namespaces/{NAMESPACE}/secrets?limit=1"))["items"]:
            # The server stops after a minute, with 504, or hangs up where it is busy.
            with contextlib.suppress(http.client.RemoteDisconnected):
                self.ask(self.connection(), "DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets")

    def floor(self, secrets: t.Iterable[Entry]) -> float:
        """Seconds to create these Secrets and nothing else: bodies are ready, answers are not looked at."""
        bodies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for secret in secrets:
            kept = {name: secret["metadata"][name] for name in ("name", "labels", "annotations")}
            bodies.put(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": kept, "data": secret["data"]}).encode())

        def run() -> None:
            connection = self.connection()
            with contextlib.suppress(queue.Empty):
                while True:
                    self.ask(connection, "POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", bodies.get_nowait())

        threads = [threading.Thread(target=run) for _number in range(CONNECTIONS)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - started


def api_key(api: Api, keys: list[Entry], **options: t.Any) -> Figures:
    """One run of the module in a process of its own: its seconds, requests, memory and result."""
    given = {"namespace": NAMESPACE, "kubeconfig": str(api.kubeconfig), "keys": keys, **options}
    text, environment = json.dumps(given), {**os.environ, "PYTHONPATH": str(ROOT / "build/collections")}
    command = [sys.executable, str(ROOT / "tests/bench/keys_module.py"), str(time.monotonic())]
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {done.stderr[-2000:]}")
    run: Figures = json.loads(done.stdout)
    if run["result"].get("failed"):
        raise SystemExit(f"bench: {run['result']['msg']}")
    return run


def settled(port_base: int) -> None:
    """Wait until Authorino has worked off what was written: it shares the machine with what is measured next."""
    connection, quiet = http.client.HTTPConnection("127.0.0.1", port_base + AUTHORINO_METRICS, timeout=30), 0
    while quiet < 5:
        connection.request("GET", "/metrics")
        waiting = [
            line for line in connection.getresponse().read().decode().splitlines() if line.startswith('workqueue_depth{name="secret"}')
        ]
        quiet = quiet + 1 if waiting and waiting[0].split()[-1] == "0" else 0
        time.sleep(0.2)


def writes(run: Figures) -> int:
    return sum(count for method, count in run["requests"].items() if method != "GET")


def keys_of(count: int, **fields: str) -> list[Entry]:
    return [{"name": f"key-{number:05d}", "user": f"user-{number % 1000:03d}", "tier": "bench", **fields} for number in range(count)]


def mass(api: Api, port_base: int) -> Figures:
    """Create, look at and change ten thousand keys, beside the floor. Each creates them in turn, twice: the server's age matters too."""
    keys = keys_of(KEYS)
    creations, floors = [], []
    for _turn in range(2):
        api.delete_all()
        settled(port_base)
        creations.append(api_key(api, keys))
        secrets = list(api.secrets().values())
        api.delete_all()
        settled(port_base)
        floors.append(api.floor(secrets))
        settled(port_base)
    floor, created = min(floors), min(creations, key=lambda run: run["seconds"])
    unchanged = api_key(api, keys)
    if unchanged["result"]["changed"]:
        raise SystemExit("bench: the Secrets of the floor are not those of the module")
    changed = api_key(api, [*({**key, "tier": "bench-other"} for key in keys[:CHANGED]), *keys[CHANGED:]])
    return {
        "keys": KEYS,
        "floor_create_s": floor,
        "create_s": created["seconds"],
        "create_ratio": created["seconds"] / floor,
        "floor_create_each_s": [round(seconds, 3) for seconds in floors],
        "create_each_s": [round(run["seconds"], 3) for run in creations],
        "noop_s": unchanged["seconds"],
        "noop_requests": sum(unchanged["requests"].values()),
        "noop_writes": writes(unchanged),
        "changed_1_percent_s": changed["seconds"],
        "changed_1_percent_writes": writes(changed),
        "peak_mib": max(run["peak_mib"] for run in (*creations, unchanged, changed)),
    }


def loop(api: Api) -> float:
    """Seconds per key of a loop of kubernetes.core.k8s: the difference between many keys and one, without Ansible's start."""

    def seconds(count: int) -> float:
        variables = {"kubeconfig": str(api.kubeconfig), "key_namespace": NAMESPACE, "count": count}
        started = time.monotonic()
        command = ["ansible-playbook", "tests/bench/keys_loop.yml", "-e", json.dumps(variables)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {done.stdout[-2000:]}")
        return time.monotonic() - started

    one = seconds(1)
    return (seconds(LOOPED) - one) / (LOOPED - 1)


def revocations(api: Api, url: str) -> Figures:
    """How long after the module's return the first refusal comes, with all the other keys in place."""
    values = api.values()
    names = sorted(values)[CHANGED : CHANGED + REVOKED]
    alive = statuses(url, [values[name] for name in names])
    if set(alive.values()) != {200}:
        raise SystemExit(f"bench: not every key works before it is revoked: {sorted(set(alive.values()))}")
    waited: dict[str, float] = {}
    for start in range(0, REVOKED, REVOKED_AT_ONCE):
        chosen = names[start : start + REVOKED_AT_ONCE]
        api_key(api, [{"name": name} for name in chosen], state="revoked")
        waited |= deaths(url, [values[name] for name in chosen], time.time())
    accepted = [status for _turn in range(3) for status in statuses(url, list(waited)).values() if status not in (401, 403)]
    seconds = sorted(waited.values())
    return {
        "revoked": len(waited),
        "revoke_p50_s": statistics.median(seconds),
        "revoke_p99_s": seconds[len(seconds) * 99 // 100],
        "revoke_max_s": seconds[-1],
        "revoked_and_accepted": len(accepted),
    }


def rotations(api: Api, url: str) -> Figures:
    """Rotate under load. A call is valid with the old value until its moment, and with the new one from the module's return on."""
    entries = keys_of(CHANGED + REVOKED + ROTATED)[CHANGED + REVOKED :]
    names = [entry["name"] for entry in entries]
    held = api.values()
    old = {name: held[name] for name in names}
    new: dict[str, str] = {}

    def choose(number: int) -> str:
        name = names[number // 2 % len(names)]
        return new.get(name, old[name]) if number % 2 else old[name]

    with Load(url, RATE, choose) as load:
        time.sleep(2)
        run = api_key(api, [{**entry, "rotation": "bench", "overlap": f"{OVERLAP}s"} for entry in entries], return_secret=True)
        new |= {entry["name"]: entry["key"] for entry in run["result"]["api_keys"]}
        ends = {old[entry["name"]]: _seconds(entry["previous"][0]["expires_at"]) for entry in run["result"]["api_keys"]}
        time.sleep(max(0.0, max(ends.values()) - time.time()))
        late = [call for _turn in range(3) for call in _asked(url, list(old.values()))]
    dead = statuses(url, list(old.values()))
    valid = [call for call in load.calls if call.key not in ends or call.answered < ends[call.key]]
    after = [call for call in (*load.calls, *late) if call.key in ends and call.sent >= ends[call.key] and call.status == 200]
    span = max(call.answered for call in load.calls) - min(call.sent for call in load.calls)
    cleaned = api_key(api, [{**entry, "rotation": "bench"} for entry in entries])
    return {
        "rotated": len(new),
        "rotate_s": run["seconds"],
        "rotate_requests_per_second": len(load.calls) / span,
        "rotate_valid_calls": len(valid),
        "rotate_refused_valid_calls": sum(call.status in (401, 403) for call in valid),
        "rotate_failed_otherwise": sorted(f"{call.status}" for call in valid if call.status not in (200, 401, 403)),
        "rotate_latest_death_s": max((call.sent - ends[call.key] for call in after), default=0.0),
        "rotate_old_values_alive": sum(status == 200 for status in dead.values()),
        "rotate_cleaned_up": sum(entry["action"] == "clean_up" for entry in cleaned["result"]["api_keys"]),
    }


def _asked(url: str, keys: list[str]) -> list[Call]:
    calls: list[Call] = []
    parallel(url, lambda client, key: calls.append(client.call(key)), keys)
    return calls


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def play(*arguments: str) -> None:
    done = subprocess.run(["ansible-playbook", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: ansible-playbook {' '.join(arguments)}: {done.stdout[-2000:]}")


def measure(state: Path, port_base: int) -> Figures:
    api, url = Api(state / "kubeconfig"), f"http://127.0.0.1:{port_base}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    api.ask(api.connection(), "POST", "/api/v1/namespaces", json.dumps(namespace).encode())
    try:
        figures = mass(api, port_base)
        settled(port_base)
        looped = loop(api)
        figures |= {"loop_per_key_s": looped, "loop_per_key_ratio": looped / (figures["create_s"] / KEYS)}
        settled(port_base)
        figures |= revocations(api, url)
        figures |= rotations(api, url)
    finally:
        api.ask(api.connection(), "DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


def main() -> None:
    running = os.environ.get("LLM_TEST_STATE_DIR")
    port_base = int(os.environ.get("LLM_BENCH_PORT_BASE", PORT_BASE))
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as scratch:  # a short path: unix sockets lie under it
        state = Path(running or scratch)
        stack = {"local_stack_state_dir": str(state), "local_stack_port_base": port_base}
        variables = json.dumps({**stack, "llm_gateway_tiers": TIERS, "llm_gateway_keys": []})
        play("site.yml", "-e", variables)
        try:
            figures = measure(state, port_base)
        finally:
            if not running:
                play("playbooks/teardown.yml", "-e", variables)
    write("keys", figures)


if __name__ == "__main__":
    main()
