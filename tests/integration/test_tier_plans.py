# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random tiers through the real gateway: as many requests are admitted as the limits say, exactly, and again when the window has ended.

Limits are per user, group and model, of requests and of tokens that weigh, in several windows; users come with a key, with a token of an
issuer, or with both by turns. LLM_TEST_PLANS is the number of plans (1,000 in a full run), LLM_TEST_SEED what makes them the same again.
For many plans, LLM_TEST_PLANS_BATCH is how many are enforced at the same time, and LLM_TEST_PLANS_PACE how many times longer windows are on
a slow machine. A thousand plans go through the limiter alone, too: `tests/plans.rs` of the custom Limitador.
"""

from __future__ import annotations

import dataclasses
import decimal
import json
import math
import os
import pathlib
import random
import subprocess
import threading
import time
import typing as t

import pytest
import requests
from data_plane import free_ports
from issuer import TIER, Issuer

PLANS = int(os.environ.get("LLM_TEST_PLANS", "5"))
SEED = os.environ.get("LLM_TEST_SEED", "kuadrant.llm")
BATCH = int(os.environ.get("LLM_TEST_PLANS_BATCH", "10"))  # each plan has tiers and users of its own
PACE = int(os.environ.get("LLM_TEST_PLANS_PACE", "1"))
LONG = "1h"  # does not end while the test runs

NAME = f"test-plans-{os.getpid()}"
HOST = f"{NAME}.llm.example"
PLAYBOOK = str(pathlib.Path(__file__).with_name("tier_plans.yml"))
MODELS = ("simulated-model", "not-served")  # what is not served is admitted all the same, and answered 404 at no cost
# How a user says who calls: with a key, a token of the issuer, or now one and now the other.
WAYS = (("key",), ("token",), ("key", "token"))
WEIGHTS: tuple[dict[str, t.Any], ...] = (
    {},
    {"count": "completion"},
    {"count": "prompt"},
    {"cost": {"prompt": 1, "completion": 4}},
    {"cost": {"prompt": 0.3, "completion": 2.5, "cached": 0.1}},
)

Kubectl = t.Callable[..., str]


@dataclasses.dataclass(frozen=True)
class User:
    tier: str
    name: str
    group: str
    ways: tuple[str, ...] = WAYS[-1]

    @property
    def key(self) -> str:
        return f"key-{NAME}-{self.name}"


@dataclasses.dataclass
class Plan:
    tiers: list[dict[str, t.Any]]
    users: list[User]


def random_plan(random_: random.Random, number: int) -> Plan:
    """One or two tiers. Each has a short window, in which a limit is reached, perhaps a long one, a shared one, one of a model, tokens."""
    tiers, users = [], []
    for letter in "ab"[: random_.randint(1, 2)]:
        name, seconds, limit = f"p{number}{letter}", random_.randint(6, 9) * PACE, random_.randint(2, 6)
        rates = [{"limit": limit, "window": f"{seconds}s"}]
        # The first plans have each of these, and each is reached: two users share what is less than their own limits together.
        if number % 4 == 1 or random_.random() < 0.4:
            rates.append({"limit": limit + random_.randint(0, 4), "window": LONG})
        if number % 4 == 2 or random_.random() < 0.4:
            rates.append({"limit": limit + random_.randint(0, limit - 1), "window": f"{seconds + 3}s", "per": "group"})
        if number % 4 == 3 or random_.random() < 0.3:
            rates.append({"limit": random_.randint(1, limit - 1), "window": f"{seconds}s", "model": random_.choice(MODELS)})
        tokens: list[dict[str, t.Any]] = []
        if number % 5 == 4 or random_.random() < 0.3:
            # Of two limits, the one with the longer window is the higher one: else the other one could not be reached.
            windows = (f"{seconds}s", random_.choice((f"{seconds + 1}s", LONG)))
            limits = sorted(random_.sample(range(2, 25), 2))
            tokens = [random_tokens(random_, *rate) for rate in zip(limits, windows, strict=True)]
            tokens = random_.choice((tokens, tokens[:1], tokens[1:]))
        tiers.append({"name": name, "requests": rates} | ({"tokens": tokens} if tokens else {}))
        ways = random_.sample(WAYS, 3)
        users += [User(name, f"{name}-{position}", group, ways[position]) for position, group in enumerate(("one", "one", "two"))]
    return Plan(tiers, users)


def random_tokens(random_: random.Random, limit: int, window: str) -> dict[str, t.Any]:
    """A limit on tokens."""
    rate = {"limit": limit, "window": window, **random_.choice(WEIGHTS)}
    if random_.random() < 0.3:
        rate["per"] = "group"
    if random_.random() < 0.3:
        rate["model"] = random_.choice(MODELS)
    return rate


@dataclasses.dataclass
class Bucket:
    """One counter: its limit, how many requests it has had, and between which two moments its window began."""

    limit: int
    seconds: float
    used: int = 0
    begun: tuple[float, float] = (0.0, 0.0)


class Oracle:
    """What the limits of a plan say as long as no window ends."""

    def __init__(self, plan: Plan) -> None:
        self.rates = {tier["name"]: tier["requests"] + tier.get("tokens", []) for tier in plan.tiers}
        self.requests = {tier["name"]: len(tier["requests"]) for tier in plan.tiers}
        self.buckets: dict[tuple[t.Any, ...], Bucket] = {}

    def of(self, user: User, model: str) -> list[tuple[dict[str, t.Any], bool, Bucket]]:
        """The limits that hold: each with whether it is on tokens, and with its counter for this user."""
        return [
            (
                rate,
                number >= self.requests[user.tier],
                self.buckets.setdefault(
                    (user.tier, number, user.group if rate.get("per") == "group" else user.name), Bucket(rate["limit"], seconds(rate))
                ),
            )
            for number, rate in enumerate(self.rates[user.tier])
            if rate.get("model") in (None, model)
        ]

    def admits(self, user: User, model: str) -> bool:
        return all(bucket.used < bucket.limit for _rate, _tokens, bucket in self.of(user, model))

    def count(self, user: User, model: str, usage: Usage, sent: float, counted: float) -> None:
        for rate, tokens, bucket in self.of(user, model):
            hits = usage.cost(rate) if tokens else 1
            if hits and not bucket.used:
                bucket.begun = (sent, counted)
            bucket.used += hits

    def recovery(self, user: User) -> tuple[float, float]:
        """Between which two moments a user who is refused gets through again."""
        full = [bucket for _rate, _tokens, bucket in self.of(user, MODELS[0]) if bucket.used >= bucket.limit]
        return max(bucket.begun[0] + bucket.seconds for bucket in full), max(bucket.begun[1] + bucket.seconds for bucket in full)


@dataclasses.dataclass(frozen=True)
class Usage:
    """What an answer said that it cost; nothing if it said nothing. ``decided``: by the limiter."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    decided: bool = True

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def cost(self, rate: dict[str, t.Any]) -> int:
        """What it counts against a limit on tokens, by the words of docs/token-limits.md."""
        kind = rate.get("count")
        given = {"prompt": int(kind != "completion"), "completion": int(kind != "prompt")} | rate.get("cost", {})
        prompt, completion, cached = (decimal.Decimal(str(given.get(name, given["prompt"]))) for name in ("prompt", "completion", "cached"))
        return math.ceil((self.prompt - self.cached) * prompt + self.cached * cached + self.completion * completion)


