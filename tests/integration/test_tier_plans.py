# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random tiers through the real gateway: as many requests are admitted as the limits say, exactly, and again when the window has ended.

LLM_TEST_PLANS is the number of plans (200 in a full run), LLM_TEST_SEED what makes them the same again. A thousand plans, with tokens and
weights, go through the limiter alone: `tests/plans.rs` of the custom Limitador.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import random
import subprocess
import time
import typing as t

import pytest
import requests

PLANS = int(os.environ.get("LLM_TEST_PLANS", "5"))
SEED = os.environ.get("LLM_TEST_SEED", "kuadrant.llm")
BATCH = 10  # plans that are enforced at the same time, each with tiers and users of its own
LONG = "1h"  # does not end while the test runs

NAME = f"test-plans-{os.getpid()}"
HOST = f"{NAME}.llm.example"
PLAYBOOK = str(pathlib.Path(__file__).with_name("tier_plans.yml"))
MODELS = ("simulated-model", "not-served")  # what is not served is admitted all the same, and answered 404

Kubectl = t.Callable[..., str]


@dataclasses.dataclass(frozen=True)
class User:
    tier: str
    name: str
    group: str

    @property
    def key(self) -> str:
        return f"key-{NAME}-{self.name}"


@dataclasses.dataclass
class Plan:
    tiers: list[dict[str, t.Any]]
    users: list[User]


def random_plan(random_: random.Random, number: int) -> Plan:
    """One or two tiers. Each has a short window, in which a limit is reached, and perhaps a long one, a shared one, or one for a model."""
    tiers, users = [], []
    for letter in "ab"[: random_.randint(1, 2)]:
        name, seconds, limit = f"p{number}{letter}", random_.randint(6, 9), random_.randint(2, 6)
        rates = [{"limit": limit, "window": f"{seconds}s"}]
        # The first plans have each of these, and each is reached: two users share what is less than their own limits together.
        if number % 4 == 1 or random_.random() < 0.4:
            rates.append({"limit": limit + random_.randint(0, 4), "window": LONG})
        if number % 4 == 2 or random_.random() < 0.4:
            rates.append({"limit": limit + random_.randint(0, limit - 1), "window": f"{seconds + 3}s", "per": "group"})
        if number % 4 == 3 or random_.random() < 0.3:
            rates.append({"limit": random_.randint(1, limit - 1), "window": f"{seconds}s", "model": random_.choice(MODELS)})
        tiers.append({"name": name, "requests": rates})
        users += [User(name, f"{name}-{position}", group) for position, group in enumerate(("one", "one", "two"))]
    return Plan(tiers, users)


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
        self.rates = {tier["name"]: tier["requests"] for tier in plan.tiers}
        self.buckets: dict[tuple[t.Any, ...], Bucket] = {}

    def of(self, user: User, model: str) -> list[Bucket]:
        return [
            self.buckets.setdefault(
                (user.tier, number, user.group if rate.get("per") == "group" else user.name), Bucket(rate["limit"], seconds(rate))
            )
            for number, rate in enumerate(self.rates[user.tier])
            if rate.get("model") in (None, model)
        ]

    def admits(self, user: User, model: str) -> bool:
        return all(bucket.used < bucket.limit for bucket in self.of(user, model))

    def count(self, user: User, model: str, sent: float, answered: float) -> None:
        for bucket in self.of(user, model):
            bucket.used += 1
            bucket.begun = bucket.begun if bucket.used > 1 else (sent, answered)

    def recovery(self, user: User) -> tuple[float, float]:
        """Between which two moments a user who is refused gets through again."""
        full = [bucket for bucket in self.of(user, MODELS[0]) if bucket.used >= bucket.limit]
        return max(bucket.begun[0] + bucket.seconds for bucket in full), max(bucket.begun[1] + bucket.seconds for bucket in full)


def seconds(rate: dict[str, t.Any]) -> float:
    return float("inf") if rate["window"] == LONG else float(rate["window"].removesuffix("s"))


@dataclasses.dataclass
class Waiting:
    """A user who is refused, until some moment between ``earliest`` and ``latest``."""

    user: User
    earliest: float
    latest: float


