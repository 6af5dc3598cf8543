# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Alerts about the gateway itself: that callers do not get answers (symptoms), and what is wrong behind it (causes). Pure.

- A symptom is a share of answers, as Google's SRE workbook burns an error budget: over a long and a short window, so that it neither misses
  a slow loss nor fires long after the end of a short one. An error is an answer 5xx; what else is refused is the caller's own, as is a
  stream that the caller ends.
- A cause is a part that was scraped within the last day and is not any more, or one that says of itself that it fails. What was never
  scraped raises nothing: whoever does not watch Authorino has no alert about it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import promql_string, re2_escape
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time

Rule: t.TypeAlias = dict[str, t.Any]

_ERRORS = "llm:gateway_errors:ratio"
#: Windows of the recorded shares of answers that are errors.
_WINDOWS = ("1m", "5m", "30m", "1h", "6h")
#: How many times faster than allowed the budget of a month is used up, over which windows: 2 % of it in an hour, 5 % in six hours.
_BURNS = (("14.4", "1h", "5m", "critical"), ("6", "6h", "30m", "warning"))

# Envoy of the local stack has one set of counters for each listener of the gateway, named after its address; Istio's has Istio's own.
_ENVOY = '{__name__=~"envoy_listener_http_[0-9].+__downstream_rq_xx"'
_ENVOY_LIVES = "envoy_server_live"

#: More rules would make an object that the API server may refuse.
MAX_KEYS = 500

# What a part shows as long as it is scraped, whatever it does. Authorino's operator and Authorino have controllers of other names.
_PARTS = (
    ("LLMGatewayDown", _ENVOY_LIVES, "Envoy", "No call is answered. See the pods of the Gateway."),
    (
        "LLMAuthorizerDown",
        'controller_runtime_active_workers{controller="authconfig"}',
        "Authorino",
        "Calls are answered 500 or 503, or refused, with good keys too. See the pods of Authorino in the namespace of Kuadrant.",
    ),
    ("LLMModelServerDown", "vllm:num_requests_running", "model server", "Calls are answered 503. See its pods and its scrape target."),
    ("LLMControlPlaneDown", "pilot_info", "istiod", "The gateway goes on with what it knows; changes and new pods of the gateway wait."),
    (
        "LLMOperatorDown",
        "kuadrant_exists",
        "kuadrant-operator",
        "Policies in force stay; changes of policies have no effect, and new pods of the gateway cannot fetch Kuadrant's filter.",
    ),
)
_URGENT = ("LLMGatewayDown", "LLMAuthorizerDown", "LLMModelServerDown")


@dataclasses.dataclass(frozen=True)
class Service:
    """What is promised, and where.

    :param availability: share of calls, 0 to 1, that are to be answered without an error of the gateway or behind it.
    :param gateway: name of the Gateway, to tell its Envoy from others of Istio's; empty: whatever is scraped.
    :param days: how long before the end of a certificate or key there is an alert.
    """

    availability: float = 0.995
    gateway: str = ""
    days: int = 14

    def __post_init__(self) -> None:
        if not 0 < self.availability < 1:
            raise GatewayError(f"availability: {self.availability} is not a share between 0 and 1, such as 0.995")
        if not 1 <= self.days <= 365:
            raise GatewayError(f"expiry_days: {self.days} is not a number of days from 1 to 365")


class KeyEnd(t.NamedTuple):
    """A key, whose it is, and when it expires (RFC 3339)."""

    key: str
    user: str
    expires_at: str


def gateway_rules(service: Service, keys: t.Sequence[KeyEnd] = ()) -> list[Rule]:
    """Rule groups, as in a PrometheusRule's ``spec.groups``. ``keys``: those whose expiry is watched, the first :data:`MAX_KEYS` to end."""
    expiries = list(_expiries(keys))
    alerts = [*_symptoms(service), *_parts(), *_complaints(), *_ends(service.days, bool(expiries))]
    return [
        {"name": "llm-gateway", "interval": "15s", "rules": list(_shares(service.gateway))},
        *([{"name": "llm-gateway-keys", "interval": "2m", "rules": expiries}] if expiries else []),
        {"name": "llm-gateway-alerts", "interval": "15s", "rules": alerts},
    ]


