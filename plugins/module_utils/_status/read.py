# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What the page shows, each part read by the functions of the module that tells it, and kept for some seconds for all who look."""

from __future__ import annotations

import dataclasses
import datetime
import json
import threading
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.listing import KeyFilter, listing
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.examine import examine, result_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Answered, Scope, Snapshot
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.read import ask_prometheus, probe, read_keys, read_objects
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._gateway import GatewayClient, gateway_client
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import connect
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import require_anchor
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import parse_trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import signature_of
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._names import USAGE_PATH
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import from_prometheus, parse_pricing
from ansible_collections.kuadrant.llm.plugins.module_utils._report.statement import Statement
from ansible_collections.kuadrant.llm.plugins.module_utils._status.bearer import end_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.counters import Counter, parse_counters, path_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.options import Asker
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import NAMES
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.inspection import target_facts
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import connect_prometheus

Value = t.TypeVar("Value")

#: For how many seconds a part is not read again. A bill is many samples, and the doctor looks at all of the cluster.
FRESH: t.Final = {"keys": 3.0, "tiers": 15.0, "counters": 2.0, "statement": 15.0, "doctor": 60.0, "ledger": 30.0}
_TIMEOUT = 10.0  # seconds, of a request to the gateway and to the limiter


@dataclasses.dataclass(frozen=True)
class Known(t.Generic[Value]):
    """A part, or (``value`` None) why it is not known."""

    value: Value | None
    trouble: str | None = None