class Gateway:
    def __init__(self, url: str) -> None:
        self.session = requests.Session()
        self.url = f"{url}/v1/chat/completions"

    def status(self, key: str, model: str = MODELS[0]) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
        headers = {"Host": HOST, "Authorization": f"APIKEY {key}"}
        return self.session.post(self.url, json=body, headers=headers, timeout=10).status_code

    def admits(self, key: str, model: str = MODELS[0]) -> bool:
        """Whether it is admitted; a key that Authorino does not know yet costs nothing, and is tried again."""
        end = time.monotonic() + 30
        while (status := self.status(key, model)) in (401, 403) and time.monotonic() < end:
            time.sleep(0.1)
        assert status in (429, 200 if model == MODELS[0] else 404), (key, model, status)
        return status != 429


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
    kubectl("delete", "-n", "llm", "--ignore-not-found", f"authpolicy/{NAME}", f"ratelimitpolicy/{NAME}", f"httproute/{NAME}")
    kubectl("delete", "-n", "llm", "--ignore-not-found", f"envoyfilter/{NAME}-body-vllm-gateway")
    kubectl("delete", "namespace", NAME, "--wait=false")


def batches() -> list[range]:
    return [range(first, min(first + BATCH, PLANS)) for first in range(0, PLANS, BATCH)]


@pytest.mark.usefixtures("route")
@pytest.mark.parametrize("numbers", batches(), ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}")
def test_random_plans_admit_exactly_what_they_say(
    numbers: range, playbook: t.Any, kubeconfig: str, gateway_url: str, eventually: t.Any, tmp_path: pathlib.Path
) -> None:
    plans = [random_plan(random.Random(f"{SEED}-{number}"), number) for number in numbers]  # noqa: S311
    # When the scout, whose key is the last one, is refused, keys and limits of this batch have reached Authorino, Envoy and Limitador.
    scout = User(f"s{numbers[0]}", f"s{numbers[0]}", "one")
    tiers = [tier for plan in plans for tier in plan.tiers] + [{"name": scout.tier, "requests": [{"limit": 1, "window": LONG}]}]
    keys = [
        {"name": f"{NAME}-{user.name}", "user": user.name, "tier": user.tier, "groups": [user.group], "key": user.key}
        for user in [*(user for plan in plans for user in plan.users), scout]
    ]
    options = tmp_path / "options.json"
    variables = {"kubeconfig": kubeconfig, "route": NAME, "key_namespace": NAME, "api_keys": keys, "tiers": tiers}
    options.write_text(json.dumps(variables), encoding="utf-8")
    done: subprocess.CompletedProcess[str] = playbook(PLAYBOOK, None, "-e", f"@{options}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    gateway = Gateway(gateway_url)
    eventually(lambda: gateway.status(scout.key) == 429, 60)
    waiting: list[Waiting] = []
    for plan, number in zip(plans, numbers, strict=True):
        waiting += exhaust(plan, gateway, random.Random(f"{SEED}-{number}-order"))  # noqa: S311
        waiting = still_refused(waiting, gateway)
    while waiting:
        waiting = still_refused(waiting, gateway)


def exhaust(plan: Plan, gateway: Gateway, random_: random.Random) -> list[Waiting]:
    """Send every user's requests, in a random order, until all are refused. Returns who will get through again, and when."""
    oracle = Oracle(plan)
    shortest = min(seconds(rate) for tier in plan.tiers for rate in tier["requests"])
    open_ = [(user, model) for user in plan.users for model in MODELS]
    started = time.monotonic()
    while open_:
        user, model = random_.choice(open_)
        expected = oracle.admits(user, model)
        sent = time.monotonic()
        admitted = gateway.admits(user.key, model)
        answered = time.monotonic()
        if answered - started >= shortest:
            pytest.fail(f"{answered - started:.1f} s for one plan: too slow to tell what its limits do within {shortest:g} s")
        assert admitted is expected, (plan, user, model, oracle.buckets)
        if admitted:
            oracle.count(user, model, sent, answered)
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
        admitted = gateway.admits(one.user.key)
        answered = time.monotonic()
        if admitted:
            assert answered >= one.earliest, f"{one.user} was admitted {one.earliest - answered:.3f} s before the end of the window"
        else:
            assert sent <= one.latest, f"{one.user} was refused {sent - one.latest:.3f} s after the end of the window"
            refused.append(one)
    return refused
