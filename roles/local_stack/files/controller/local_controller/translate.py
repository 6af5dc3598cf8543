# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration that kuadrant-operator writes for its wasm filter, said with stock Envoy filters. Pure: no I/O.

Shape of the input (kuadrant-operator 1.5.2, ``internal/wasm/types.go``)::

    {services: {name: {type, failureMode, timeout}}, requestData: {"metrics.labels.<label>": <CEL>},
     actionSets: [{name, routeRuleConditions: {hostnames, predicates},
                   actions: [{service, scope, predicates, conditionalData: [{predicates, data: [{expression: {key, value}}]}], sources}]}]}

What cannot be said is refused by name and its route is closed; nothing is ever left out silently.
"""

from __future__ import annotations

import dataclasses
import typing as t

from . import cel, envoy, tokens
from .conditionals import Conditional, Label, applies_if
from .envoy import BODY_LIMITS, BodyLimits, Patch, Upstreams
from .refusals import UNKNOWN_ROUTE, UNSUPPORTED_ACTION, UNSUPPORTED_ROUTE, UNTRANSLATABLE_EXPRESSION, Json, Refusal, RefusedError
from .routes import EnvoyRoute, RouteIndex

# Where module tier puts the name of the model that a request's body has.
_MODEL_HEADER = "x-gateway-model-name"
_APPLIES = "kuadrant.llm/applies"
# The hits of a token limit's two actions (kuadrant-operator 1.5.2: ``internal/controller/ratelimit_workflow_helpers.go``).
_CHECK_HITS = "0"
_REPORT_HITS = f'responseBodyJSON("{tokens.TOTAL}")'


@dataclasses.dataclass(frozen=True)
class TranslationResult:
    """Patches for the EnvoyFilter beside Kuadrant's; refusals, whose routes the patches close; whether every action set had a route."""

    patches: list[Patch]
    refusals: list[Refusal]
    complete: bool


@dataclasses.dataclass
class _Limits:
    """All limits of a route that are decided on one side of authentication, by one call to the limiter."""

    scope: str | None = None
    requests: list[Conditional] = dataclasses.field(default_factory=list)
    checks: list[Conditional] = dataclasses.field(default_factory=list)
    reports: list[Conditional] = dataclasses.field(default_factory=list)
    token_action: Json | None = None

    @property
    def asked(self) -> list[Conditional]:
        return self.requests + self.checks


@dataclasses.dataclass
class _Plan:
    """What the actions of a set ask for."""

    services: Json
    auth_scope: str | None = None
    before_auth: _Limits = dataclasses.field(default_factory=_Limits)
    after_auth: _Limits = dataclasses.field(default_factory=_Limits)

    @property
    def current(self) -> tuple[_Limits, str]:
        """Where a limit belongs that comes next in the order of actions, and the name of that place."""
        return (self.before_auth, "before") if self.auth_scope is None else (self.after_auth, "after")


def translate(
    config: Json, routes: RouteIndex, upstreams: Upstreams, bodies: BodyLimits = BODY_LIMITS, *, close_unknown: bool = False
) -> TranslationResult:
    """Translate one gateway's plugin configuration.

    :param bodies: how much of a request or an answer is held where a limit reads it.
    :param close_unknown: what to do with an action set whose route is not in ``routes``: normally that is a moment's delay between two
        watches and the set is passed over (``complete`` is false); when it persists, its hostnames are closed and it is refused.
    :raises ValueError: if the configuration as a whole is not of the documented shape.
    """
    services = config.get("services") or {}
    patches = envoy.infrastructure(services, upstreams, bodies, tokens.RESPONSE_POINTERS, tokens.STREAM_POINTERS)
    refusals: list[Refusal] = []
    settled: dict[EnvoyRoute, tuple[Json, ...]] = {}
    complete = True
    for action_set in config.get("actionSets") or []:
        actions = tuple(action_set.get("actions") or [])
        rule = routes.by_action_set.get(action_set["name"])
        if rule is None:
            complete = False
            if close_unknown:
                for hostname in (action_set.get("routeRuleConditions") or {}).get("hostnames") or ["*"]:
                    refusals.append(_unknown(action_set, hostname, actions))
                    patches.append(envoy.refuse(EnvoyRoute(0, hostname.lower(), ""), _policy_names(_sources(actions))))
            continue
        if settled.get(rule.envoy) == actions:
            continue  # another match of the same rule
        try:
            if rule.kind != "HTTPRoute":
                raise RefusedError(UNSUPPORTED_ROUTE, f"{rule.kind}s are not supported by the local data plane. Use an HTTPRoute.")
            if rule.envoy in routes.shared:
                raise RefusedError(
                    UNSUPPORTED_ROUTE,
                    f"another route on the same hostname also has a rule named {rule.rule!r}. Rename one of the two rules.",
                )
            if rule.envoy in settled:
                raise RefusedError(
                    UNSUPPORTED_ROUTE,
                    "two listeners with the same port and hostname give it different actions. Give them different hostnames.",
                )
            settings = _settings(actions, services, config.get("requestData") or {})
            patches += envoy.enforce(rule.envoy, settings | _sizes(settings, actions, bodies))
            if envoy.RESPONSE_BODY in settings:
                patches.append(envoy.uncompressed(rule.envoy))
        except RefusedError as exc:
            policies = _sources(actions if exc.action is None else (exc.action,)) or _sources(actions)
            refusals.append(Refusal(str(rule), policies, exc.reason, str(exc)))
            patches.append(envoy.refuse(rule.envoy, _policy_names(policies)))
        settled.setdefault(rule.envoy, actions)
    return TranslationResult(patches, list(dict.fromkeys(refusals)), complete)


