# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboard of finance."""

from __future__ import annotations

from boards.expressions import limited_share
from boards.panels import ESTIMATE, SHARE, Query, bars, board, choice, figure, plot, rows, words
from grafana_foundation_sdk.models import dashboard as models


def finance() -> models.Dashboard:
    of = 'currency="$currency", group=~"$group", tier=~"$tier"'
    month = f"llm:cost_by_group:month{{{of}}}"
    passed = "(day_of_month() - 1 + hour() / 24 + minute() / 1440) / days_in_month()"

    def used(meter: str) -> str:
        return f'llm:usage_by_group:increase{{meter=~"{meter}", group=~"$group", tier=~"$tier"}}'

    def daily(label: str) -> Query:
        return Query(f"sum by ({label}) (sum_over_time(llm:cost_by_group:increase{{{of}}}[24h]))", f"{{{{{label}}}}}")

    overview = [
        figure("This month, $currency (estimate)", f"sum({month})", about=ESTIMATE),
        figure(
            "Month's end, $currency (forecast)",
            f"sum({month}) / scalar(clamp_min({passed}, 1 / 1440))",
            about=f"If the rest of the month is like what has passed of it. {ESTIMATE}",
        ),
        figure("Last 24 hours, $currency (estimate)", f"sum(sum_over_time(llm:cost_by_group:increase{{{of}}}[24h]))", about=ESTIMATE),
        figure(
            "Limited share",
            limited_share(f"sum_over_time({used('limited_requests')}[$__range])", f"sum_over_time({used('requests')}[$__range])"),
            SHARE,
            "Calls that were refused because a limit was reached, of all, in the chosen time.",
        ),
        figure(
            "Unattributed tokens",
            "clamp_min(sum(llm:unattributed_tokens:increase1h), 0) / (sum(llm:served_tokens:increase1h) > 0)",
            SHARE,
            "Share of what the model servers counted within the last hour that was counted for no user.",
            empty="no tokens",
            limits=[0.01, 0.05],
        ),
        figure(
            "Failed scrapes",
            "1 - min(llm:limiter_scrapes:ratio1h)",
            SHARE,
            "Of limiters, within the last hour. What a gap hides is a lower and an upper figure in the report.",
            limits=[0.001, 0.05],
        ),
    ]
    budgets = [
        bars(
            "Budgets used this month (estimate)",
            Query('llm:budget_used:ratio{currency="$currency"}', "{{budget}}"),
            SHARE,
            ESTIMATE,
            limits=[0.5, 0.8, 1],
        ),
        rows(
            "Budgets, $currency",
            ESTIMATE,
            columns={
                "budget": "Budget",
                "amount": "Amount",
                "spent": "Spent (estimate)",
                "share": "Used",
                "forecast": "Month's end (forecast)",
            },
            units={"Used": SHARE},
            amount='max by (budget) (llm:budget{currency="$currency"})',
            spent='max by (budget) (llm:budget_cost:month{currency="$currency"})',
            share='max by (budget) (llm:budget_used:ratio{currency="$currency"})',
            forecast=f'max by (budget) (llm:budget_cost:month{{currency="$currency"}}) / scalar(clamp_min({passed}, 1 / 1440))',
        ),
    ]
    costs = [
        plot("By group, $currency in 24 hours (estimate)", daily("group"), about=ESTIMATE, stacked=True),
        plot("By tier, $currency in 24 hours (estimate)", daily("tier"), about=ESTIMATE, stacked=True),
        plot("By model, $currency in 24 hours (estimate)", daily("model"), about=f"Calls have no model. {ESTIMATE}", stacked=True),
        plot("By meter, $currency in 24 hours (estimate)", daily("meter"), about=ESTIMATE, stacked=True),
        rows(
            "This month, $currency (estimate)",
            ESTIMATE,
            columns={"group": "Group", "tier": "Tier", "model": "Model", "meter": "Meter", "cost": "Cost (estimate)"},
            cost=f"sum by (group, tier, model, meter) ({month})",
        ),
        bars(
            "Top users, $currency in 24 hours (estimate)",
            Query(f"topk(10, sum by (user) (llm:cost:increase1d{{{of}}}))", "{{user}}"),
            about=ESTIMATE,
        ),
    ]
    usage = [
        plot("Calls by tier", Query(f"sum by (tier) (sum_over_time({used('requests')}[1h]))", "{{tier}}"), about="An hour.", stacked=True),
        plot(
            "Tokens by model",
            Query(f"sum by (model, meter) (sum_over_time({used('(prompt|completion|unsplit)_tokens')}[1h]))", "{{model}} {{meter}}"),
            about="An hour.",
            stacked=True,
        ),
        plot(
            "Unattributed tokens",
            Query("clamp_min(llm:unattributed_tokens:increase1h, 0)", "{{model}}"),
            about="Of the last hour, by model: what its servers counted, less what users were counted for. The report names the causes.",
        ),
        plot(
            "Scrapes of limiters",
            Query("llm:limiter_scrapes:ratio1h", "{{instance}}"),
            unit=SHARE,
            about="That succeeded within the last hour.",
        ),
        rows(
            "Prices, $currency",
            "Of one unit, as they are now.",
            width=24,
            columns={
                "entry": "Entry",
                "user": "User",
                "group": "Group",
                "tier": "Tier",
                "model": "Model",
                "meter": "Meter",
                "price": "Price of one",
            },
            price='llm:price{currency="$currency"}',
        ),
    ]
    return board(
        "llm-finance",
        "LLM gateway / Finance",
        "What usage may cost, against budgets, and how far the figures can be trusted. Estimates; the report bills.",
        "now-7d",
        [
            choice("currency", "Currency", "label_values(llm:price, currency)", several=False),
            choice("group", "Group", "label_values(llm:usage_by_group:increase, group)"),
            choice("tier", "Tier", "label_values(llm:usage_by_group:increase, tier)"),
        ],
        ("", [words(f"**Every amount of money here is an estimate.** {ESTIMATE}")]),
        ("Overview", overview),
        ("Budgets", budgets),
        ("Costs", costs),
        ("Usage and quality of the data", usage),
    )
