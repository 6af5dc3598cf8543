# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Token limits on the real gateway, and tokens of all users held against the model server's own count.

LLM_TEST_TOKEN_REQUESTS is the number of mixed requests of the accounting, 1000 if it is not given. From 10000 on, the limiter restarts five
times under them and Prometheus twice, else once each.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import typing as t

import pytest
import requests
from token_requests import SMALL_LIMIT, Planned, carry_out, limits, plan, policy
from token_stack import PATHS, Answer, Client, Envoy, Limiter, ModelServer

from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, read_usage

ABSENT = {"gateway_state": "absent", "authorization_state": "absent", "rate_limiting_state": "absent"}
REQUESTS = int(os.environ.get("LLM_TEST_TOKEN_REQUESTS", "1000"))
LIMITER_RESTARTS, PROMETHEUS_RESTARTS = (5, 2) if REQUESTS >= 10_000 else (1, 1)
Part = t.Literal["prompt", "completion"]


def quiet(limiter: Limiter, eventually: t.Any) -> int:
    """Requests that were not reported when nothing has come for a while: where it cannot be told which were, none is left on its way."""
    seen: collections.deque[int] = collections.deque(maxlen=10)

    def same() -> bool:
        seen.append(limiter.on_their_way())
        return len(seen) == seen.maxlen and len(set(seen)) == 1

    eventually(same, 60)
    return seen[0]


@pytest.fixture(scope="module")
def limiter(port_base: int) -> Limiter:
    return Limiter(f"http://127.0.0.1:{port_base + 18}")


@pytest.fixture(scope="module")
def envoy(port_base: int) -> Envoy:
    return Envoy(f"http://127.0.0.1:{port_base + 19}")


@pytest.fixture(scope="module")
def server(port_base: int) -> ModelServer:
    return ModelServer(f"http://127.0.0.1:{port_base + 20}")


