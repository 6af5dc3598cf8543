# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts that are kept, and what Limitador says is left."""

from __future__ import annotations

import threading
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._status.access import limits_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.counters import parse_counters, path_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.options import parse_settings
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import GatewayParts, Kept


def counter(name: str = "free", maximum: int = 2, seconds: int = 120, remaining: int = 1, **who: str) -> dict[str, t.Any]:
    limit = {"name": name, "max_value": maximum, "seconds": seconds}
    variables = {f'descriptors[0]["auth.identity.{key}"]': value for key, value in who.items()}
    return {"limit": limit, "set_variables": variables, "remaining": remaining, "expires_in_seconds": 87}


def test_a_part_is_read_again_when_it_is_old() -> None:
    now, answers = [0.0], iter([1, 2])
    kept = Kept(lambda: next(answers), 10, lambda: now[0])
    assert [kept.get().value, kept.get().value] == [1, 1]
    now[0] = 10
    assert kept.get().value == 2


def test_a_failure_is_kept_and_told() -> None:
    def read() -> int:
        raise GatewayError("it does not answer")

    assert (kept := Kept(read, 10).get()).value is None
    assert kept.trouble == "it does not answer"


def test_nobody_waits_for_a_part_that_was_known_before() -> None:
    now, begun, go_on = [0.0], threading.Event(), threading.Event()

    def read() -> int:
        if now[0]:
            begun.set()
            assert go_on.wait(30)
        return int(now[0])

    kept = Kept(read, 10, lambda: now[0])
    kept.get()
    now[0] = 20
    reader = threading.Thread(target=kept.get)
    reader.start()
    assert begun.wait(30)
    assert kept.get().value == 0
    go_on.set()
    reader.join(30)
    assert kept.get().value == 20


def test_counters_are_told_in_the_words_of_tiers() -> None:
    found = parse_counters(
        [
            counter(userid="bob", groups="free", tier="free", remaining=2),
            counter(userid="alice", groups="free", tier="free", remaining=0),
            counter("gold/spend:Etc/UTC;0,0,0,0", 5_000_000, 768 * 3600, 1_250_000, userid="carol", tier="gold"),
            counter("trial/shadow", 5, 60, 0, userid="dan", tier="trial"),
            # The limit that only counts, and one of everybody.
            counter(maximum=1_000_000_000, seconds=86_400, userid="eve", tier="enterprise"),
            counter("everybody"),
        ]
    )
    assert [(one.user, one.tier, one.remaining, one.maximum, one.spent) for one in found] == [
        ("alice", "free", Decimal(0), Decimal(2), True),
        ("dan", "trial", Decimal(0), Decimal(5), False),
        ("carol", "gold", Decimal("1.25"), Decimal(5), False),
        ("bob", "free", Decimal(2), Decimal(2), False),
    ]
    assert path_of("llm/vllm-httproute") == "/counters/llm%2Fvllm-httproute"


def test_limits_have_the_window_that_is_of_them() -> None:
    rate = {"limit": 2, "window": "2m", "per": "user", "model": None, "shadow": False}
    tier = {
        "name": "free",
        "requests": [rate, {**rate, "window": "1d", "limit": 100}, {**rate, "shadow": True}, {**rate, "per": "group"}],
        "tokens": [{**rate, "limit": 1000, "window": "1h"}],
    }
    counters = parse_counters([counter(userid="alice", tier="free"), counter(maximum=1000, seconds=3600, userid="alice", tier="gold")])
    found = [(one.unit, one.window, one.counter.remaining if one.counter else None) for one in limits_of(tier, counters)]
    assert found == [("requests", "2m", Decimal(1)), ("requests", "1d", None), ("tokens", "1h", None)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "gateway_url"),
        ({"gateway_url": "http://gw", "no_such": 1}, "no_such"),
        ({"gateway_url": "http://gw", "tiers": "free"}, "tiers"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, t.Any], said: str) -> None:
    with pytest.raises(GatewayError, match=said):
        parse_settings(given)


def test_what_is_not_given_is_said_to_be_unknown() -> None:
    source = GatewayParts(parse_settings({"gateway_url": "http://127.0.0.1:9"}))
    assert "limitador_url" in str(source.counters().trouble)
    assert "prometheus_url" in str(source.statement().trouble)
    assert "ledger_dir" in str(source.ledger().trouble)
    with pytest.raises(GatewayError, match="asked whose key"):
        source.caller("some-key")