def _sizes(settings: Json, actions: tuple[Json, ...], bodies: BodyLimits) -> Json:
    """How much is held, on a route where something reads bodies: these filters, or those that module tier puts before them."""
    sizes: Json = {}
    held = {envoy.REQUEST_BODY_BEFORE_AUTH, envoy.REQUEST_BODY_AFTER_AUTH, envoy.RESPONSE_BODY}
    if settings.keys() & held or _MODEL_HEADER in repr(actions):
        sizes[envoy.REQUEST_SIZE] = envoy.hold(bodies.request)
    if envoy.RESPONSE_BODY in settings:
        sizes[envoy.ANSWER_SIZE] = envoy.hold(bodies.answer)
    return sizes


def _settings(actions: tuple[Json, ...], services: Json, request_data: dict[str, str]) -> Json:
    plan = _Plan(services)
    for action in actions:
        try:
            _handler(action, services)(action, plan)
        except RefusedError as exc:
            exc.action = action
            raise
        except cel.UntranslatableError as exc:  # pragma: no cover - every expression goes through _cel
            raise RefusedError(UNTRANSLATABLE_EXPRESSION, str(exc), action) from exc
    settings = _limit_settings(plan.before_auth, request_data, envoy.REQUEST_BODY_BEFORE_AUTH, envoy.RATE_LIMIT_BEFORE_AUTH)
    if plan.auth_scope is not None:
        settings[envoy.EXT_AUTHZ] = envoy.auth_setting(plan.auth_scope)
    return settings | _limit_settings(plan.after_auth, request_data, envoy.REQUEST_BODY_AFTER_AUTH, envoy.RATE_LIMIT_AFTER_AUTH)


def _limit_settings(limits: _Limits, request_data: dict[str, str], body_filter: str, limit_filter: str) -> Json:
    """The filters that a route needs for ``limits``, and no other: bodies pass unread where no limit reads them."""
    if limits.scope is None:
        return {}
    if sorted(limits.checks, key=repr) != sorted(limits.reports, key=repr):
        raise RefusedError(
            UNSUPPORTED_ACTION,
            "its token limits are checked and reported differently, which Kuadrant 1.5 does not do.",
            limits.token_action,
        )
    rate_limits = [envoy.rate_limit(_limit_entries(limits))]
    labels = [Label.of(key, request_data[key]) for key in sorted(request_data)]
    applies = applies_if(limits.asked)
    if known := [label for label in labels if not label.of_response]:
        rate_limits.append(envoy.rate_limit([label.entry(applies) for label in known]))
    pointers = {pointer for texts in (c.sources for c in limits.asked) for pointer in _pointers(texts)}
    pointers.update(_pointers(label.source for label in labels))
    settings: Json = {}
    if pointers:
        settings[body_filter] = envoy.request_body_setting(sorted(pointers))
    if limits.checks:
        rate_limits += tokens.reports(dict.fromkeys(key for check in limits.checks for key in check.keys))
        if labels:
            rate_limits.append(envoy.rate_limit([label.entry_of_report() for label in labels], on_stream_done=True))
        settings |= {envoy.RESPONSE_BODY: envoy.switched_on(), envoy.RESPONSE_STREAM: envoy.switched_on()}
    return settings | {limit_filter: envoy.rate_limit_setting(limits.scope, rate_limits)}