@pytest.fixture(scope="module")
def client(
    playbook: t.Any, kubectl: t.Any, gateway_url: str, limiter: Limiter, server: ModelServer, eventually: t.Any
) -> t.Iterator[Client]:
    """The route with its keys and policies, all enforced; gone afterwards."""
    done = playbook("tests/integration/tokens.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    try:
        model = requests.get(f"{server.url}/v1/models", timeout=5).json()["data"][0]["id"]
        kubectl("apply", "-f", "-", stdin=policy(limits(model)))
        found = Client(gateway_url, kubectl, model)

        def enforced() -> bool:
            trlp = json.loads(kubectl("get", "tokenratelimitpolicy", "test-tokens", "-n", "llm", "-o", "json"))
            conditions = {item["type"]: item["status"] for item in trlp.get("status", {}).get("conditions", [])}
            return conditions.get("Enforced") == "True" and conditions.get("kuadrant.llm/Translated", "True") == "True"

        eventually(enforced, 60, lambda: kubectl("get", "tokenratelimitpolicy", "test-tokens", "-n", "llm", "-o", "yaml"))
        # Limits reach the limiter and filters the gateway on two ways.
        eventually(lambda: found.send("ben", "hello").status == 200 and limiter.read("metered_calls", "user") != {}, 60)
        limiter.never_reported = quiet(limiter, eventually)
        yield found
    finally:
        kubectl("delete", "tokenratelimitpolicy", "test-tokens", "-n", "llm", "--ignore-not-found")
        removed = playbook("tests/integration/tokens.yml", ABSENT)
        assert removed.returncode == 0, removed.stdout[-3000:]


@pytest.fixture
def restart(state_dir: pathlib.Path, client: Client, limiter: Limiter, envoy: Envoy, eventually: t.Any) -> t.Callable[[], None]:
    """Restart the limiter, and wait until the gateway asks it again."""

    def answers() -> bool:
        unlimited = envoy.unlimited()
        return client.send("ann", "hello").status == 200 and envoy.unlimited() == unlimited

    def run() -> None:
        subprocess.run([state_dir / "stackctl", "restart", "limitador"], check=True, capture_output=True, timeout=60)
        eventually(answers, 30)
        limiter.never_reported = quiet(limiter, eventually)

    return run


def settle(limiter: Limiter, eventually: t.Any) -> None:
    """Until every admitted request was reported."""
    eventually(lambda: limiter.on_their_way() == limiter.never_reported, 30, limiter.on_their_way)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_limit_that_is_reached_denies_its_user_only(
    client: Client, limiter: Limiter, restart: t.Callable[[], None], eventually: t.Any, stream: bool
) -> None:
    """tim's limit is used up by plain answers, tom's by streams; tess has the same limit and keeps hers."""
    user = "tom" if stream else "tim"
    fields: dict[str, t.Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    settle(limiter, eventually)
    before, used = limiter.read("reported_tokens", "user"), 0
    while (answer := client.send(user, "one two three four five six seven eight", PATHS[stream], **fields)).status == 200:
        assert used < SMALL_LIMIT, "the limit was used up, and the request was admitted"
        used += (answer.prompt or 0) + (answer.completion or 0)
        settle(limiter, eventually)
    assert answer.status == 429
    assert used >= SMALL_LIMIT
    assert limiter.since(before, "reported_tokens", "user") == {(f"test-{user}",): used}
    assert {client.send(user, "again", path).status for path in PATHS} == {429}
    assert client.send("tess", "hello").status == 200
    if stream:
        restart()
        assert limiter.since(before, "reported_tokens", "user")[f"test-{user}",] == used
        assert client.send(user, "again").status == 429, "a restart of the limiter gave the tokens back"
    assert client.models(user) == 200, "a path without a token limit"
    limiter.never_reported += 1


def test_a_limit_per_model_reads_the_request(client: Client, limiter: Limiter, eventually: t.Any) -> None:
    assert client.send("mia", "hello").status == 200
    settle(limiter, eventually)
    assert client.send("mia", "hello").status == 429
    assert client.send("mia", "hello", model="another").status == 404, "the model server's own answer"
    limiter.never_reported += 1


def test_streams_without_usage_can_be_refused(client: Client) -> None:
    assert client.send("tess", "hello", stream=True).status == 429
    assert client.send("tess", "hello", stream=True, stream_options={"include_usage": False}).status == 429
    assert client.send("tess", "hello", stream=True, stream_options={"include_usage": True}).status == 200
    assert client.send("ann", "hello", stream=True).status == 200


def test_an_adapter_is_counted_by_its_name_and_the_books_close_by_its_base(
    client: Client, limiter: Limiter, server: ModelServer, prometheus_url: str, eventually: t.Any
) -> None:
    settle(limiter, eventually)
    prometheus = Prometheus(prometheus_url)
    start = read_usage(prometheus, Question(prometheus.now_ms() - 60_000, prometheus.now_ms(), wait_seconds=30)).end
    before = limiter.read("reported_tokens", "user", "model")
    ways: list[dict[str, t.Any]] = [{}, {"stream": True, "stream_options": {"include_usage": True}}]
    with server.adapter("sql-lora") as adapter:
        bases = server.base_models()
        told = [client.send("abe", "one two three", path, model=adapter, **way) for path in PATHS for way in ways]
        settle(limiter, eventually)
    tokens = sum((answer.prompt or 0) + (answer.completion or 0) for answer in told)
    assert tokens > 0
    assert limiter.since(before, "reported_tokens", "user", "model") == {("test-abe", adapter): tokens}

    accounting = read_usage(prometheus, Question(start, prometheus.now_ms(), ("llm/test-tokens",), wait_seconds=30)).tokens

    def missing(bases: dict[str, str]) -> dict[str, int]:
        found = dataclasses.replace(accounting, bases=bases).as_dict()["unattributed"]
        return {entry["model"]: entry["total"] for entry in found["models"] if entry["total"]}

    assert missing({}) == {client.model: tokens, adapter: -tokens}, (
        "the model server counts under the base, and the answer names the adapter"
    )
    assert bases[adapter] == client.model
    assert missing(bases) == {}


COUNTED = {
    "reported_tokens": ("user", "type"),
    "metered_calls": ("user",),
    "unmetered_calls": ("user", "reason"),
    "limited_calls": ("user",),
}


@dataclasses.dataclass
class Round:
    """What the limiter, the model server, and the clients say about the same requests."""

    start: int
    answers: list[Answer]
    counted: dict[str, dict[tuple[str, ...], int]]
    served: dict[str, int]


@pytest.fixture
def one_round(
    client: Client, limiter: Limiter, server: ModelServer, envoy: Envoy, prometheus_url: str, eventually: t.Any
) -> t.Callable[[list[Planned]], Round]:
    """Carry out a plan, from quiet to quiet; again if the limiter was not asked about every request, or nobody was told what one took."""

    def attempt(planned: list[Planned]) -> Round:
        settle(limiter, eventually)
        prometheus = Prometheus(prometheus_url)
        start = read_usage(prometheus, Question(prometheus.now_ms() - 60_000, prometheus.now_ms(), wait_seconds=30)).end
        before, served_before = {metric: limiter.read(metric, *labels) for metric, labels in COUNTED.items()}, server.tokens()
        server.configure(**{"inter-token-latency": "5ms"})  # so that there is a middle of the stream to hang up in
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda one: carry_out(client, one), planned))
        finally:
            server.configure(**{"inter-token-latency": "0ms"})
        eventually(lambda: limiter.on_their_way() <= limiter.never_reported + envoy.unlimited(), 30, limiter.on_their_way)
        counted = {metric: limiter.since(before[metric], metric, *labels) for metric, labels in COUNTED.items()}
        served = {part: now - then for part, now, then in zip(("prompt", "completion"), server.tokens(), served_before, strict=True)}
        return Round(start, answers, counted, served)

    def rounds(planned: list[Planned]) -> Round:
        for _attempt in range(5):
            unlimited = envoy.unlimited()
            found = attempt(planned)
            if envoy.unlimited() == unlimited and not any(answer.cut for answer in found.answers):
                return found
            limiter.never_reported = quiet(limiter, eventually)
        pytest.fail(
            "in each of 5 rounds the limiter was late for some request, which then passed uncounted, or the model server hung up on one"
        )

    return rounds


