# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stack as the tests of tokens talk to it: a client, and what limiter, gateway and model server count on their own."""

from __future__ import annotations

import base64
import collections
import contextlib
import dataclasses
import json
import re
import threading
import typing as t

import requests

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import base_models_of

HOST = "tokens.llm.example"
PATHS = ("/v1/chat/completions", "/v1/completions")


@dataclasses.dataclass
class Answer:
    """What the client saw. ``cut``: the model server hung up in the middle of it, as the simulator does when others hang up on it."""

    status: int
    prompt: int | None = None
    completion: int | None = None
    cut: bool = False


class Client:
    """Sends requests of the test's users through the gateway."""

    def __init__(self, gateway_url: str, kubectl: t.Any, model: str) -> None:
        self._url, self._kubectl, self.model = gateway_url, kubectl, model
        self._local = threading.local()
        self._keys: dict[str, str] = {"nobody": "no such key"}

    def send(self, user: str, text: str, path: str = PATHS[0], *, headers: dict[str, str] | None = None, **fields: t.Any) -> Answer:
        with self._post(user, text, path, headers or {}, fields) as response:
            body = response.content.decode()
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
            assert body.rstrip().endswith("data: [DONE]")
            usage = next((event["usage"] for event in events if event.get("usage")), None)
        else:
            usage = json.loads(body).get("usage") if body.startswith("{") else None
        # The simulator's rare 500 has a usage all the same: it did the work.
        return Answer(response.status_code, *((usage or {}).get(f"{part}_tokens") for part in ("prompt", "completion")))

    def abort(self, user: str, text: str, path: str) -> Answer:
        """Hang up after the first piece of a stream."""
        with self._post(user, text, path, {}, {"stream": True, "stream_options": {"include_usage": True}}) as response:
            next(response.iter_content(1), None)
            response.raw.close()
            return Answer(response.status_code)

    def models(self, user: str) -> int:
        headers = {"Host": HOST, "Authorization": f"APIKEY {self._key(user)}"}
        return requests.get(f"{self._url}/v1/models", headers=headers, timeout=5).status_code

    def _post(self, user: str, text: str, path: str, headers: dict[str, str], fields: dict[str, t.Any]) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        content = {"messages": [{"role": "user", "content": text}]} if path == PATHS[0] else {"prompt": text}
        return t.cast(
            "requests.Response",
            self._local.session.post(
                self._url + path,
                headers={"Host": HOST, "Authorization": f"APIKEY {self._key(user)}", **headers},
                json={"model": self.model, **content, **fields},
                stream=True,
                timeout=30,
            ),
        )

    def _key(self, user: str) -> str:
        if user not in self._keys:
            found = self._kubectl("get", "secret", f"test-tokens-{user}", "-n", "llm", "-o", "jsonpath={.data.api_key}")
            self._keys[user] = base64.b64decode(found).decode()
        return self._keys[user]


@dataclasses.dataclass
class Limiter:
    """Limitador's own counters, for the test's users."""

    url: str
    # Admitted requests that no token limit matched.
    never_reported: int = 0

    def read(self, metric: str, *by: str) -> dict[tuple[str, ...], int]:
        found: collections.Counter[tuple[str, ...]] = collections.Counter()
        for line in requests.get(f"{self.url}/metrics", timeout=5).text.splitlines():
            if line.startswith(f"{metric}{{") and 'limitador_namespace="llm/test-tokens"' in line:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                found[tuple(labels.get(name, "") for name in by)] += int(float(line.rsplit(" ", 1)[1]))
        return dict(found)

    def since(self, before: dict[tuple[str, ...], int], metric: str, *by: str) -> dict[tuple[str, ...], int]:
        now = self.read(metric, *by)
        return {key: value - before.get(key, 0) for key, value in now.items() if value != before.get(key, 0)}

    def on_their_way(self) -> int:
        """Admitted requests whose report has not arrived."""
        metered, unmetered = self.read("metered_calls"), self.read("unmetered_calls")
        return self.read("authorized_calls").get((), 0) - metered.get((), 0) - unmetered.get((), 0)


@dataclasses.dataclass
class Envoy:
    """The gateway's admin page."""

    url: str

    def unlimited(self) -> int:
        """Requests that passed because the limiter's answer was late: Kuadrant waits 100 ms, and fails open."""
        text = requests.get(f"{self.url}/stats", params={"filter": "ratelimit.failure_mode_allowed"}, timeout=5).text
        return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())


@dataclasses.dataclass
class ModelServer:
    """The simulator, past the gateway."""

    url: str

    def tokens(self) -> tuple[int, int]:
        text = requests.get(f"{self.url}/metrics", timeout=5).text
        prompt, completion = (
            sum(int(float(value)) for value in re.findall(rf"^vllm:{name}_tokens_total\{{.*?}} (\S+)$", text, re.MULTILINE))
            for name in ("prompt", "generation")
        )
        return prompt, completion

    @contextlib.contextmanager
    def adapter(self, name: str) -> t.Iterator[str]:
        """A LoRA adapter of the model that is served, loaded for a while."""
        body = {"lora_name": name, "lora_path": f"/adapters/{name}"}
        requests.post(f"{self.url}/v1/load_lora_adapter", json=body, timeout=5).raise_for_status()
        try:
            yield name
        finally:
            requests.post(f"{self.url}/v1/unload_lora_adapter", json=body, timeout=5).raise_for_status()

    def base_models(self) -> dict[str, str]:
        return base_models_of(requests.get(f"{self.url}/v1/models", timeout=5).json())

    def configure(self, **values: t.Any) -> None:
        requests.post(f"{self.url}/admin/config", json=values, timeout=5).raise_for_status()
