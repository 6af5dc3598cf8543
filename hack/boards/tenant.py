# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboard of a tenant."""

from __future__ import annotations

from boards.expressions import limited_share, of_server
from boards.panels import ESTIMATE, NONE, SHARE, Query, bars, board, choice, figure, plot, rows, words
from grafana_foundation_sdk.models import dashboard as models


def tenant() -> models.Dashboard:
    of = 'group=~"$group", user=~"$user"'

    def used(meter: str) -> str:
        return f'llm:usage:increase{{meter=~"{meter}", {of}}}'

    def summed(meter: str) -> str:
        return f"sum(sum_over_time({used(meter)}[$__range]))"

    def by_user(what: str) -> str:
        return f"sum by (user, group, tier) (sum_over_time({what}[$__range]))"

    overview = [
        figure("Calls", summed("requests"), about="Admitted, in the chosen time."),
        figure(
            "Limited share",
            limited_share(f"sum_over_time({used('limited_requests')}[$__range])", f"sum_over_time({used('requests')}[$__range])"),
            SHARE,
            "Calls that were refused because a limit was reached, of all.",
            limits=[0.2, 0.5],
        ),
        figure("Prompt tokens", summed("prompt_tokens")),
        figure("Completion tokens", summed("completion_tokens")),
        figure(
            "Cost, $currency (estimate)", f'sum(sum_over_time(llm:cost:increase{{currency="$currency", {of}}}[$__range]))', about=ESTIMATE
        ),
        figure(
            "Answers without usage",
            f"{summed('unmetered_requests')} or vector(0)",
            about="Their tokens are counted for no user: streams without include_usage, aborted answers, errors.",
        ),
    ]
    usage = [
        plot("Calls by user", Query(f'sum by (user) (llm:usage:rate5m{{meter="requests", {of}}})', "{{user}}"), unit="reqps", stacked=True),
        plot(
            "Limited calls by user",
            Query(f'sum by (user) (llm:usage:rate5m{{meter="limited_requests", {of}}})', "{{user}}"),
            unit="reqps",
            empty=NONE,
            stacked=True,
        ),
        plot(
            "Tokens by model",
            Query(f'sum by (model, meter) (llm:usage:rate5m{{meter=~".+_tokens", {of}}})', "{{model}} {{meter}}"),
            about="Per second. Cached tokens are a part of the prompt's.",
        ),
        plot(
            "Cost by user, $currency an hour (estimate)",
            Query(f'sum by (user) (llm:cost:increase1h{{currency="$currency", {of}}})', "{{user}}"),
            about=ESTIMATE,
            stacked=True,
        ),
        rows(
            "Users",
            f"In the chosen time. {ESTIMATE}",
            width=24,
            columns={
                "user": "User",
                "group": "Group",
                "tier": "Tier",
                "calls": "Calls",
                "limited": "Limited",
                "prompt": "Prompt tokens",
                "completion": "Completion tokens",
                "cost": "Cost (estimate)",
            },
            calls=by_user(used("requests")),
            limited=by_user(used("limited_requests")),
            prompt=by_user(used("prompt_tokens")),
            completion=by_user(used("completion_tokens")),
            cost=by_user(f'llm:cost:increase{{currency="$currency", {of}}}'),
        ),
        bars(
            "Budgets used this month (estimate)",
            Query('llm:budget_used:ratio{user!="", user=~"$user"} or llm:budget_used:ratio{group!="", group=~"$group"}', "{{budget}}"),
            SHARE,
            ESTIMATE,
            empty="no budget",
            limits=[0.5, 0.8, 1],
        ),
        plot(
            "Time to the whole answer",
            *(Query(of_server(one, "e2e_request_latency_seconds"), f"{{{{model_name}}}} p{one * 100:g}") for one in (0.5, 0.95)),
            unit="s",
            about="Of all tenants' requests.",
        ),
    ]
    return board(
        "llm-tenant",
        "LLM gateway / Tenant",
        "What groups and users used, how much was limited, and what it may cost. The choice of group and user is no access control.",
        "now-24h",
        [
            choice("currency", "Currency", "label_values(llm:price, currency)", several=False),
            choice("group", "Group", "label_values(llm:usage:increase, group)"),
            choice("user", "User", 'label_values(llm:usage:increase{group=~"$group"}, user)'),
        ],
        ("", [words(f"**Costs are estimates.** {ESTIMATE}")]),
        ("Overview", overview),
        ("Usage", usage),
    )
