# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Probes of the gateway: requests with and without keys, and whether the answers are those that were expected."""

from __future__ import annotations

import contextlib
import dataclasses
import http
import json
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

EXCERPT = 200  # characters of an unexpected response that are shown
PAUSE = 0.5  # seconds between two tries while a probe settles
NO_POLICY = '"no_policy"'  # the code with which a Gateway that denies by default refuses
UNREACHABLE = 0  # the "status" of a request that got no response


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A response, or (``status`` 0) why there was none. ``tokens``: what it says that it cost, None if it does not."""

    status: int
    text: str = dataclasses.field(default="", repr=False)
    tokens: int | None = None


#: Sends one request with this key (None: without) and waits for the answer. Never raises for what the network does.
Send: t.TypeAlias = "t.Callable[[str | None], Answer]"


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """Some requests, one after the other, with one key and the status expected of each."""

    name: str
    expected: tuple[int, ...]
    key: str | None = dataclasses.field(default=None, repr=False)
    secret: tuple[str, str] | None = None  # namespace and name of the key's Secret


@dataclasses.dataclass(frozen=True, slots=True)
class ProbeOutcome:
    probe: Probe
    answers: tuple[Answer, ...]
    skipped: bool = False

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    @property
    def ok(self) -> bool:
        return self.skipped or self.statuses == list(self.probe.expected)

    @property
    def tokens(self) -> int | None:
        told = [answer.tokens for answer in self.answers if answer.tokens is not None]
        return sum(told) if told else None

    def entry(self) -> dict[str, t.Any]:
        """The probe as the module returns it."""
        return {
            "name": self.probe.name,
            "expected": list(self.probe.expected),
            "statuses": self.statuses,
            "tokens": self.tokens,
            "ok": self.ok,
            "skipped": self.skipped,
        }


def parse_probes(raw: t.Sequence[t.Mapping[str, t.Any]]) -> list[Probe]:
    """Check all probes, or raise one :class:`GatewayError` that names every bad one."""
    probes, problems = [], []
    for index, item in enumerate(raw):
        where, expect, count, key = f"probes[{index}] ({item['name']})", item["expect"], item.get("count"), item.get("key")
        secret = item.get("key_secret")
        if any(not 100 <= status <= 599 for status in expect) or not expect:
            problems.append(f"{where}: expect: must be HTTP statuses such as 200, 401, 403 and 429")
        if count is not None and count < 1:
            problems.append(f"{where}: count: must be at least 1")
        elif count is not None and len(expect) not in (1, count):
            problems.append(f"{where}: expect: has {len(expect)} statuses for {count} requests; give one for all, or one for each")
        if key is not None and (not key or not all("!" <= character <= "~" for character in key)):
            problems.append(f"{where}: key: must be visible ASCII characters without spaces, since it travels in a header")
        expected = tuple(expect) * (count or 1) if len(expect) == 1 else tuple(expect)
        probes.append(Probe(item["name"], expected, key, (secret["namespace"], secret["name"]) if secret else None))
    if problems:
        raise GatewayError("No request was sent. " + "; ".join(problems) + ".", problems=problems)
    return probes


def tokens_of(text: str) -> int | None:
    """``usage.total_tokens`` of a response body, or of the last event of a stream that has it."""
    events = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    for event in reversed(events or [text]):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json.loads(event)["usage"]["total_tokens"])
    return None


def run_probe(
    probe: Probe,
    send: Send,
    *,
    settle: float = 0,
    clock: t.Callable[[], float] = time.monotonic,
    pause: t.Callable[[float], None] = time.sleep,
) -> ProbeOutcome:
    """Send the requests of a probe. For up to ``settle`` seconds the first one is repeated until it is answered as expected."""
    deadline = clock() + settle
    answer = send(probe.key)
    while answer.status != probe.expected[0] and _is_free(answer.status, probe.expected[0]) and clock() < deadline:
        pause(PAUSE)
        answer = send(probe.key)
    return ProbeOutcome(probe, (answer, *(send(probe.key) for _expected in probe.expected[1:])))


def _is_free(status: int, expected: int) -> bool:
    """Whether a request may be repeated without spending quota that the next ones need: it was refused, or is to be refused anyway."""
    return status in (UNREACHABLE, 401, 403, 404) or status >= 500 or expected in (401, 403, 404)


def judge(outcomes: t.Sequence[ProbeOutcome], url: str) -> None:
    """Raise if a probe was not answered as expected: which, expected, got, what the response said, what to do."""
    complaints = []
    for outcome in outcomes:
        if outcome.ok:
            continue
        number = next(index for index, status in enumerate(outcome.statuses) if status != outcome.probe.expected[index])
        answer, expected = outcome.answers[number], outcome.probe.expected[number]
        said = f' saying "{_excerpt(answer.text, outcome.probe.key)}"' if answer.text else ""
        complaints.append(
            f'Probe "{outcome.probe.name}" failed at {url}: expected {_list(outcome.probe.expected)}, got {_list(outcome.statuses)}: '
            f"request {number + 1} was answered {_title(answer.status)}{said}. {_remedy(answer.status, expected, answer.text)}"
        )
    if complaints:
        raise GatewayError(" ".join(complaints))


def _excerpt(text: str, key: str | None) -> str:
    text = " ".join((text.replace(key, "********") if key else text).split())
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "…"


def _list(statuses: t.Iterable[int]) -> str:
    return ", ".join(str(status) if status else "no answer" for status in statuses)


def _title(status: int) -> str:
    if not status:
        return "not at all"
    return f"{status} {http.HTTPStatus(status).phrase}" if status in http.HTTPStatus._value2member_map_ else str(status)


def _remedy(status: int, expected: int, text: str) -> str:
    if status == UNREACHABLE:
        return "Check the url and that the gateway runs."
    if expected == 401 and status < 400:
        return "No AuthPolicy is enforced on this route: look at its status conditions."
    if status == 403 and (expected == 401 or NO_POLICY in text):
        return (
            "No AuthPolicy is in effect on this route, and the gateway refuses what none admits: run role authorization again, "
            "and look at the status conditions of the policy."
        )
    if expected == 403 and status < 400:
        return "The AuthPolicy lets this key pass: look at its rules, and at the groups and expiry of the key."
    if expected == 429:
        return "The limit was not reached: look at the RateLimitPolicy's status, the key's tier, and whether the window ended in between."
    if status >= 500:
        return "The gateway or what stands behind it is in trouble: look at their logs."
    return {
        401: "The gateway does not know this key: api_key_info tells whether its Secret carries the labels that the AuthPolicy selects.",
        403: "The key is known and not allowed: check its groups and expiry, and the AuthPolicy.",
        404: "No route matches: check hostname and path, the status of the HTTPRoute, and whether llm_gateway_paths has the path.",
        429: "The quota of this user is used up: wait for the window to end, or use another key.",
    }.get(status, "Check the path and the request.")
