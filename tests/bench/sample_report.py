# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports to test with: a month of three tenants, with everything that a report can show."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Pricing, Source, make_report, parse_pricing
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

DAY = 86_400_000
START = parse_time("2026-11-01T00:00:00Z", "")
END = parse_time("2026-12-01T00:00:00Z", "")
Who = tuple[str | None, str | None, str | None]
PEOPLE: tuple[Who, ...] = tuple(
    (user, group, tier)
    for group, tier, users in (
        ("research", "enterprise", ("amara", "bjorn", "chen", "daria", "eduardo")),
        ("support", "premium", ("fatima", "goran", "hana")),
        ("trial", "free", ("ivan", "jia", "kofi", "lena")),
    )
    for user in users
)
BOOK: dict[str, t.Any] = {
    "currency": "EUR",
    "entries": [
        {"name": "list", "price": {"request": "0.0005", "prompt_per_1k": "0.15", "completion_per_1k": "0.60"}},
        {"name": "list from 16 November", "valid_from": "2026-11-16", "price": {"completion_per_1k": "0.50"}},
        {"name": "llama", "model": "llama-3.1-8b", "price": {"prompt_per_1m": "40", "completion_per_1m": "160", "cached_per_1m": "10"}},
        {"name": "free", "tier": "free", "price": {"request": "0", "limited_request": "0"}},
        {"name": "enterprise seat", "tier": "enterprise", "monthly_fee": "49.00"},
        {
            "name": "research contract",
            "group": "research",
            "price": {"request": "0.0004"},
            "included": {"requests": 20_000},
            "per": "group",
        },
    ],
}
BUDGETS = [
    {"group": "research", "amount": "6000.00"},
    {"group": "support", "amount": "3000.00"},
    {"user": "chen", "amount": "800.00"},
    {"tier": "free", "amount": "2500.00"},
]


def options(**more: t.Any) -> Pricing:
    given: dict[str, t.Any] = {"tiers": None, "currency": "USD", "price_book": BOOK, "what_if_price_book": None, "budgets": []}
    given["require_prices"] = False
    given |= dict.fromkeys(("attributes", "keys", "adjustments", "invoice", "only", "split_by"))
    return parse_pricing({**given, **more})


def usage(start: int, end: int, people: t.Sequence[Who] = PEOPLE) -> PeriodUsage:
    """Every day the same, however it is cut: nights and weekends are quiet, and 8 November is not known to its end."""
    lines: list[UsageLine] = []
    served: dict[str, dict[tuple[str | None, ...], Count]] = {"prompt": {}, "completion": {}}
    for day in range(start, end, DAY):
        busy = 0.25 if (day // DAY) % 7 in (2, 3) else 1.0
        for number, (user, group, tier) in enumerate(people):
            rng = random.Random(f"{day}/{number}")  # noqa: S311 - repeatable, not secret
            requests = int(rng.randrange(40, 400) * busy)
            account = {"user": user, "group": group, "tier": tier}
            limited = rng.randrange(requests // 3) if tier == "free" and requests > 6 else rng.randrange(4)
            for meter, quantity in (("requests", requests), ("limited_requests", limited)):
                lines.append(UsageLine(day, day + DAY, model=None, meter=meter, quantity=Count(quantity, quantity), **account))
            for model, share in (("llama-3.1-8b", 3), ("qwen-2.5-72b", 1)):
                prompt, completion = requests * share * rng.randrange(150, 400), requests * share * rng.randrange(50, 180)
                parts = {"prompt_tokens": prompt, "completion_tokens": completion, "cached_tokens": prompt // 4}
                for meter, quantity in parts.items():
                    lines.append(UsageLine(day, day + DAY, model=model, meter=meter, quantity=Count(quantity, quantity), **account))
                for part, quantity in (("prompt", prompt), ("completion", completion + completion // 90)):
                    of = served[part]
                    of[(model,)] = of.get((model,), Count()) + Count(quantity, quantity)
    scrape: dict[str, t.Any] = {
        "instance": "10.244.0.17:8080",
        "job": "kuadrant-system/limitador",
        "scrapes": (end - start) // 15_000,
        "first": format_time(start + 4_000),
        "last": format_time(end - 11_000),
        "interval_seconds": 15.0,
        "gaps": [{"after": "2026-11-08T03:10:04Z", "until": "2026-11-08T03:14:19Z"}] if start <= START + 7 * DAY < end else [],
        "restarts": [],
    }
    notes = tuple(
        f"10.244.0.17:8080: {len(scrape['gaps'])} gaps in its scrapes, the longest 255 s; harmless unless it restarted in one"
        for _gap in scrape["gaps"]
    )
    seen = Measured(served, Count(), (), ())
    return PeriodUsage(start, end, tuple(lines), Count(), seen, {"aborted": Count(31, 31)}, (scrape,), notes)


def report(
    people: t.Sequence[Who] = PEOPLE, *, start: int = START, end: int = END, timeline: str = "day", **more: t.Any
) -> dict[str, t.Any]:
    source = Source(start, end, "measure usage", lambda since, until: usage(since, until, people), family="upstream")
    return make_report(source, options(**more), timeline)


def full_report() -> dict[str, t.Any]:
    """Until the 24th, so that there is something to forecast; with budgets and another price book."""
    cheaper = {
        "currency": "EUR",
        "entries": [{"name": "flat", "price": {"request": "0.002", "prompt_per_1k": "0.05", "completion_per_1k": "0.2"}}],
    }
    return report(end=START + 23 * DAY, budgets=BUDGETS, what_if_price_book=cheaper)
