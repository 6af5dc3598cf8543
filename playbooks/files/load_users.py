# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the users of a load test do, for locust. Module gateway_load starts it, and says what to do on its standard input."""

from __future__ import annotations

import collections
import json
import pathlib
import random
import sys
import time

import gevent
from locust import HttpUser, LoadTestShape, events, task

PLAN = json.load(sys.stdin)
WAITING = collections.deque(PLAN["users"])  # the users who do not call now
STATUSES: collections.Counter[int] = collections.Counter()
REQUESTS = pathlib.Path(PLAN["requests_file"]).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - until the end
PROGRESS = pathlib.Path(PLAN["progress_file"])


class Caller(HttpUser):
    """One user after the other; who has stopped may be started again."""

    host = PLAN["url"]

    def wait_time(self):
        return random.uniform(*PLAN["think_time"])  # noqa: S311 - no secret

    def on_start(self):
        self.client.trust_env = False  # a .netrc would replace the key
        self.client.verify = PLAN["ca_path"] or True
        self.who = WAITING.popleft() if WAITING else random.choice(PLAN["users"])  # noqa: S311

    def on_stop(self):
        WAITING.append(self.who)

    @task
    def call(self):
        stream = random.random() < PLAN["stream_share"]  # noqa: S311
        words = " ".join(["word"] * random.choice(PLAN["prompt_words"]))  # noqa: S311
        body = {"model": PLAN["model"], "messages": [{"role": "user", "content": words}], "max_tokens": PLAN["max_tokens"]}
        body |= {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        headers = {"Authorization": f"{PLAN['key_prefix']} {self.who['key']}"}
        headers |= {"Host": PLAN["hostname"]} if PLAN["hostname"] else {}
        sent, started, first, usage, status = time.time(), time.perf_counter(), None, {}, 0
        options = {"headers": headers, "json": body, "stream": True, "timeout": PLAN["timeout"], "allow_redirects": False}
        with self.client.post("/v1/chat/completions", name=self.who["tier"], catch_response=True, **options) as response:
            response.success()  # the report judges, not locust
            try:
                for line in response.iter_lines() if response.status_code else ():
                    first = first or (time.perf_counter() - started if stream and response.ok else None)
                    usage = usage_of(line) or usage
                status = response.status_code
            except OSError:  # it broke off
                status = 0
        STATUSES[status] += 1
        record = {"user": self.who["user"], "tier": self.who["tier"], "at": sent, "seconds": time.perf_counter() - started, "first": first}
        record |= {"status": status, "stream": stream, "tokens": usage.get("total_tokens", 0)}
        REQUESTS.write(json.dumps(record) + "\n")


def usage_of(line):
    """Of one event, or of an answer in one line."""
    text = line.removeprefix(b"data: ")
    if not text.startswith(b"{") or b'"usage"' not in text:
        return None
    return json.loads(text).get("usage")


class Stages(LoadTestShape):
    """So many users until such a second."""

    def tick(self):
        passed = self.get_run_time()
        return next(((users, users) for until, users in PLAN["stages"] if passed < until), None)


@events.test_start.add_listener
def begin(environment, **_kwargs):
    gevent.spawn(tell, environment)


def tell(environment):
    """A line of progress, again and again."""
    passed = 0
    while True:
        gevent.sleep(PLAN["progress_seconds"])
        passed += PLAN["progress_seconds"]
        answers = ", ".join(f"{number} x {status or 'none'}" for status, number in sorted(STATUSES.items()))
        with PROGRESS.open("a", encoding="utf-8") as file:
            file.write(f"{passed} s: {environment.runner.user_count} users, answers {answers or 'none yet'}\n")
