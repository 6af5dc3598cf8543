# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys of those who have spent their budget move to another tier, and back; nothing else undoes it meanwhile."""

from __future__ import annotations

import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import parse_budgets
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import TIER_ANNOTATION
from ansible_collections.kuadrant.llm.plugins.module_utils._price.enforce import month_start, spent, verdict
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_time
from ansible_collections.kuadrant.llm.plugins.modules import api_key, budget_enforcement

Server = t.Any  # the fake of tests/unit/conftest.py
Kube = t.Any  # the fake of conftest.py
Run = t.Callable[..., dict[str, t.Any]]
Options = dict[str, t.Any]

TIERS = [
    {"name": "free", "requests": [{"limit": 50, "window": "1m"}], "price": {"request": "0.01"}},
    {"name": "slow", "requests": [{"limit": 1, "window": "1m"}], "price": {"request": "0.01"}},
    {"name": "suspended", "requests": [{"limit": 0, "window": "1h"}]},
]
KEYS = [{"name": f"{user}-key", "user": user, "tier": "free", "groups": groups} for user, groups in (("ann", ["a"]), ("bob", ["b"]))]
MINUTE = 60_000
# Two minutes past the start of a month; the month before ends with 150 calls of ann.
NOW = parse_time("2026-12-01T00:02:00Z", "now")