def seconds(rate: dict[str, t.Any]) -> float:
    return float("inf") if rate["window"] == LONG else float(rate["window"].removesuffix("s"))


@dataclasses.dataclass
class Waiting:
    """A user who is refused, until some moment between ``earliest`` and ``latest``."""

    user: User
    earliest: float
    latest: float


class UndecidedError(Exception):
    """The limiter did not answer in time, so that a request passed: on a busy machine. It says nothing of the limits."""


class Gateway:
    def __init__(self, url: str, limiter: str, issuer: Issuer) -> None:
        self.session = requests.Session()
        self.url, self.issuer = f"{url}/v1/chat/completions", issuer
        self.usage_url = f"{limiter}/usage/llm%2F{NAME}"
        self.tokens: dict[User, str] = {}
        self.used: dict[User, int] = {}

    def credential(self, user: User, way: str) -> str:
        if way == "key":
            return f"APIKEY {user.key}"
        if user not in self.tokens:
            claims: dict[str, t.Any] = {TIER: user.tier, "realm_access": {"roles": [user.group]}, "exp": int(time.time()) + 3600}
            self.tokens[user] = self.issuer.token(sub=user.name, **claims)
        return f"Bearer {self.tokens[user]}"

    def status(self, user: User, way: str, model: str = MODELS[0], words: int = 1) -> tuple[int, Usage]:
        body = {"model": model, "messages": [{"role": "user", "content": "ping " * words}], "max_tokens": words}
        headers = {"Host": HOST, "Authorization": self.credential(user, way)}
        answer = self.session.post(self.url, json=body, headers=headers, timeout=10)
        decided = "x-ratelimit-limit" in answer.headers
        if answer.status_code != 200:
            return answer.status_code, Usage(decided=decided)
        said = answer.json()["usage"]
        cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return 200, Usage(said["prompt_tokens"], said["completion_tokens"], cached, decided)

    def asks(self, user: User, way: str, model: str = MODELS[0], words: int = 1) -> Usage | None:
        """What it cost if it is admitted. A credential that Authorino does not know yet, or not in time (503), costs nothing: once more."""
        end = time.monotonic() + 30
        while (answered := self.status(user, way, model, words))[0] in (401, 403, 503) and time.monotonic() < end:
            time.sleep(0.1)
        status, usage = answered
        assert status in (429, 200 if model == MODELS[0] else 404), (user, way, model, status)
        if status != 429 and not usage.decided:
            raise UndecidedError
        return None if status == 429 else usage

    def until_counted(self, user: User, usage: Usage) -> None:
        """The limiter is told what an answer cost when the client has it."""
        self.used[user] = self.used.get(user, 0) + usage.total
        end, found = time.monotonic() + 30, -1
        headers = {"x-kuadrant-llm-caller": json.dumps({"userid": user.name, "groups": user.group, "tier": user.tier})}
        while found != self.used[user]:
            assert time.monotonic() < end, (user, found, self.used[user])
            found = self.session.get(self.usage_url, headers=headers, timeout=10).json()["month"]["total_tokens"]