def _shares(gateway: str) -> t.Iterator[Rule]:
    for window in _WINDOWS:
        errors = _answers(window, gateway, 'response_code=~"5.."', 'envoy_response_code_class="5"')
        whole = _answers(window, gateway)
        yield {"record": f"{_ERRORS}{window}", "expr": f"({errors} or 0 * {whole}) / ({whole} > 0)"}


def _answers(window: str, gateway: str, istio: str = "", envoy: str = "") -> str:
    """Answers per second."""
    matchers = [f"source_workload=~{promql_string(f'{re2_escape(gateway)}(-.+)?')}"] if gateway else []
    matchers += ['reporter="source"', *([istio] if istio else [])]
    local = f"{_ENVOY}{', ' + envoy if envoy else ''}}}"
    return f"(sum(rate(istio_requests_total{{{', '.join(matchers)}}}[{window}])) or sum(rate({local}[{window}])))"


def _symptoms(service: Service) -> t.Iterator[Rule]:
    allowed = f"{1 - service.availability:.6g}"
    yield _alert(
        "LLMGatewayFailing",
        f"{_ERRORS}1m > 0.5",
        "critical",
        "Most calls are answered with an error",
        "{{ $value | humanizePercentage }} of the answers of the last minute were 5xx. The other alerts name the part; else see "
        "the logs of the gateway and of the model server.",
    )
    for factor, long, short, severity in _BURNS:
        yield _alert(
            "LLMErrorBudgetBurn",
            f"{_ERRORS}{long} > {factor} * {allowed} and {_ERRORS}{short} > {factor} * {allowed}",
            severity,
            f"Errors use up the budget of a month {factor} times too fast",
            f"{{{{ $value | humanizePercentage }}}} of the answers of the last {long} were 5xx, of which {100 * service.availability:g} % "
            "have to be answered. See the dashboard of the platform.",
            window=long,
        )


def _parts() -> t.Iterator[Rule]:
    for name, sign, part, consequence in _PARTS:
        yield _alert(
            name,
            f"absent({sign}) and on () count(count_over_time({sign}[1d])) > 0",
            "critical" if name in _URGENT else "warning",
            f"No {part} is scraped any more",
            consequence,
            wait="30s",
        )


