# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a running stack has to be started again."""

from __future__ import annotations

import collections
import http.server
import json
import socket
import threading
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack import health
from ansible_collections.kuadrant.llm.plugins.modules import stack_info

Json = dict[str, t.Any]
PROXY = "gw-local.llm"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def synced(**acked: str) -> list[Json]:
    """istiod's answer: version 2 of both was sent."""
    states = {LISTENER: acked.get("listener", "2"), CLUSTER: acked.get("cluster", "2")}
    resources = {kind: {"sent": "2", "acked": version, "sentTime": "2026-11-27T22:45:56Z"} for kind, version in states.items()}
    return [{"proxy": "other.llm", "resources": {LISTENER: {"sent": "9"}}}, {"proxy": PROXY, "resources": resources}]


class Site:
    """Answers by path, each in turn; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, collections.deque[tuple[int, t.Any]]] = {}
        of_site = self.answers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers = of_site.get(self.path) or collections.deque([(404, "")])
                status, body = answers.popleft() if len(answers) > 1 else answers[0]
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, *answers: tuple[int, t.Any]) -> None:
        self.answers[path] = collections.deque(answers)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Site]:
    monkeypatch.setattr(health, "_PAUSE", 0.01)
    site = Site()
    threading.Thread(target=site.server.serve_forever, daemon=True).start()
    yield site
    site.server.shutdown()
    site.server.server_close()


@pytest.fixture
def closed() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("proxies", "reasons"),
    [
        (synced(), []),
        (synced(listener="1"), [f"{PROXY} has not taken the Listener of 2026-11-27T22:45:56Z"]),
        (synced(listener="", cluster="1"), ["Cluster", "Listener"]),
        ([], [f"{PROXY} is not connected to istiod"]),
        (None, ["not connected"]),
        ([{"proxy": "other.llm"}], ["not connected"]),
        ([{"proxy": PROXY}], []),
        ([{"proxy": PROXY, "resources": {LISTENER: {"sent": "", "acked": ""}}}], []),
    ],
)
def test_behind_is_who_has_not_taken_what_was_sent(proxies: t.Any, reasons: list[str]) -> None:
    found = health.behind(proxies, PROXY)
    assert len(found) == len(reasons)
    assert all(words in reason for reason, words in zip(found, reasons, strict=True))


def test_a_change_under_way_is_none(site: Site) -> None:
    site.answer("/debug/syncz", (200, synced(listener="1")), (200, synced(listener="1")), (200, synced()))
    assert health.outdated(site.url, site.url, PROXY, 5) == []


def test_what_stays_so_is_told_with_envoys_words(site: Site, closed: str) -> None:
    site.answer("/debug/syncz", (200, synced(listener="1")))
    refused = {"name": "0.0.0.0_80", "error_state": {"details": "script load error"}}
    site.answer("/config_dump?resource=dynamic_listeners&mask=name,error_state.details", (200, {"configs": [{"name": "fine"}, refused]}))
    told = f"{PROXY} has not taken the Listener of 2026-11-27T22:45:56Z"
    assert health.outdated(site.url, site.url, PROXY, 0.05) == [told, "Envoy: script load error"]
    assert health.outdated(site.url, closed, PROXY, 0.05) == [told], "an Envoy that says nothing hides nothing"


@pytest.mark.parametrize(
    ("answer", "words"), [((500, ""), "answers 500"), ((200, "no JSON"), "does not say"), ((200, []), "not connected")]
)
def test_an_istiod_that_does_not_know_is_no_proof(site: Site, answer: tuple[int, t.Any], words: str) -> None:
    site.answer("/debug/syncz", answer)
    (found,) = health.outdated(site.url, site.url, PROXY, 0)
    assert words in found


def test_silent_is_who_never_answers(site: Site, closed: str) -> None:
    site.answer("/well", (200, ""))
    site.answer("/ill", (503, ""))
    site.answer("/late", (503, ""), (503, ""), (200, ""))
    urls = {"well": f"{site.url}/well", "ill": f"{site.url}/ill", "gone": closed}
    assert health.silent(urls, 0.2) == ["gone", "ill"]
    assert health.silent({"late": f"{site.url}/late"}, 60) == []
    assert health.silent({}, 0) == []


def test_who_hangs_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        assert health.silent({"frozen": f"http://127.0.0.1:{hanging.getsockname()[1]}/"}, 0) == ["frozen"]


def test_the_module_asks_only_what_runs(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, site: Site, closed: str) -> None:
    states = {"envoy": "RUNNING", "istiod": "RUNNING", "etcd": "STOPPED"}
    monkeypatch.setattr(stack_info, "processes", lambda _path: states)
    site.answer("/ready", (200, ""))
    site.answer("/debug/syncz", (200, synced(listener="1")))
    options = {
        "supervisor": "/none",
        "health": {"etcd": closed, "envoy": f"{site.url}/ready", "istiod": f"{site.url}/ready"},
        "proxy": {"name": PROXY, "istiod": site.url, "admin": site.url},
        "patience": 0,
    }
    result = run_module(stack_info.main, **options)
    assert (result["idle"], result["silent"], len(result["outdated"])) == (["etcd"], [], 1)
    options["health"]["envoy"] = closed
    result = run_module(stack_info.main, **options)
    assert (result["silent"], result["outdated"]) == (["envoy"], []), "what is started again need not be compared"
    states["istiod"] = "STOPPED"
    assert run_module(stack_info.main, **options)["outdated"] == []
