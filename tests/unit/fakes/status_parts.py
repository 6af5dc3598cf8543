# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a status page shows, without a server: people, keys and usage of :mod:`sample_report`, and a page that serves it on loopback."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import sys
import threading
import time
import typing as t

import sample_report
import uvicorn

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.listing import KeyFilter, listing
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import key_labels
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_statement
from ansible_collections.kuadrant.llm.plugins.module_utils._report.statement import Statement
from ansible_collections.kuadrant.llm.plugins.module_utils._status.counters import Counter, parse_counters
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import Known

# The program is a package inside a role: it is imported as the role runs it.
sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "roles/status_page/files/program"))

from status_page.app import make_app

TOKEN = "the-token-of-an-operator-of-tests"
NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
LIMITS = {"free": (2, "2m", 120), "premium": (10, "2m", 120), "enterprise": (100_000, "1h", 3600)}


def _stored(name: str, user: str, tier: str, group: str, expires_at: str | None, **more: t.Any) -> StoredKey:
    value = None if more.get("revoked_at") else f"key-of-{name}"
    return StoredKey(
        name,
        "llm",
        Grant(user, tier, (group,), expires_at),
        value,
        key_labels({"app": "llm-gateway"}),
        uid="1",
        created="2026-10-01T00:00:00Z",
        **more,
    )


def _counter(user: str, tier: str, remaining: int) -> dict[str, t.Any]:
    maximum, _window, seconds = LIMITS[tier]
    variables = {f'descriptors[0]["auth.identity.{name}"]': value for name, value in (("userid", user), ("groups", tier), ("tier", tier))}
    return {
        "limit": {"name": tier, "max_value": maximum, "seconds": seconds},
        "set_variables": variables,
        "remaining": remaining,
        "expires_in_seconds": 87,
    }


@dataclasses.dataclass
class FakeParts:
    """Parts that a test may change. ``bearers`` are by the token of an issuer what the gateway tells its holder."""

    settings: dict[str, t.Any] = dataclasses.field(
        default_factory=lambda: {"title": "Example Corp LLM gateway", "price_book": None, "currency": "EUR"}
    )
    stored: dict[str, StoredKey] = dataclasses.field(default_factory=dict)
    found: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    trouble: str | None = None
    bearers: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, (user, group, tier) in enumerate(sample_report.PEOPLE):
            assert user
            assert group
            assert tier
            name = f"{user}-laptop"
            self.stored[name] = _stored(name, user, tier, group, "2026-12-01T00:00:00Z" if number % 3 == 0 else None)
            self.found.append(_counter(user, tier, (0, 1, LIMITS[tier][0] // 2)[number % 3]))
        self.stored["old-batch"] = _stored("old-batch", "hana", "premium", "support", "2026-11-20T00:00:00Z")
        self.stored["leaked"] = _stored("leaked", "goran", "premium", "support", None, revoked_at="2026-11-02T08:00:00Z")
        self._statement: Statement | None = None

    def keys(self) -> Known[list[dict[str, t.Any]]]:
        return Known(None, self.trouble) if self.trouble else Known(listing(self.stored, KeyFilter(), NOW))

    def tiers(self) -> Known[dict[str, t.Any]]:
        tiers = []
        for name, (maximum, window, _seconds) in LIMITS.items():
            rate = {"limit": maximum, "window": window, "per": "user", "model": None, "shadow": False, "cost": None}
            tokens = name == "enterprise"
            tiers.append({"name": name, "requests": [] if tokens else [rate], "tokens": [rate] if tokens else []})
        said = "Gateway llm/vllm-gateway refuses with 403 what no AuthPolicy admits."
        return Known({"tiers": tiers, "enforced": True, "without_policy": said})

    def counters(self) -> Known[list[Counter]]:
        return Known(parse_counters(self.found))

    def statement(self) -> Known[Statement]:
        if self._statement is None:
            start, end = sample_report.START, sample_report.START + 3 * sample_report.DAY
            source = Source(start, end, "measure usage", sample_report.usage, family="upstream")
            self._statement = make_statement(source, sample_report.options(), "none")
        return Known(self._statement)

    def doctor(self) -> Known[dict[str, t.Any]]:
        finding = {
            "check": "key-expires",
            "severity": "warning",
            "object": "Secret llm/amara-laptop",
            "cause": "The key amara-laptop expires in 6 days.",
            "consequence": "Its user gets 403 from then on.",
            "command": "ansible-playbook kuadrant.llm.keys",
        }
        counts = {"error": 0, "warning": 1, "info": 0}
        return Known({"findings": [finding], "counts": counts, "healthy": False, "summary": "1 warning"})

    def ledger(self) -> Known[dict[str, t.Any]]:
        close = {
            "unit": "day",
            "start": "2026-11-22T00:00:00Z",
            "end": "2026-11-23T00:00:00Z",
            "file": "2026-11/000023_2026-11-22_day.jsonl",
            "seq": 4711,
            "sha256": "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
            "signed_by": "finance (SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s)",
        }
        return Known({"close": close, "closes": 22, "corrections": 1})

    def caller(self, key: str) -> dict[str, t.Any] | None:
        if key in self.bearers:
            return {"object": "usage", **self.bearers[key]}
        names = {one.value: one for one in self.stored.values() if one.value}
        return {"object": "usage", "user": names[key].grant.user} if key in names else None


@contextlib.contextmanager
def serving(parts: t.Any, *, token: str = TOKEN, streams: int = 6, interval: float = 0.1) -> t.Iterator[str]:
    """The address of a page that runs in a thread."""
    app = make_app(parts, token, hosts=["127.0.0.1"], secure=False, streams=streams, interval=interval)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
