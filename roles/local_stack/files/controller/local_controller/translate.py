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

from . import auth_when, cel, envoy, remote, tokens
from . import strict as strictly
from .conditionals import Conditional, Label, applies_if
from .envoy import BODY_LIMITS, BodyLimits, Patch, Upstreams
from .refusals import UNKNOWN_ROUTE, UNSUPPORTED_ACTION, UNSUPPORTED_ROUTE, Json, Refusal, RefusedError
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
    # The calls that Kuadrant's filter makes for the limits that are asked.
    calls: list[remote.Action] = dataclasses.field(default_factory=list)

    @property
    def asked(self) -> list[Conditional]:
        return self.requests + self.checks


@dataclasses.dataclass
class _Plan:
    """What the actions of a set ask for."""

    services: Json
    auth_scope: str | None = None
    auth_when: Json = dataclasses.field(default_factory=dict)
    before_auth: _Limits = dataclasses.field(default_factory=_Limits)
    after_auth: _Limits = dataclasses.field(default_factory=_Limits)

    @property
    def current(self) -> tuple[_Limits, str]:
        """Where a limit belongs that comes next in the order of actions, and the name of that place."""
        return (self.before_auth, "before") if self.auth_scope is None else (self.after_auth, "after")


def translate(
    config: Json,
    routes: RouteIndex,
    upstreams: Upstreams,
    bodies: BodyLimits = BODY_LIMITS,
    *,
    close_unknown: bool = False,
    strict: bool = True,
    totals_only: bool = False,
) -> TranslationResult:
    """Translate one gateway's plugin configuration.

    :param bodies: how much of a request or an answer is held where a limit reads it.
    :param close_unknown: what to do with an action set whose route is not in ``routes``: normally that is a moment's delay between two
        watches and the set is passed over (``complete`` is false); when it persists, its hostnames are closed and it is refused.
    :param strict: refuse what Kuadrant's own filter would do otherwise, too.
    :param totals_only: report of an answer what Kuadrant's own filter does, the sum of its tokens.
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
            settings = _settings(actions, services, config.get("requestData") or {}, strict=strict, totals_only=totals_only)
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
    if settings.keys() & {envoy.REQUEST_BODY_BEFORE_AUTH, envoy.RESPONSE_BODY} or _MODEL_HEADER in repr(actions):
        sizes[envoy.REQUEST_SIZE] = envoy.hold(bodies.request)
    elif envoy.REQUEST_BODY_AFTER_AUTH in settings:
        # Who is not admitted is told so at once, however long the body takes.
        sizes[envoy.REQUEST_SIZE_AFTER_AUTH] = envoy.hold(bodies.request)
    if envoy.RESPONSE_BODY in settings:
        sizes[envoy.ANSWER_SIZE] = envoy.hold(bodies.answer)
    return sizes


def _settings(actions: tuple[Json, ...], services: Json, request_data: dict[str, str], *, strict: bool, totals_only: bool) -> Json:
    plan = _Plan(services)
    for action in actions:
        try:
            _handler(action, services)(action, plan)
        except RefusedError as exc:
            exc.action = action
            raise
    settings = _limit_settings(plan.before_auth, request_data, envoy.BEFORE_AUTH, totals_only=totals_only)
    if plan.auth_scope is not None:
        settings |= plan.auth_when | {envoy.EXT_AUTHZ: envoy.auth_setting(plan.auth_scope), envoy.ADMITTED: envoy.admitted()}
    settings |= _limit_settings(plan.after_auth, request_data, envoy.AFTER_AUTH, totals_only=totals_only)
    if strict:
        labels = [Label.of(key, text) for key, text in request_data.items()]
        strictly.check([*plan.before_auth.asked, *plan.after_auth.asked], labels)
        strictly.check_order(None if plan.auth_scope is None else plan.before_auth.token_action)
    return settings


def _limit_settings(limits: _Limits, request_data: dict[str, str], filters: envoy.Side, *, totals_only: bool) -> Json:
    """The filters that a route needs for ``limits``, and no other: bodies pass unread where no limit reads them."""
    if limits.scope is None:
        return {}
    if sorted(limits.checks, key=repr) != sorted(limits.reports, key=repr):
        raise RefusedError(
            UNSUPPORTED_ACTION,
            "its token limits are checked and reported differently, which Kuadrant 1.5 does not do.",
            limits.token_action,
        )
    labels = [Label.of(key, request_data[key]) for key in sorted(request_data)]
    pointers = {pointer for conditional in limits.asked for text, _where in conditional.texts for pointer in _pointers(text)}
    pointers.update(pointer for label in labels for pointer in _pointers(label.source))
    settings: Json = {}
    if pointers:
        settings[filters.body] = envoy.request_body_setting(sorted(pointers))
    try:
        conditions = [conditional.condition_in_envoy() for conditional in limits.asked]
        rate_limits = [envoy.rate_limit(_limit_entries(limits, conditions))]
        applies = applies_if(conditions)
    except cel.UntranslatableError:
        # The labels of a request that no limit holds for are left out by the limiter.
        rate_limits, applies = [envoy.rate_limit(remote.entries(limits.calls))], None
        settings[filters.state] = envoy.switched_on()
    if known := [label for label in labels if not label.of_response]:
        rate_limits.append(envoy.rate_limit([label.entry(applies) for label in known]))
    if limits.checks:
        rate_limits += tokens.reports(dict.fromkeys(key for check in limits.checks for key in check.keys), totals_only=totals_only)
        if labels:
            rate_limits.append(envoy.rate_limit([label.entry_of_report() for label in labels], on_stream_done=True))
        settings |= {envoy.RESPONSE_BODY: envoy.switched_on(), envoy.RESPONSE_STREAM: envoy.switched_on()}
    return settings | {filters.limit: envoy.rate_limit_setting(limits.scope, rate_limits)}


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
    if plan.auth_scope is not None:
        raise RefusedError(UNSUPPORTED_ACTION, "there is a second authentication on one route. Put it into one policy.")
    plan.auth_scope = action["scope"]
    plan.auth_when = auth_when.settings(action.get("predicates") or [], envoy.switched_on())


def _rate_limit(action: Json, plan: _Plan) -> None:
    limits, where = plan.current
    if limits.requests:
        raise RefusedError(
            UNSUPPORTED_ACTION,
            f"there is a second rate limit check {where} authentication on one route. Put the limits of this route into one policy.",
        )
    found = _conditionals(action, plan, None)
    limits.requests += found
    limits.calls.append(_call(action, plan, found))


def _token_check(action: Json, plan: _Plan) -> None:
    limits, _where = plan.current
    found = _conditionals(action, plan, _CHECK_HITS)
    limits.checks += found
    limits.calls.append(_call(action, plan, found))
    limits.token_action = action


def _token_report(action: Json, plan: _Plan) -> None:
    limits, _where = plan.current
    limits.reports += _conditionals(action, plan, _REPORT_HITS)
    limits.token_action = action


def _conditionals(action: Json, plan: _Plan, hits: str | None) -> list[Conditional]:
    limits, _where = plan.current
    found = [Conditional.of(action, item, hits) for item in action.get("conditionalData") or []]
    if plan.auth_scope is None:
        for conditional in found:
            conditional.refuse_auth()
    if limits.scope not in (None, action["scope"]):
        raise RefusedError(UNSUPPORTED_ACTION, f"its limits count in two namespaces, {limits.scope} and {action['scope']}.")
    limits.scope = action["scope"]
    return found


def _call(action: Json, plan: _Plan, conditionals: list[Conditional]) -> remote.Action:
    deny = plan.services[action["service"]].get("failureMode", "allow") == "deny"
    return remote.Action(tuple(action.get("predicates") or []), tuple(conditionals), deny)


_HANDLERS: dict[str, t.Callable[[Json, _Plan], None]] = {
    "auth": _auth,
    "ratelimit": _rate_limit,
    "ratelimit-check": _token_check,
    "ratelimit-report": _token_report,
}


def _limit_entries(limits: _Limits, conditions: list[str | None]) -> list[Json]:
    """One descriptor with the entries of every limit, '1' for those whose condition holds; nothing is asked if none does.

    :param conditions: those of ``limits.asked``, as Envoy evaluates them.
    :raises cel.UntranslatableError: if Envoy cannot say what one counts by.
    """
    entries = []
    applies = applies_if(conditions)
    if applies is not None:
        entries.append(envoy.entry(_APPLIES, f"({applies}) ? '1' : {tokens.ERROR}", required=True))
    counters: dict[str, str] = {}
    for conditional, condition in zip(limits.asked, conditions, strict=True):
        value = "'1'" if condition is None else f"({condition}) ? '1' : '0'"
        entries += [envoy.entry(limit, value) for limit in conditional.limits]
        counters.update(conditional.counters_in_envoy())
    if limits.checks:
        follows = applies_if(conditions[len(limits.requests) :])
        entries.append(envoy.entry(tokens.REPORT_FOLLOWS, "'1'" if follows is None else f"({follows}) ? '1' : {tokens.ERROR}"))
    return entries + [envoy.entry(key, value) for key, value in counters.items()]


def _pointers(text: str) -> list[str]:
    return cel.body_pointers(text, "requestBodyJSON")


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