def test_tokens_of_users_and_the_rest_are_what_the_model_server_counted(
    client: Client, one_round: t.Callable[[list[Planned]], Round], prometheus_url: str
) -> None:
    """Difference 0, in the limiter's own counters and in the report from Prometheus; and each user's tokens are what they were told."""
    planned = plan(REQUESTS)
    # Echo mode: the same request always takes the same tokens, so those of a stream without usage are known to the test.
    known = {(text, path): client.send("ben", text, path) for text, path in {(one.text, one.path) for one in planned}}
    found = one_round(planned)

    told: collections.Counter[tuple[str, str]] = collections.Counter()
    silent: collections.Counter[tuple[str, str]] = collections.Counter()
    ended: collections.Counter[str] = collections.Counter()
    untold = {"prompt": 0, "completion": 0}
    for one, answer in zip(planned, found.answers, strict=True):
        # The simulator fails now and then when others hang up on it.
        kind = "error" if answer.status >= 500 else one.kind
        if kind != "error":
            assert answer.status == {"unknown key": 401, "denied": 429}.get(kind, 200), one
        ended[kind] += 1
        if answer.prompt is not None and answer.completion is not None:
            told[f"test-{one.user}", "prompt"] += answer.prompt
            told[f"test-{one.user}", "completion"] += answer.completion
        elif kind in ("stream_without_usage", "error", "aborted"):
            silent[f"test-{one.user}", kind] += 1
        if kind == "stream_without_usage":
            untold["prompt"] += known[one.text, one.path].prompt or 0
            untold["completion"] += known[one.text, one.path].completion or 0
    assert found.counted["reported_tokens"] == dict(told)
    assert found.counted["unmetered_calls"] == dict(silent)
    assert found.counted["limited_calls"] == {("test-tim",): ended["denied"]}

    rest = {part: found.served[part] - sum(tokens for key, tokens in told.items() if key[1] == part) for part in untold}
    # The rest is that of the streams without usage, and of the ones that were hung up on or failed, as far as the server got.
    others = {part: rest[part] - untold[part] for part in untold}
    assert min(others.values()) >= 0

    prometheus = Prometheus(prometheus_url)
    question = Question(found.start, prometheus.now_ms(), ("llm/test-tokens",), wait_seconds=30)
    tokens = read_usage(prometheus, question).as_dict()["tokens"]
    rows = {row["user"]: row for row in tokens["usage"] if row["model"] == client.model}
    for user in ("test-ann", "test-ben"):
        assert (rows[user]["prompt"], rows[user]["completion"]) == (told[user, "prompt"], told[user, "completion"])
        assert (rows[user]["group"], rows[user]["tier"]) == ("large", "large")
    assert {part: tokens["unattributed"][part] for part in rest} == rest
    assert tokens["unattributed"]["exact"] is True
    assert {part: tokens["served"][part] for part in rest} == found.served
    assert {part: tokens["totals"][part] + tokens["unattributed"][part] for part in rest} == found.served
    print(
        f"{len(planned)} requests {dict(ended)}: served {found.served}, of users {dict(told)}, unattributed {rest}, "
        f"of which streams without usage {untold}, aborted and failed {others}; difference 0"
    )


@dataclasses.dataclass
class Books:
    """The same requests by the clients, the limiter and the model server, each on its own."""

    planned: list[Planned]
    answers: list[Answer]
    counted: dict[str, dict[tuple[str, ...], int]]
    served: dict[str, int]
    # Requests that passed because the limiter did not answer, as Envoy counts them.
    silent: int

    def told(self, part: Part) -> int:
        """Tokens that answers reported to clients."""
        return sum(getattr(answer, part) or 0 for answer in self.answers)

    def of_users(self, part: Part) -> int:
        return sum(tokens for (_user, kind), tokens in self.counted["reported_tokens"].items() if kind == part)