@pytest.fixture
def cluster(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Kube:
    monkeypatch.setattr(api_key, "connect", lambda _module: kube)
    monkeypatch.setattr(budget_enforcement, "connect", lambda _module: kube)
    monkeypatch.setattr(apply.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(apply.Writer, "settle", lambda _writer: None)
    return kube


@pytest.fixture
def gateway(prometheus: Server, cluster: Kube, run_module: Run) -> t.Callable[..., dict[str, t.Any]]:
    """Keys of two users, and twelve minutes of calls up to now: ten a minute of ann, one of bob."""
    assert run_module(api_key.main, namespace="llm", keys=KEYS)["changed"] is True
    cluster.writes.clear()
    prometheus.now = NOW
    first = NOW - 12 * MINUTE
    scrapes = range(first, NOW + 1, MINUTE)
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes), counting_since=first / 1000 - 3600)
    for user, rate in (("ann", 10), ("bob", 1)):
        samples = [(moment, (moment - first) // MINUTE * rate) for moment in scrapes]
        prometheus.add("authorized_calls", *samples, user=user, group=user[0], tier="free")

    def enforce(*budgets: Options, **options: t.Any) -> dict[str, t.Any]:
        asked = {"limited_tier": "slow", "refused_tier": "suspended", **options}
        return run_module(
            budget_enforcement.main, prometheus_url=prometheus.url, namespace="llm", tiers=TIERS, budgets=list(budgets), **asked
        )

    return enforce


def tier_of(cluster: Kube, name: str) -> tuple[str, str | None]:
    annotations = cluster.objects["secrets", "llm", name]["metadata"]["annotations"]
    return annotations[TIER_ANNOTATION], annotations.get("kuadrant.llm/suspended-from")


def test_whoever_has_spent_a_budget_is_refused_until_the_month_ends(gateway: Run, cluster: Kube, prometheus: Server) -> None:
    budget = {"user": "ann", "amount": "0.20", "on_reached": "refuse"}
    told = gateway(budget, check=True)
    assert (told["changed"], cluster.writes) == (True, [])
    done = gateway(budget)
    assert [(key["name"], key["tier"], key["suspended_from"]) for key in done["api_keys"]] == [("ann-key", "suspended", "free")]
    assert done["api_keys"] == told["api_keys"]
    assert done["api_keys"][0]["reasons"] == ["the budget of user ann is spent (0.20 of 0.20)"]
    assert done["budgets"] == [{"user": "ann", "amount": "0.20", "spent": "0.20", "reached": True, "on_reached": "refuse"}]
    assert done["month_start"] == "2026-12-01T00:00:00Z"
    assert done["diff"]["after"]["ann-key"]["tier"] == "suspended"
    assert (tier_of(cluster, "ann-key"), tier_of(cluster, "bob-key")) == (("suspended", "free"), ("free", None))
    cluster.writes.clear()
    again = gateway(budget)
    assert (again["changed"], again["api_keys"], cluster.writes) == (False, [], [])
    # A month later: nothing is spent of it.
    later = parse_time("2027-01-01T00:01:00Z", "later")
    for _labels, samples in prometheus.series:
        samples += [(later - MINUTE, samples[-1][1]), (later, samples[-1][1])]
    prometheus.now = later
    free = gateway(budget)
    assert [(key["name"], key["tier"], key["reasons"]) for key in free["api_keys"]] == [("ann-key", "free", ["back to tier free"])]
    assert tier_of(cluster, "ann-key") == ("free", None)


def test_the_playbook_site_does_not_undo_it(gateway: Run, cluster: Kube, run_module: Run) -> None:
    gateway({"user": "ann", "amount": "0.20", "on_reached": "refuse"})
    assert run_module(api_key.main, namespace="llm", keys=KEYS)["changed"] is False
    moved = [{**KEYS[0], "tier": "slow"}, KEYS[1]]
    changed = run_module(api_key.main, namespace="llm", keys=moved)
    assert changed["api_keys"][0]["reasons"] == ["the tier that it gets back changes"]
    assert tier_of(cluster, "ann-key") == ("suspended", "slow")
    gateway({"user": "ann", "amount": "9", "on_reached": "refuse"})
    assert tier_of(cluster, "ann-key") == ("slow", None)


def test_the_month_begins_in_the_named_time_zone(gateway: Run, cluster: Kube) -> None:
    """In Berlin it is 01:02 on the first, so the hour before midnight in UTC is of this month as well."""
    budget = {"user": "ann", "amount": "1.00", "on_reached": "refuse"}
    assert gateway(budget)["budgets"][0]["spent"] == "0.20"
    berlin = gateway(budget, time_zone="Europe/Berlin")
    assert (berlin["month_start"], berlin["budgets"][0]["spent"]) == ("2026-11-30T23:00:00Z", "1.20")
    assert tier_of(cluster, "ann-key") == ("suspended", "free")


@pytest.mark.parametrize(
    ("budgets", "tier"),
    [
        ([{"user": "ann", "amount": "0.20"}], "free"),
        ([{"user": "ann", "amount": "0.21", "on_reached": "refuse"}], "free"),
        ([{"user": "ann", "amount": "0.20", "on_reached": "limit"}], "slow"),
        ([{"group": "a", "amount": "0.20", "on_reached": "limit"}], "slow"),
        ([{"tier": "free", "amount": "0.22", "on_reached": "refuse"}], "suspended"),
        ([{"user": "ann", "amount": "0.20", "on_reached": "limit"}, {"group": "a", "amount": "0.1", "on_reached": "refuse"}], "suspended"),
        ([{"group": "b", "amount": "0.01", "on_reached": "refuse"}], "free"),
    ],
)
def test_the_strictest_budget_that_is_spent_decides(gateway: Run, cluster: Kube, budgets: list[Options], tier: str) -> None:
    gateway(*budgets)
    assert tier_of(cluster, "ann-key")[0] == tier
    assert gateway(*budgets)["changed"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refused_tier": None}, "refused_tier: is not given, and a budget has on_reached refuse"),
        ({"refused_tier": "gone"}, "refused_tier: 'gone' is not one of the tiers free, slow, suspended"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone: 'Europe/Atlantis' is no time zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone: '../etc/passwd' is no time zone"),
    ],
)
def test_bad_options_are_named_before_anything_changes(gateway: Run, cluster: Kube, options: Options, message: str) -> None:
    assert message in gateway({"user": "ann", "amount": "0.20", "on_reached": "refuse"}, **options)["msg"]
    assert cluster.writes == []


def test_a_budget_says_what_it_does() -> None:
    with pytest.raises(GatewayError, match="on_reached: 'explode' is not one of report, limit, refuse"):
        parse_budgets([{"user": "ann", "amount": "1", "on_reached": "explode"}])


def test_earlier_values_of_a_key_move_along(gateway: Run, cluster: Kube, run_module: Run) -> None:
    run_module(api_key.main, namespace="llm", keys=[{**KEYS[0], "rotation": "1", "overlap": "1h"}, KEYS[1]])
    gateway({"user": "ann", "amount": "0.20", "on_reached": "refuse"})
    names = [name for _plural, _space, name in cluster.objects if name.startswith("ann-key")]
    assert len(names) == 2
    assert {tier_of(cluster, name)[0] for name in names} == {"suspended"}


def test_a_month_begins_at_midnight_of_its_zone_in_summer_too() -> None:
    for zone, moment, began in (
        ("Etc/UTC", "2026-07-15T12:00:00Z", "2026-07-01T00:00:00Z"),
        ("Europe/Berlin", "2026-07-15T12:00:00Z", "2026-06-30T22:00:00Z"),
        ("Europe/Berlin", "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z"),
        ("Europe/Berlin", "2026-03-31T22:00:00Z", "2026-03-31T22:00:00Z"),
    ):
        assert format_time(month_start(parse_time(moment, "moment"), zone)) == began


def test_spending_of_several_groups_counts_for_each() -> None:
    found = spent(
        parse_budgets([{"group": "a", "amount": "1", "on_reached": "refuse"}, {"group": "b", "amount": "5", "on_reached": "limit"}]),
        [{"user": "ann", "group": "a,b", "tier": "free", "cost": "2.50"}, {"user": None, "group": None, "tier": "free", "cost": "9"}],
    )
    assert [one.amount for one in found] == [Decimal("2.50"), Decimal("2.50")]
    decides = verdict(found, Account("bob", "b,a", "free"))
    assert decides is not None
    assert decides.budget.name == "a"
    assert verdict(found, Account("bob", "b", "free")) is None