def _complaints() -> t.Iterator[Rule]:
    yield _alert(
        "LLMLimiterErrors",
        _grown('{__name__=~"envoy_cluster_.*ratelimit_error"}'),
        "critical",
        "Limitador did not answer the gateway",
        "About {{ $value | humanize }} calls of the last two minutes were decided without it, by the failure mode: let through unlimited, "
        "not billed, or refused. See its pods, its storage and its latency.",
    )
    yield _alert(
        "LLMAuthorizerErrors",
        _grown('{__name__=~"envoy_cluster_.*ext_authz_error"}'),
        "critical",
        "Authorino did not answer the gateway",
        "About {{ $value | humanize }} calls of the last two minutes were refused for it. See its pods and its latency.",
    )
    yield _alert(
        "LLMFilterErrors",
        # Of Kuadrant's own filter, which does not tell its services apart.
        _grown('{__name__=~"(wasmcustom_)?kuadrant_errors"}'),
        "critical",
        "Kuadrant's filter in the gateway met errors",
        "About {{ $value | humanize }} in two minutes: Authorino or Limitador did not answer, or a policy names what a call does not have. "
        "Without Limitador calls are unlimited and unbilled. The log of the gateway names the cause.",
    )
    yield _alert(
        "LLMLimitsNotLoaded",
        "min by (instance) (limitador_limits_last_reload_successful) == 0",
        "critical",
        "Limiter {{ $labels.instance }} could not load its limits",
        "It goes on with the limits of before. Its log names what is wrong with the file; see the Limitador resource.",
    )
    yield _alert(
        "LLMLimiterStorageLost",
        "max by (instance) (datastore_partitioned) == 1",
        "critical",
        "Limiter {{ $labels.instance }} does not reach its storage",
        "It decides and counts in memory, for itself alone. A restart now forgets the limits and the usage since then; the bill shows by "
        "how much it may be wrong. Free its disk or bring its storage back; datastore_unwritten_requests says how many calls are at stake.",
        wait="15s",
    )
    yield _alert(
        "LLMPolicyNotEnforced",
        'sum by (kind) (kuadrant_policies_enforced{status="false"}) > 0',
        "critical",
        "{{ $value }} {{ $labels.kind }} not enforced",
        "What it allows or refuses is not in force. kubectl get {{ $labels.kind }} -A, and the conditions of its status, say why.",
        wait="2m",
    )
    yield _alert(
        "LLMKuadrantNotReady",
        'min by (component) (kuadrant_component_ready or label_replace(kuadrant_ready, "component", "kuadrant", "", "")) == 0',
        "warning",
        "Kuadrant says that {{ $labels.component }} is not ready",
        "Changes of policies may have no effect. See the status of the Kuadrant resource.",
        wait="2m",
    )
    rejected = ("envoy_listener_manager_lds_update_rejected", "envoy_cluster_manager_cds_update_rejected", "pilot_total_xds_rejects")
    yield _alert(
        "LLMConfigurationRejected",
        " or ".join(f"sum by (instance) (increase({metric}[10m])) > 0" for metric in rejected),
        "critical",
        "Envoy refused a configuration ({{ $labels.instance }})",
        "It goes on with the one before, so the last change of a policy or route is not in force. Its log names what it refuses.",
    )
    yield _alert(
        "LLMGatewayDisconnected",
        "min by (instance) (envoy_control_plane_connected_state) == 0",
        "warning",
        "Envoy {{ $labels.instance }} has no connection to istiod",
        "It goes on with what it knows, and no change of a policy or route reaches it. See istiod and the network between them.",
        wait="5m",
    )
    yield _alert(
        "LLMRulesFailing",
        'sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total{rule_group=~".*llm-.*"}[15m])) > 0',
        "warning",
        "Rules of {{ $labels.rule_group }} cannot be evaluated",
        "Figures and alerts of it are missing. The page Rules of Prometheus shows the error.",
        wait="5m",
    )


def _grown(counter: str, window: str = "2m") -> str:
    """What was counted within the window. Envoy has such a counter from the first error on, and increase() does not see that one."""
    first = f"({counter} unless {counter} offset {window}) and on (job, instance) {_ENVOY_LIVES} offset {window}"
    return f"sum({first} or increase({counter}[{window}])) > 0"


def _expiries(keys: t.Iterable[KeyEnd]) -> t.Iterator[Rule]:
    for seconds, key, user in sorted((parse_time(end.expires_at, "expires_at") // 1000, end.key, end.user) for end in keys)[:MAX_KEYS]:
        yield {"record": "llm:key_expiry:seconds", "expr": f"vector({seconds})", "labels": {"key": key, "user": user}}


def _ends(days: int, keys: bool) -> t.Iterator[Rule]:
    soon = f"< {days} * 86400"
    yield _alert(
        "LLMCertificateExpires",
        f"min by (exported_namespace, namespace, name) (certmanager_certificate_expiration_timestamp_seconds - time()) {soon}",
        "critical",
        "Certificate {{ $labels.name }} ends in {{ $value | humanizeDuration }}",
        "Clients refuse the gateway afterwards. See the Certificate of cert-manager and its issuer.",
    )
    yield _alert(
        "LLMRootCertificateExpires",
        f"min(citadel_server_root_cert_expiry_timestamp) - time() {soon}",
        "critical",
        "The root certificate of Istio ends in {{ $value | humanizeDuration }}",
        "Gateway, istiod and pods do not trust one another afterwards. Replace it as Istio's documentation says.",
    )
    if keys:
        yield _alert(
            "LLMKeyExpires",
            f"llm:key_expiry:seconds - time() {soon} > 0",
            "warning",
            "API key {{ $labels.key }} of {{ $labels.user }} ends in {{ $value | humanizeDuration }}",
            "Calls with it are refused afterwards. Give it a later expires_at, or tell its user; the next run of chargeback ends this.",
        )


def _alert(name: str, expression: str, severity: str, summary: str, description: str, *, wait: str = "", **labels: str) -> Rule:
    return {
        "alert": name,
        "expr": expression,
        **({"for": wait} if wait else {}),
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary, "description": description},
    }