def _handler(action: Json, services: Json) -> t.Callable[[Json, _Plan], None]:
    if "type" in action:
        raise RefusedError(
            UNSUPPORTED_ACTION, f"it contains an extension action of type {action['type']!r}. Remove the extension's policy."
        )
    service = (services.get(action.get("service", "")) or {}).get("type")
    if service not in _HANDLERS:
        raise RefusedError(UNSUPPORTED_ACTION, f"it contains an action for the unknown service {action.get('service')!r}.")
    return _HANDLERS[service]


def _auth(action: Json, plan: _Plan) -> None:
    if action.get("predicates"):
        raise RefusedError(
            UNSUPPORTED_ACTION,
            f"stock Envoy cannot skip authentication by the policy's top-level 'when' ({' && '.join(action['predicates'])}). "
            "Move it into the 'when' of the single rules of the AuthPolicy, or target a route of its own.",
        )
    if plan.auth_scope is not None:
        raise RefusedError(UNSUPPORTED_ACTION, "there is a second authentication on one route. Put it into one policy.")
    plan.auth_scope = action["scope"]


def _rate_limit(action: Json, plan: _Plan) -> None:
    limits, where = plan.current
    if limits.requests:
        raise RefusedError(
            UNSUPPORTED_ACTION,
            f"there is a second rate limit check {where} authentication on one route. Put the limits of this route into one policy.",
        )
    limits.requests += _conditionals(action, plan, None)


def _token_check(action: Json, plan: _Plan) -> None:
    limits, _where = plan.current
    limits.checks += _conditionals(action, plan, _CHECK_HITS)
    limits.token_action = action


def _token_report(action: Json, plan: _Plan) -> None:
    limits, _where = plan.current
    limits.reports += _conditionals(action, plan, _REPORT_HITS)
    limits.token_action = action


def _conditionals(action: Json, plan: _Plan, hits: str | None) -> list[Conditional]:
    limits, _where = plan.current
    found = [Conditional.of(action.get("predicates") or [], item, hits) for item in action.get("conditionalData") or []]
    if plan.auth_scope is None:
        for conditional in found:
            conditional.refuse_auth()
    if limits.scope not in (None, action["scope"]):
        raise RefusedError(UNSUPPORTED_ACTION, f"its limits count in two namespaces, {limits.scope} and {action['scope']}.")
    limits.scope = action["scope"]
    return found


_HANDLERS: dict[str, t.Callable[[Json, _Plan], None]] = {
    "auth": _auth,
    "ratelimit": _rate_limit,
    "ratelimit-check": _token_check,
    "ratelimit-report": _token_report,
}


def _limit_entries(limits: _Limits) -> list[Json]:
    """One descriptor with the entries of every limit, '1' for those whose condition holds; nothing is asked if none does."""
    entries = []
    applies = applies_if(limits.asked)
    if applies is not None:
        entries.append(envoy.entry(_APPLIES, f"({applies}) ? '1' : {tokens.ERROR}", required=True))
    counters: dict[str, str] = {}
    for conditional in limits.asked:
        value = "'1'" if conditional.condition is None else f"({conditional.condition}) ? '1' : '0'"
        entries += [envoy.entry(limit, value) for limit in conditional.limits]
        counters.update(conditional.counters)
    if limits.checks:
        follows = applies_if(limits.checks)
        entries.append(envoy.entry(tokens.REPORT_FOLLOWS, "'1'" if follows is None else f"({follows}) ? '1' : {tokens.ERROR}"))
    return entries + [envoy.entry(key, value) for key, value in counters.items()]


def _pointers(texts: t.Iterable[str]) -> set[str]:
    return {pointer for text in texts for pointer in cel.body_pointers(text, "requestBodyJSON")}


def _sources(actions: t.Iterable[Json]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source for action in actions for source in action.get("sources") or []))


def _policy_names(locators: t.Iterable[str]) -> list[str]:
    """``ratelimitpolicy.kuadrant.io:llm/x`` as ``ratelimitpolicy/llm/x``."""
    return [f"{kind.split('.', 1)[0]}/{name}" for kind, _colon, name in (locator.partition(":") for locator in locators)]


def _unknown(action_set: Json, hostname: str, actions: tuple[Json, ...]) -> Refusal:
    return Refusal(
        f"hostname {hostname}",
        _sources(actions),
        UNKNOWN_ROUTE,
        f"action set {action_set['name']} belongs to no rule of the HTTPRoutes that name a Gateway as their parent. "
        "Attach the route to the Gateway directly.",
    )
