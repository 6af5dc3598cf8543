# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the books close over requests of all formats while the limiter is killed: figures for build/bench/mixed.json. `make bench-mixed`.

Without Kubernetes: real Envoy with the filters of the translation, real Limitador with its journal, real Prometheus, and a scripted model
server, which counts what it worked as vLLM does. Each user sends ten requests, whose tokens are 1, 2, 4 and so on up to 512: so what a user
was counted says which of the requests it was for, and none of them twice. It fails if a token has no owner and no cause.
LLM_BENCH_REQUESTS and LLM_BENCH_KILLS are the numbers, 5000 and 5 if they are not given.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import gzip
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

from data_plane import SCOPE, Answer, DataPlane, ModelServer
from figures import Figures, write
from formats import CHAT, FORMATS, Format, started
from server import program, serving

from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, read_usage

REQUESTS, KILLS = (int(os.environ.get(f"LLM_BENCH_{name}", number)) for name, number in (("REQUESTS", "5000"), ("KILLS", "5")))
EACH, CLIENTS = 10, 12
AWAY = 0.5  # seconds that the limiter is not there
NEAR = 0.3  # seconds in which a report is on its way, or Envoy finds the limiter again
QUIET = 2.0  # seconds without a report after which none is left on its way
HANGS_UP, REFUSED = "the client hangs up", "refused"


def compressed(answer: Answer) -> Answer:
    return dataclasses.replace(answer, body=gzip.compress(answer.body), headers={"content-encoding": "gzip"})