@pytest.fixture(scope="module")
def issuer() -> t.Iterator[Issuer]:
    with Issuer(*free_ports(1)) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def route(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAME)
    spec = {
        "hostnames": [HOST],
        "parentRefs": [{"name": "vllm-gateway"}],
        "rules": [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}],
    }
    made = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": NAME, "namespace": "llm"}, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(made))
    yield
    policies = [f"{kind}/{NAME}" for kind in ("authpolicy", "ratelimitpolicy", "tokenratelimitpolicy")]
    kubectl("delete", "-n", "llm", "--ignore-not-found", *policies, f"httproute/{NAME}")
    kubectl("delete", "-n", "llm", "--ignore-not-found", f"envoyfilter/{NAME}-body-vllm-gateway")
    kubectl("delete", "namespace", NAME, "--wait=false")


def batches() -> list[range]:
    return [range(first, min(first + BATCH, PLANS)) for first in range(0, PLANS, BATCH)]


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("numbers", batches(), ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}")
def test_random_plans_admit_exactly_what_they_say(
    numbers: range,
    playbook: t.Any,
    kubeconfig: str,
    gateway_url: str,
    port_base: int,
    issuer: Issuer,
    eventually: t.Any,
    tmp_path: pathlib.Path,
) -> None:
    plans = [random_plan(random.Random(f"{SEED}-{number}"), number) for number in numbers]  # noqa: S311
    # When the scouts, whose keys are the last ones, are refused, keys and limits have reached Authorino, Envoy and Limitador.
    kinds = {f"{kind}{numbers[0]}": kind for kind in ("requests", "tokens")}
    scouts = [User(name, name, "one") for name in kinds]
    tiers = [tier for plan in plans for tier in plan.tiers]
    tiers += [{"name": name, kind: [{"limit": 1, "window": LONG}]} for name, kind in kinds.items()]
    keys = [
        {"name": f"{NAME}-{user.name}", "user": user.name, "tier": user.tier, "groups": [user.group], "key": user.key}
        for user in [*(user for plan in plans for user in plan.users), *scouts]
        if "key" in user.ways
    ]
    identity = {"name": "plans", "jwt": {"issuer": issuer.url, "audiences": ["llm-gateway"]}, "tier_claim": TIER}
    identities = [identity | {"groups_claim": ["realm_access", "roles"]}]
    options = tmp_path / "options.json"
    variables = {"kubeconfig": kubeconfig, "route": NAME, "key_namespace": NAME, "api_keys": keys, "tiers": tiers, "identities": identities}
    options.write_text(json.dumps(variables), encoding="utf-8")
    done: subprocess.CompletedProcess[str] = playbook(PLAYBOOK, None, "-e", f"@{options}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    gateway = Gateway(gateway_url, f"http://127.0.0.1:{port_base + 18}", issuer)
    for scout in scouts:
        for way in scout.ways:
            eventually(lambda scout=scout, way=way: gateway.status(scout, way)[0] == 429, 60)
    waiting: list[Waiting] = []
    undecided = 0
    for plan, number in zip(plans, numbers, strict=True):
        try:
            waiting += exhaust(plan, gateway, random.Random(f"{SEED}-{number}-order"))  # noqa: S311
        except UndecidedError:
            undecided += 1
        waiting = still_refused(waiting, gateway)
    assert undecided <= max(1, len(plans) // 20), f"of {len(plans)} plans, {undecided} show nothing, for the limiter was late"
    while waiting:
        waiting = still_refused(waiting, gateway)


def exhaust(plan: Plan, gateway: Gateway, random_: random.Random) -> list[Waiting]:
    """Send every user's requests, in a random order, until all are refused. Returns who will get through again, and when."""
    oracle = Oracle(plan)
    shortest = min(seconds(rate) for rates in oracle.rates.values() for rate in rates)
    open_ = [(user, model) for user in plan.users for model in MODELS]
    started = time.monotonic()
    while open_:
        user, model = random_.choice(open_)
        way, words = random_.choice(user.ways), random_.randint(1, 3)
        expected = oracle.admits(user, model)
        sent = time.monotonic()
        usage = gateway.asks(user, way, model, words)
        if usage and usage.total and len(oracle.rates[user.tier]) > oracle.requests[user.tier]:
            gateway.until_counted(user, usage)
        counted = time.monotonic()
        if counted - started >= shortest:
            pytest.fail(f"{counted - started:.1f} s for one plan: too slow to tell what its limits do within {shortest:g} s")
        assert (usage is not None) is expected, (plan, user, way, model, oracle.buckets)
        if usage is not None:
            oracle.count(user, model, usage, sent, counted)
        else:
            open_.remove((user, model))
    first = {user.tier: user for user in reversed(plan.users)}  # users of one tier may share what is free again
    recoveries = [Waiting(user, *oracle.recovery(user)) for user in first.values()]
    return [one for one in recoveries if one.latest < float("inf")]


def still_refused(waiting: list[Waiting], gateway: Gateway) -> list[Waiting]:
    """Send one request of each; return those who were refused, as they had to be."""
    refused = []
    for one in waiting:
        sent = time.monotonic()
        try:
            admitted = gateway.asks(one.user, one.user.ways[0]) is not None
        except UndecidedError:
            continue  # perhaps it has counted this request all the same
        answered = time.monotonic()
        if admitted:
            assert answered >= one.earliest, f"{one.user} was admitted {one.earliest - answered:.3f} s before the end of the window"
        else:
            assert sent <= one.latest, f"{one.user} was refused {sent - one.latest:.3f} s after the end of the window"
            refused.append(one)
    return refused
