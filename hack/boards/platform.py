# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboard of the platform engineer."""

from __future__ import annotations

from boards.expressions import of_server
from boards.panels import NONE, SHARE, Query, board, figure, plot, rows
from grafana_foundation_sdk.models import dashboard as models

# Of a gateway: Istio's own metrics, or those of a plain Envoy, as on the local stack.
ENVOY = "envoy_http_[0-9].+__downstream_rq"


def _latency(quantile: float) -> str:
    istio = f"histogram_quantile({quantile}, sum by (le) (rate(istio_request_duration_milliseconds_bucket[$__rate_interval])))"
    envoy = f'histogram_quantile({quantile}, sum by (le) (rate({{__name__=~"{ENVOY}_time_bucket"}}[$__rate_interval])))'
    return f"({istio} or {envoy}) / 1000"


def platform() -> models.Dashboard:
    istio, envoy = "istio_requests_total", f'__name__=~"{ENVOY}_xx"'
    by_class = (
        f'sum by (class) (label_replace(rate({istio}[$__rate_interval]), "class", "$1", "response_code", "(.).*")'
        f' or label_replace(rate({{{envoy}}}[$__rate_interval]), "class", "$1", "envoy_response_code_class", "(.+)"))'
    )
    upset = f'{envoy}, envoy_response_code_class="5"'
    failed = f'sum(rate({istio}{{response_code=~"5.."}}[$__rate_interval])) or sum(rate({{{upset}}}[$__rate_interval]))'
    answered = f"sum(rate({istio}[$__rate_interval])) or sum(rate({{{envoy}}}[$__rate_interval]))"
    traffic = [
        plot(
            "Calls", Query('sum by (meter) (llm:usage:rate5m{meter=~"requests|limited_requests"})', "{{meter}}"), unit="reqps", stacked=True
        ),
        plot(
            "Answers of the gateway",
            Query(by_class, "{{class}}xx"),
            unit="reqps",
            about="429 is among 4xx, as are wrong keys.",
            stacked=True,
        ),
        plot("Latency of the gateway", *(Query(_latency(one), f"p{one * 100:g}") for one in (0.5, 0.95, 0.99)), unit="s"),
        plot(
            "Decisions of Authorino",
            Query("sum by (status) (rate(auth_server_response_status[$__rate_interval]))", "{{status}}"),
            unit="reqps",
        ),
        plot("Limited share by tier", Query("llm_rate_limit_effectiveness_by_tier", "{{tier}}"), unit=SHARE, empty=NONE),
        plot(
            "Errors of the gateway",
            Query(f"({failed}) / (({answered}) > 0)", "5xx"),
            unit=SHARE,
            about="Share of answers with 5xx.",
            empty=NONE,
        ),
    ]
    servers = [
        plot(
            "Tokens by model",
            Query("sum by (model_name) (rate(vllm:prompt_tokens_total[$__rate_interval]))", "{{model_name}} prompt"),
            Query("sum by (model_name) (rate(vllm:generation_tokens_total[$__rate_interval]))", "{{model_name}} completion"),
            about="Per second, as the model servers count.",
        ),
        plot(
            "Time to the first token",
            *(Query(of_server(one, "time_to_first_token_seconds"), f"{{{{model_name}}}} p{one * 100:g}") for one in (0.5, 0.95)),
            unit="s",
        ),
        plot(
            "Time to the whole answer",
            *(Query(of_server(one, "e2e_request_latency_seconds"), f"{{{{model_name}}}} p{one * 100:g}") for one in (0.5, 0.95)),
            unit="s",
        ),
        plot(
            "Requests on the servers",
            Query("sum by (model_name) (vllm:num_requests_running)", "{{model_name}} running"),
            Query("sum by (model_name) (vllm:num_requests_waiting)", "{{model_name}} waiting"),
        ),
    ]
    health = [
        figure("Limiters", "count(limitador_up == 1)", about="Those that are scraped. Without one, calls pass unlimited and unmetered."),
        figure("Scrapes of limiters", "min(llm:limiter_scrapes:ratio1h)", SHARE, "That succeeded within the last hour."),
        figure(
            "Scraped twice",
            "count(count by (instance) (limitador_up) > 1) or vector(0)",
            about="Limiters that two monitors have scraped.",
            limits=[1],
        ),
        figure(
            "Counters lost",
            "sum(max by (instance) (resets(authorized_calls[1h])))",
            about="Times that a counter of a limiter restarted within the last hour.",
            empty=NONE,
            limits=[1],
        ),
        figure(
            "Limits in place",
            "min(limitador_limits_last_reload_successful)",
            about="1 unless a limiter refused the limits that it was given last.",
            empty=NONE,
        ),
        figure("Policies in effect", 'sum(kuadrant_policies_enforced{status="true"})', about="As Kuadrant counts them.", empty=NONE),
        rows(
            "Alerts",
            "That fire now.",
            empty=NONE,
            columns={
                "alertname": "Alert",
                "severity": "Severity",
                "tier": "Tier",
                "model": "Model",
                "budget": "Budget",
                "instance": "Instance",
                "now": "Firing",
            },
            now='ALERTS{alertname=~"LLM.+", alertstate="firing"}',
        ),
        rows(
            "Scrape targets",
            "Whether the last scrape succeeded.",
            columns={"job": "Job", "instance": "Instance", "up": "Up"},
            up="min by (job, instance) (up)",
        ),
    ]
    metering = [
        plot(
            "Unattributed tokens",
            Query("clamp_min(llm:unattributed_tokens:increase1h, 0)", "{{model}}"),
            about="Of the last hour, by model: what its servers counted, less what users were counted for.",
        ),
        plot(
            "Answers without usage",
            Query("sum by (reason) (rate(unmetered_calls[$__rate_interval]))", "{{reason}}"),
            unit="reqps",
            about="Their tokens are among the unattributed ones.",
            empty=NONE,
        ),
    ]
    return board(
        "llm-platform",
        "LLM gateway / Platform",
        "Is the gateway well: calls, answers, latency, errors, limits, model servers, and whether everything is counted.",
        "now-3h",
        [],
        ("Traffic", traffic),
        ("Model servers", servers),
        ("Health", health),
        ("Metering", metering),
    )