def under_restarts(client: Client, planned: list[Planned], restart: t.Callable[[str], None]) -> list[Answer]:
    """Carry out a plan while programs restart, each when its share of the requests is done."""
    due: list[tuple[int, str]] = []
    for name, number in (("limitador", LIMITER_RESTARTS), ("prometheus", PROMETHEUS_RESTARTS)):
        due += [(len(planned) * (index + 1) // (number + 1), name) for index in range(number)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(carry_out, client, one) for one in planned]
        for done, _future in enumerate(concurrent.futures.as_completed(futures), 1):
            for _share, name in sorted(one for one in due if one[0] == done):
                restart(name)
        return [future.result() for future in futures]


def test_books_close_although_limiter_and_prometheus_restart(
    client: Client,
    limiter: Limiter,
    server: ModelServer,
    envoy: Envoy,
    prometheus_url: str,
    state_dir: pathlib.Path,
    eventually: t.Any,
) -> None:
    """Users + unattributed = the model server's own count, difference 0, and each unattributed request has its cause."""
    planned = plan(REQUESTS)
    known = {(text, path): client.send("ben", text, path) for text, path in {(one.text, one.path) for one in planned}}
    limiter.never_reported = quiet(limiter, eventually)
    prometheus = Prometheus(prometheus_url)
    start = read_usage(prometheus, Question(prometheus.now_ms() - 60_000, prometheus.now_ms(), wait_seconds=30)).end
    before, served_before = {metric: limiter.read(metric, *labels) for metric, labels in COUNTED.items()}, server.tokens()
    admitted, silent = limiter.read("authorized_calls"), envoy.unlimited()

    def restart(name: str) -> None:
        subprocess.run([state_dir / "stackctl", "restart", name], check=True, capture_output=True, timeout=60)

    server.configure(**{"inter-token-latency": "5ms"})  # so that there is a middle of the stream to hang up in
    try:
        answers = under_restarts(client, planned, restart)
    finally:
        server.configure(**{"inter-token-latency": "0ms"})
    limiter.never_reported = quiet(limiter, eventually)
    eventually(lambda: requests.get(f"{prometheus_url}/-/ready", timeout=5).ok, 30)
    books = Books(
        planned,
        answers,
        {metric: limiter.since(before[metric], metric, *labels) for metric, labels in COUNTED.items()},
        {part: now - then for part, now, then in zip(("prompt", "completion"), server.tokens(), served_before, strict=True)},
        envoy.unlimited() - silent,
    )
    prometheus = Prometheus(prometheus_url)  # as the next run has: one run refuses a server that is another one in between
    usage = read_usage(prometheus, Question(start, prometheus.now_ms(), ("llm/test-tokens",), wait_seconds=60))
    assert usage.exact, usage.notes
    report = usage.as_dict()["tokens"]
    missing = report["unattributed"]

    (model,) = (entry for entry in missing["models"] if entry["model"] == client.model)
    (own,) = (entry for entry in report["served"]["models"] if entry["model"] == client.model)
    parts: tuple[Part, Part] = ("prompt", "completion")
    users, rest = ({part: of[part] for part in parts} for of in (report["totals"], model))
    metered = sum(books.counted["metered_calls"].values())
    reasons = collections.Counter[str]()
    for (_user, reason), number in books.counted["unmetered_calls"].items():
        reasons[reason] += number
    unreported = limiter.since(admitted, "authorized_calls").get((), 0) - metered - reasons.total()
    untold = {
        part: sum(
            getattr(known[one.text, one.path], part) or 0
            for one, answer in zip(planned, answers, strict=True)
            if one.kind == "stream_without_usage" and answer.status == 200 and not answer.cut
        )
        for part in parts
    }
    lost = {part: books.told(part) - books.of_users(part) for part in parts}
    others = {part: rest[part] - untold[part] - lost[part] for part in parts}
    print(
        f"{len(planned)} requests, {LIMITER_RESTARTS} restarts of the limiter, {PROMETHEUS_RESTARTS} of Prometheus: "
        f"answers {dict(collections.Counter(answer.status for answer in answers))}, {metered} of users with usage; "
        f"{client.model} served {books.served}, users {users}, unattributed {rest}; "
        f"causes by requests {missing['requests']}; by tokens: streams without usage {untold}, "
        f"passed or reported while the limiter was away {lost}, aborted, cut off ({sum(one.cut for one in answers)}) and failed {others}"
    )

    # The report says what limiter, model server and Envoy counted themselves, although each of their scrapes has gaps.
    for part in parts:
        assert own[part] == own[f"{part}_upper"] == books.served[part]
        assert users[part] == books.of_users(part)
        assert users[part] + rest[part] == books.served[part]
    expected = {**reasons, "unreported": unreported, "limiter_silent": books.silent}
    assert missing["requests"] == {cause: number for cause, number in expected.items() if number}
    # No token is missing without a cause that can have taken it. Requests cannot be added up: one that the limiter admitted after Envoy
    # had given it up is in two causes, and one that Envoy failed by itself is in none.
    assert min(others.values()) >= 0
    assert not any(lost.values()) or unreported + books.silent > 0
    assert not any(untold.values()) or reasons["stream_without_usage"] > 0