class Kept(t.Generic[Value]):
    """Reads a part when it is asked for and what is kept is old. Whoever asks meanwhile gets the old one; only at first all wait."""

    def __init__(self, read: t.Callable[[], Value], seconds: float, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._read, self._seconds, self._clock = read, seconds, clock
        self._lock = threading.Lock()
        self._until = float("-inf")
        self._known: Known[Value] | None = None

    def get(self) -> Known[Value]:
        known = self._known
        if known is not None and (self._clock() < self._until or not self._lock.acquire(blocking=False)):
            return known
        if known is None:
            self._lock.acquire()
        try:
            if self._known is None or self._clock() >= self._until:
                try:
                    self._known = Known(self._read())
                except GatewayError as exc:
                    self._known = Known(None, exc.message)
                self._until = self._clock() + self._seconds
            return self._known
        finally:
            self._lock.release()


class Parts(t.Protocol):
    """All that a page is made of; the tests have one that asks no server."""

    @property
    def settings(self) -> t.Mapping[str, t.Any]: ...

    def keys(self) -> Known[list[dict[str, t.Any]]]:
        """As M(kuadrant.llm.api_key_info) lists them, but those that a check of the gateway has for a moment."""

    def tiers(self) -> Known[dict[str, t.Any]]:
        """As M(kuadrant.llm.tier_info) tells them."""

    def counters(self) -> Known[list[Counter]]:
        """What limits have left."""

    def statement(self) -> Known[Statement]:
        """The bill of M(kuadrant.llm.chargeback) that ends now."""

    def doctor(self) -> Known[dict[str, t.Any]]:
        """As M(kuadrant.llm.gateway_doctor) finds it."""

    def ledger(self) -> Known[dict[str, t.Any]]:
        """The last close, and who signed it."""

    def caller(self, key: str) -> dict[str, t.Any] | None:
        """What the gateway tells the holder of this key (``GET /v1/usage``); None if it does not let the key in."""


class GatewayParts:
    """:class:`Parts` of a gateway that runs."""

    def __init__(self, settings: dict[str, t.Any]) -> None:
        self.settings = settings
        parts = {name: Kept(getattr(self, f"_{name}"), seconds) for name, seconds in FRESH.items()}
        self._parts: dict[str, Kept[t.Any]] = parts
        self._pricing = parse_pricing(settings) if settings["tiers"] or settings["price_book"] else None

    def keys(self) -> Known[list[dict[str, t.Any]]]:
        return self._parts["keys"].get()

    def tiers(self) -> Known[dict[str, t.Any]]:
        return self._parts["tiers"].get()

    def counters(self) -> Known[list[Counter]]:
        return self._parts["counters"].get()

    def statement(self) -> Known[Statement]:
        return self._parts["statement"].get()

    def doctor(self) -> Known[dict[str, t.Any]]:
        return self._parts["doctor"].get()

    def ledger(self) -> Known[dict[str, t.Any]]:
        return self._parts["ledger"].get()

    def caller(self, key: str) -> dict[str, t.Any] | None:
        # A token of an issuer is read behind the one word; what may stand before a key is a choice.
        with self._gateway(**({} if end_of(key) is None else {"key_prefix": "Bearer"})) as client:
            answer = client.get(USAGE_PATH, key)
        if answer.status in (401, 403):
            return None
        if answer.status == 404:
            raise GatewayError(f"The gateway does not serve {USAGE_PATH}, which needs the custom Limitador: no user can sign in.")
        if answer.status != 200:
            raise GatewayError(f"The gateway answered {answer.status or answer.text} when it was asked whose key this is. Try again.")
        return t.cast("dict[str, t.Any]", _json(answer.text, self.settings["gateway_url"] + USAGE_PATH))

    def _asker(self) -> t.Any:
        return Asker(self.settings)

    def _gateway(self, **other: str) -> t.Any:
        options = {name: self.settings[name] for name in ("hostname", "ca_path", "key_prefix")} | other
        return gateway_client(
            self._asker(),
            self.settings["gateway_url"],
            path="/v1/chat/completions",
            model="none",
            stream=False,
            timeout=_TIMEOUT,
            **options,
        )

    def _labels(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.settings["key_labels"].items()}

    def _keys(self) -> list[dict[str, t.Any]]:
        keys = stored_keys(connect(self._asker()), self.settings["namespace"], self._labels())
        return [key for key in listing(keys, KeyFilter(), datetime.datetime.now(datetime.UTC)) if not key["temporary"]]

    def _tiers(self) -> dict[str, t.Any]:
        target = Target("Gateway", self.settings["gateway"], self.settings["namespace"])
        return target_facts(apply.look_around(connect(self._asker()), target, NAMES), target)

    def _counters(self) -> list[Counter]:
        url = self.settings["limitador_url"]
        if not url or not self.settings["limitador_namespace"]:
            raise GatewayError("limitador_url or limitador_namespace is not given, so it is not known what limits have left.")
        client = GatewayClient(url, hostname=None, path="", model="", stream=False, timeout=_TIMEOUT)
        found: list[Counter] = []
        try:
            for namespace in self.settings["limitador_namespace"]:
                answer = client.get(path_of(namespace), None)
                if answer.status != 200:
                    raise GatewayError(
                        f"Limitador at {url} answered {answer.status or answer.text} when it was asked what limits have left."
                    )
                found += parse_counters(_json(answer.text, url))
        finally:
            client.close()
        return found

    def _statement(self) -> Statement:
        if not self.settings["prometheus_url"] or self._pricing is None:
            raise GatewayError("prometheus_url, or tiers and price_book, are not given, so nothing can be measured or priced.")
        return from_prometheus(self._asker(), self._pricing, "none")

    def _doctor(self) -> dict[str, t.Any]:
        told, now, kube = self.settings, datetime.datetime.now(datetime.UTC), connect(self._asker())
        scope = Scope(told["namespace"], told["gateway"], told["kuadrant_namespace"], self._labels(), told["kubectl"])
        objects = read_objects(kube, scope)
        asked = ask_prometheus(connect_prometheus(self._asker())) if told["prometheus_url"] else Answered()
        with self._gateway() as client:
            probes = probe(told["gateway_url"], client.send)
        snapshot = Snapshot(scope, now, objects.found, objects.unseen, read_keys(kube, scope, now), asked, probes)
        return result_of(examine(snapshot), snapshot)

    def _ledger(self) -> dict[str, t.Any]:
        if not self.settings["ledger_dir"]:
            raise GatewayError("ledger_dir is not given, so no period is known to be closed.")
        ledger, trust = Ledger(self.settings["ledger_dir"]), parse_trust(self._asker())
        entries = ledger.entries()
        closed = [entry for entry in entries if entry.closes]
        if not closed:
            return {"close": None}
        require_anchor(ledger, entries, trust.anchors)
        last = closed[-1]
        signature = signature_of(ledger, last, trust.signers)
        head = ledger.last(last)
        close = {
            "unit": last.period.unit,
            "start": format_time(last.period.start),
            "end": format_time(last.period.end),
            "file": last.path,
            "seq": head.seq,
            "sha256": head.sha256,
            "signed_by": None if signature is None else signature.who,
        }
        return {"close": close, "closes": len(closed), "corrections": sum(entry.correction for entry in entries)}


def _json(text: str, url: str) -> t.Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise GatewayError(f"{url} answered with what is no JSON.") from exc