def half(answer: Answer) -> Answer:
    return dataclasses.replace(answer, body=answer.body[: len(answer.body) // 2], cut=True)


def held(form: Format, prompt: int, completion: int, cached: int) -> Answer:
    """The usage comes long after the rest: a client that hangs up does not see it."""
    beginning, whole = form.beginning(prompt, completion, cached), form.stream(prompt, completion, cached)
    return dataclasses.replace(whole, pieces=len(beginning.body), pause=0.3)


@dataclasses.dataclass(frozen=True)
class Way:
    """How a model server answers, and for which reason that is unmetered; None: it tells its usage. ``share``: of such requests."""

    share: int
    answer: t.Callable[..., Answer]
    reason: str | None = None
    streamed: bool = False


WAYS = {
    "plain": Way(40, Format.plain),
    "stream": Way(40, Format.stream, None, True),
    "a stream without usage": Way(6, Format.beginning, "stream_without_usage", True),
    "a stream that breaks off": Way(4, functools.partial(Format.beginning, cut=True), "aborted", True),
    "an answer that breaks off": Way(3, lambda form, *tokens: half(form.plain(*tokens)), "error"),
    "gzip": Way(3, lambda form, *tokens: compressed(form.plain(*tokens)), "no_usage"),
    "gzip of a stream": Way(3, lambda form, *tokens: compressed(form.stream(*tokens)), "no_usage", True),
    "an error": Way(3, lambda _form, *_tokens: Answer(b'{"error": {}}', status=500), "error"),
    HANGS_UP: Way(4, held, "aborted", True),
    REFUSED: Way(2, lambda _form, *_tokens: Answer()),
}


@dataclasses.dataclass(frozen=True)
class Planned:
    user: str
    format: str
    way: str
    tokens: int

    @property
    def cost(self) -> tuple[int, int, int]:
        """Prompt, completion and cached tokens that the model server works."""
        form = FORMATS[self.format]
        if form.usage is None or self.way == REFUSED:
            return 0, 0, 0
        return self.tokens, self.tokens if form.completes else 0, self.tokens // 2 if form.completes else 0

    @property
    def reason(self) -> str | None:
        return WAYS[self.way].reason or (None if FORMATS[self.format].usage else "no_usage")

    @property
    def told(self) -> tuple[int, int]:
        """Prompt and completion tokens that the answer tells the gateway."""
        if self.reason is None:
            return self.cost[0], self.cost[1]
        began = FORMATS[self.format].begins and self.reason in ("aborted", "stream_without_usage")
        return (self.cost[0] if began else 0), 0


def plan(number: int) -> list[Planned]:
    rng = random.Random(14)  # noqa: S311 - repeatable, not secret
    planned = []
    for index in range(number):
        name = rng.choice(list(FORMATS))
        ways = {way: one.share for way, one in WAYS.items() if FORMATS[name].events or not one.streamed}
        way = rng.choices(list(ways), list(ways.values()))[0]
        planned.append(Planned(f"user-{index // EACH:04d}", name, way, 1 << index % EACH))
    rng.shuffle(planned)
    return planned


class Worker(ModelServer):
    """Answers as the request says, and counts as vLLM does; also what the client never got."""

    def __init__(self, port: int) -> None:
        self.worked = {"prompt": 0, "generation": 0}
        self._lock, self._since = threading.Lock(), time.time()
        super().__init__(port)

    def answer_to(self, path: str, headers: dict[str, str], _body: bytes) -> Answer:
        if path == "/metrics":
            lines = [f'vllm:{name}_tokens_total{{model_name="m"}} {number}' for name, number in self.worked.items()]
            lines.append(f"process_start_time_seconds {self._since}")
            return Answer("\n".join([*lines, ""]).encode(), "text/plain; version=0.0.4")
        one = Planned(**json.loads(headers["x-plan"]))
        prompt, completion, _cached = one.cost
        with self._lock:
            self.worked["prompt"] += prompt
            self.worked["generation"] += completion
        return WAYS[one.way].answer(FORMATS[one.format], *one.cost)


Times = tuple[float, float]


def send(port: int, one: Planned) -> tuple[int, Times]:
    """The status that the client saw, and when it asked and had its answer, by the monotonic clock."""
    begun = time.monotonic()
    form = FORMATS[one.format]
    headers = {"content-type": form.content_type, "x-userid": one.user, "x-plan": json.dumps(dataclasses.asdict(one))}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        if one.way == REFUSED:
            connection.request("POST", CHAT, b'{"model": "m", "Stream": true}', headers | {"content-type": "application/json"})
        else:
            connection.request("POST", form.path, form.body(stream=WAYS[one.way].streamed), headers)
        response = connection.getresponse()
        with contextlib.suppress(http.client.IncompleteRead):
            if one.way == HANGS_UP:
                response.read(1)
                response.close()
            else:
                response.read()
        return response.status, (begun, time.monotonic())


def under_kills(plane: DataPlane, planned: list[Planned]) -> tuple[list[int], list[bool]]:
    """Carry out the plan; when its share of the requests is done the limiter is killed, and is back after a while.

    The status of each, and whether it came while the limiter was away, or so near to that that its report did.
    """
    away: list[Times] = []
    due = {len(planned) * (number + 1) // (KILLS + 1) for number in range(KILLS)}
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        futures = [pool.submit(send, plane.gateway_port, one) for one in planned]
        for done, _future in enumerate(concurrent.futures.as_completed(futures), 1):
            if done in due:
                since = time.monotonic()
                plane.kill("limitador")
                time.sleep(AWAY)
                plane.start_again("limitador")
                away.append((since, time.monotonic()))
        answers = [future.result() for future in futures]
    near = [any(end > since - NEAR and begun < until + NEAR for since, until in away) for _status, (begun, end) in answers]
    return [status for status, _times in answers], near


def until_quiet(plane: DataPlane) -> dict[str, int]:
    """The limiter's own counters when nothing comes any more."""
    seen, since = plane.metrics(), time.monotonic()
    while time.monotonic() - since < QUIET:
        time.sleep(0.2)
        now = plane.metrics()
        if {key: now[key] for key in now if "calls" in key} != {key: seen[key] for key in seen if "calls" in key}:
            seen, since = now, time.monotonic()
    return dict(plane.metrics())


def summed(metrics: t.Mapping[str, int], name: str, *labels: str) -> int:
    return sum(value for key, value in metrics.items() if key.startswith(f"{name}{{") and all(label in key for label in labels))


def by_user(metrics: t.Mapping[str, int], kind: str) -> dict[str, int]:
    found: collections.Counter[str] = collections.Counter()
    for key, value in metrics.items():
        if key.startswith("reported_tokens{") and f'type="{kind}"' in key:
            found[key.partition('user="')[2].partition('"')[0]] += value
    return found


def silent(plane: DataPlane) -> int:
    """Requests that passed because the limiter did not answer, as Envoy counts them."""
    text = plane.get(plane.admin_port, "/stats?filter=ratelimit.failure_mode_allowed").decode()
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())


def by_reason(sent: t.Iterable[tuple[Planned, bool]]) -> dict[tuple[str, str], list[bool]]:
    """Requests whose answer told no usage: whether each came while the limiter was away."""
    found: dict[tuple[str, str], list[bool]] = {}
    for one, near in sent:
        if one.reason and one.way != REFUSED:
            found.setdefault((one.user, one.reason), []).append(near)
    return found


def balance(
    sent: list[tuple[Planned, bool]], metrics: dict[str, int], report: Figures, worked: dict[str, int], passed: int
) -> tuple[Figures, list[str]]:
    """Figures, and what is wrong with the books. ``sent``: the requests, each with whether it came while the limiter was away."""
    planned = [one for one, _near in sent]
    wrong: list[str] = []

    def check(what: str, *, holds: bool) -> None:
        if not holds:
            wrong.append(what)

    reasons = {one.reason for one in planned if one.reason}
    admitted, metered = summed(metrics, "authorized_calls"), summed(metrics, "metered_calls")
    counted = {reason: summed(metrics, "unmetered_calls", f'reason="{reason}"') for reason in reasons}
    finished = metered + sum(counted.values())
    unreported, rest = admitted - finished, report["unattributed"]
    lost = sum(one.way != REFUSED for one in planned) - finished

    # By request: nothing is counted that no answer told, and nothing twice.
    for place, kind in enumerate(("prompt", "completion")):
        told: collections.Counter[str] = collections.Counter()
        for one in planned:
            told[one.user] += one.told[place]
        for user, number in by_user(metrics, kind).items():
            check(
                f"{user} was counted {number} {kind} tokens, of which {number & ~told[user]} were told by no answer",
                holds=not number & ~told[user],
            )
    prompts = by_user(metrics, "prompt")
    missing = [one for one, _near in sent if one.reason is None and one.way != REFUSED and not prompts.get(one.user, 0) & one.tokens]
    number = sum(one.reason is None and one.way != REFUSED for one in planned) - metered
    check(f"{len(missing)} requests are missing by their tokens, {number} by their number", holds=len(missing) == number)
    far = [one for one, near in sent if one in missing and not near]
    check(f"{len(far)} requests are missing, and the limiter was there: {far[:3]}", holds=not far)
    for (user, reason), ones in by_reason(sent).items():
        number = summed(metrics, "unmetered_calls", f'user="{user}"', f'reason="{reason}"')
        fits = sum(not near for near in ones) <= number <= len(ones)
        check(f"{user} has {number} requests unmetered as {reason}, of {len(ones)}: {ones}", holds=fits)
    check(f"{lost} requests were not counted, for {unreported} unreported and {passed} past the limiter", holds=lost <= unreported + passed)
    check(f"{passed} requests past the limiter, and only {lost} that were not counted", holds=passed <= lost)

    # By report: what it says is what limiter, Envoy and model server counted themselves.
    difference = 0
    users = {part: sum(by_user(metrics, part).values()) for part in ("prompt", "completion")}
    for part, name in (("prompt", "prompt"), ("completion", "generation")):
        check(f"{part}: {report['totals'][part]} of users, the limiter counted {users[part]}", holds=report["totals"][part] == users[part])
        check(f"{part}: {report['served'][part]} served, of {worked[name]}", holds=report["served"][part] == worked[name])
        difference += abs(worked[name] - users[part] - rest[part])
    check(f"difference of {difference} tokens", holds=difference == 0)
    check("the report gives bounds, not one figure", holds=rest["exact"])
    causes = {**counted, "unreported": unreported, "limiter_silent": passed}
    causes = {cause: number for cause, number in causes.items() if number > 0}
    check(f"causes {rest['requests']}, expected {causes}", holds=rest["requests"] == causes)
    check("nothing passed the killed limiter: the bench has shown nothing", holds=KILLS == 0 or passed + unreported > 0)
    figures = {
        "requests": len(planned),
        "kills": KILLS,
        "metered": metered,
        "not_counted": lost,
        "served_prompt": worked["prompt"],
        "served_completion": worked["generation"],
        "users_prompt": users["prompt"],
        "users_completion": users["completion"],
        "unattributed_prompt": rest["prompt"],
        "unattributed_completion": rest["completion"],
        "difference": difference,
        "exact": rest["exact"],
        **{f"requests_{cause}": number for cause, number in sorted(causes.items())},
    }
    return figures, wrong


def scraped(plane: DataPlane, model_server: int) -> str:
    jobs = (
        ("limitador", plane.http_port, "/metrics"),
        ("vllm", model_server, "/metrics"),
        ("envoy", plane.admin_port, "/stats/prometheus"),
    )
    scrapes = [{"job_name": job, "metrics_path": path, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port, path in jobs]
    return json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrapes})


def run(folder: Path) -> tuple[Figures, list[str]]:
    programs = {"envoy": str(program("python").with_name("envoy")), "limitador": str(program("limitador").with_name("limitador-server"))}
    planned = plan(REQUESTS)
    with started(programs, folder, Worker, keep=True) as plane:
        server = t.cast("Worker", plane.model_server)
        options = {"storage.tsdb.retention.time": "1d", "enable-feature": "promql-extended-range-selectors"}
        with serving(folder, options, scraped(plane, server.server_port)) as url:
            prometheus = Prometheus(url)
            # Everything is scraped once before it counts; Envoy has its counter from the first decision on.
            send(plane.gateway_port, Planned("probe", "tokenize", "plain", 1))
            start = settled(prometheus)
            before, passed = until_quiet(plane), silent(plane)
            begun = time.monotonic()
            statuses, near = under_kills(plane, planned)
            seconds = time.monotonic() - begun
            after = until_quiet(plane)
            metrics = {key: value - before.get(key, 0) for key, value in after.items()}
            question = Question(start, prometheus.now_ms(), (SCOPE,), wait_seconds=60)
            report = read_usage(prometheus, question).as_dict()["tokens"]
            figures, wrong = balance(list(zip(planned, near, strict=True)), metrics, report, server.worked, silent(plane) - passed)
    mix = collections.Counter(one.format for one in planned)
    more = {f"status_{status}": number for status, number in sorted(collections.Counter(statuses).items())}
    return {**figures, "seconds": round(seconds, 1), **more, **{f"of_{name}": number for name, number in sorted(mix.items())}}, wrong


def settled(prometheus: Prometheus) -> int:
    """A moment from which on all three are scraped."""
    for _try in range(120):
        found = prometheus.vector(
            'count({__name__=~"metered_calls|unmetered_calls|vllm:prompt_tokens_total|envoy_cluster_ratelimit_ok"})', prometheus.now_ms()
        )
        if found and float(found[0][1]) >= 3:
            question = Question(prometheus.now_ms() - 1000, prometheus.now_ms(), (SCOPE,), wait_seconds=30)
            return read_usage(prometheus, question).end
        time.sleep(0.5)
    raise SystemExit("bench: Prometheus did not scrape limiter, model server and gateway within a minute")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="llm-bench-") as folder:
        figures, wrong = run(Path(folder))
    write("mixed", figures)
    if wrong:
        print("\n".join(f"WRONG: {line}" for line in wrong[:20]))
        sys.exit(1)


if __name__ == "__main__":
    main()
