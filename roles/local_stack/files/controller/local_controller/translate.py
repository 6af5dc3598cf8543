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
import re
import typing as t

from . import cel, envoy
from .envoy import Patch, Upstreams
from .routes import EnvoyRoute, RouteIndex

UNTRANSLATABLE_EXPRESSION = "UntranslatableExpression"
UNSUPPORTED_ACTION = "UnsupportedAction"
UNSUPPORTED_ROUTE = "UnsupportedRoute"
UNKNOWN_ROUTE = "UnknownRoute"

_LABEL_PREFIX = "metrics.labels."
_APPLIES = "kuadrant.llm/applies"
# An evaluation error on purpose: stock Envoy has no other way to say "do not ask the rate limiter".
_ERROR = "{'': ''}['error']"
_EXPRESSION_REMEDY = (
    "Write it with comparisons, &&, ||, !, in, has(), startsWith(), endsWith(), contains(), matches() and size() on request.*, source.*, "
    "destination.*, connection.* and auth.*; or let the AuthPolicy compute a property (response.success.filters) and compare that."
)

Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a route is closed. ``policies`` are locators such as ``ratelimitpolicy.kuadrant.io:llm/llm-rate-limits``."""

    route: str
    policies: tuple[str, ...]
    reason: str
    cause: str


def explain(refusals: t.Iterable[Refusal]) -> str:
    """One sentence for each cause, with all routes that it closes."""
    routes: dict[str, list[str]] = {}
    for refusal in refusals:
        routes.setdefault(refusal.cause, []).append(refusal.route)
    return " ".join(f"Closed (503): {', '.join(dict.fromkeys(names))}, because {cause}" for cause, names in routes.items())


@dataclasses.dataclass(frozen=True)
class TranslationResult:
    """Patches for the EnvoyFilter beside Kuadrant's; refusals, whose routes the patches close; whether every action set had a route."""

    patches: list[Patch]
    refusals: list[Refusal]
    complete: bool


class _RefusedError(Exception):
    def __init__(self, reason: str, message: str, action: Json | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.action = action


@dataclasses.dataclass
class _Plan:
    """Per-route settings under construction, in the order of the action set's actions."""

    services: Json
    request_data: dict[str, str]
    settings: Json = dataclasses.field(default_factory=dict)

    def add(self, filter_name: str, setting: Json, what: str) -> None:
        if filter_name in self.settings:
            raise _RefusedError(UNSUPPORTED_ACTION, f"there is a second {what} on one route. Put the limits of this route into one policy.")
        self.settings[filter_name] = setting


def translate(config: Json, routes: RouteIndex, upstreams: Upstreams, *, close_unknown: bool = False) -> TranslationResult:
    """Translate one gateway's plugin configuration.

    :param close_unknown: what to do with an action set whose route is not in ``routes``: normally that is a moment's delay between two
        watches and the set is passed over (``complete`` is false); when it persists, its hostnames are closed and it is refused.
    :raises ValueError: if the configuration as a whole is not of the documented shape.
    """
    services = config.get("services") or {}
    patches = envoy.infrastructure(services, upstreams)
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
                raise _RefusedError(UNSUPPORTED_ROUTE, f"{rule.kind}s are not supported by the local data plane. Use an HTTPRoute.")
            if rule.envoy in routes.shared:
                raise _RefusedError(
                    UNSUPPORTED_ROUTE,
                    f"another route on the same hostname also has a rule named {rule.rule!r}. Rename one of the two rules.",
                )
            if rule.envoy in settled:
                raise _RefusedError(
                    UNSUPPORTED_ROUTE,
                    "two listeners with the same port and hostname give it different actions. Give them different hostnames.",
                )
            patches.append(envoy.enforce(rule.envoy, _settings(actions, services, config.get("requestData") or {})))
        except _RefusedError as exc:
            policies = _sources(actions if exc.action is None else (exc.action,)) or _sources(actions)
            refusals.append(Refusal(str(rule), policies, exc.reason, str(exc)))
            patches.append(envoy.refuse(rule.envoy, _policy_names(policies)))
        settled.setdefault(rule.envoy, actions)
    return TranslationResult(patches, list(dict.fromkeys(refusals)), complete)


def _settings(actions: tuple[Json, ...], services: Json, request_data: dict[str, str]) -> Json:
    plan = _Plan(services, request_data)
    for action in actions:
        try:
            _handler(action, services)(action, plan)
        except _RefusedError as exc:
            exc.action = action
            raise
        except cel.UntranslatableError as exc:  # pragma: no cover - every expression goes through _cel
            raise _RefusedError(UNTRANSLATABLE_EXPRESSION, str(exc), action) from exc
    return plan.settings


def _handler(action: Json, services: Json) -> t.Callable[[Json, _Plan], None]:
    if "type" in action:
        raise _RefusedError(
            UNSUPPORTED_ACTION, f"it contains an extension action of type {action['type']!r}. Remove the extension's policy."
        )
    service = (services.get(action.get("service", "")) or {}).get("type")
    if service not in _HANDLERS:
        raise _RefusedError(UNSUPPORTED_ACTION, f"it contains an action for the unknown service {action.get('service')!r}.")
    return _HANDLERS[service]


def _auth(action: Json, plan: _Plan) -> None:
    if action.get("predicates"):
        raise _RefusedError(
            UNSUPPORTED_ACTION,
            f"stock Envoy cannot skip authentication by the policy's top-level 'when' ({' && '.join(action['predicates'])}). "
            "Move it into the 'when' of the single rules of the AuthPolicy, or target a route of its own.",
        )
    plan.add(envoy.EXT_AUTHZ, envoy.auth_setting(action["scope"]), "authentication")


def _rate_limit(action: Json, plan: _Plan) -> None:
    after_auth = envoy.EXT_AUTHZ in plan.settings
    conditionals = [_Conditional.of(action.get("predicates") or [], item) for item in action.get("conditionalData") or []]
    if not after_auth:
        for conditional in conditionals:
            conditional.refuse_auth()
    name = envoy.RATE_LIMIT_AFTER_AUTH if after_auth else envoy.RATE_LIMIT_BEFORE_AUTH
    descriptors = [_limit_descriptor(conditionals)]
    if plan.request_data:
        descriptors.append(_label_descriptor(plan.request_data, _applies(conditionals)))
    plan.add(
        name,
        envoy.rate_limit_setting(action["scope"], descriptors),
        f"rate limit check {'after' if after_auth else 'before'} authentication",
    )


def _token_limit(action: Json, _plan: _Plan) -> None:
    # Token limits will be a rate limit check with zero hits and a report when the stream is done; this is the one place to add them.
    names = sorted({limit for item in action.get("conditionalData") or [] for limit in _limit_names(item)})
    raise _RefusedError(
        UNSUPPORTED_ACTION, f"token limits ({', '.join(names)}) are not supported by the local data plane yet. Limit requests instead."
    )


_HANDLERS: dict[str, t.Callable[[Json, _Plan], None]] = {
    "auth": _auth,
    "ratelimit": _rate_limit,
    "ratelimit-check": _token_limit,
    "ratelimit-report": _token_limit,
}


@dataclasses.dataclass(frozen=True)
class _Conditional:
    """One item of ``conditionalData``: a limit that applies when ``condition`` holds (None: always), and the values it counts by."""

    limits: tuple[str, ...]
    condition: str | None
    counters: dict[str, str]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, predicates: list[str], item: Json) -> _Conditional:
        limits, counters = [], {}
        name = ", ".join(_limit_names(item)) or "without a name"
        for data in item.get("data") or []:
            expression = data.get("expression")
            if expression is None:
                raise _RefusedError(
                    UNSUPPORTED_ACTION, f"limit {name} sends static data ({', '.join(data)}), which Kuadrant 1.5 does not do."
                )
            key, value = expression["key"], expression["value"]
            if key.startswith("ratelimit."):
                raise _RefusedError(
                    UNSUPPORTED_ACTION, f"limit {name} sets {key}, which only token limits need; they are not supported yet."
                )
            if key.startswith("limit."):
                limits.append(key)
            else:
                counters[key] = _cel(value, f"the counter of limit {name}")
        if not limits:
            raise _RefusedError(UNSUPPORTED_ACTION, "it contains a rate limit without an identifier, which Kuadrant 1.5 does not write.")
        wanted = [*predicates, *(item.get("predicates") or [])]
        condition = " && ".join(cel.grouped(_cel(text, f"the condition of limit {name}")) for text in wanted) or None
        return cls(tuple(limits), condition, counters, (*wanted, *(d["expression"]["value"] for d in item["data"])))

    def refuse_auth(self) -> None:
        for text in self.sources:
            if cel.mentions_auth(text):
                limits = ", ".join(map(_limit_name, self.limits))
                raise _RefusedError(
                    UNTRANSLATABLE_EXPRESSION,
                    f"limit {limits} reads {text!r}, but Kuadrant runs it before authentication. Write such references as 'auth.<field>'.",
                )


def _limit_descriptor(conditionals: list[_Conditional]) -> list[Json]:
    """Kuadrant's filter sends one descriptor with the entries of every limit whose condition holds, and asks nothing if none does."""
    entries = []
    applies = _applies(conditionals)
    if applies is not None:
        entries.append(envoy.entry(_APPLIES, f"({applies}) ? '1' : {_ERROR}", required=True))
    counters: dict[str, str] = {}
    for conditional in conditionals:
        value = "'1'" if conditional.condition is None else f"({conditional.condition}) ? '1' : '0'"
        entries += [envoy.entry(limit, value) for limit in conditional.limits]
        counters.update(conditional.counters)
    return entries + [envoy.entry(key, value) for key, value in counters.items()]


def _label_descriptor(request_data: dict[str, str], applies: str | None) -> list[Json]:
    """The second descriptor: metric labels. As upstream, one label without a value leaves all of them out."""
    entries = []
    for key in sorted(request_data):
        if not key.startswith(_LABEL_PREFIX):
            raise _RefusedError(
                UNSUPPORTED_ACTION, f"request data {key!r} is not a metric label. Remove the extension's policy that adds it."
            )
        label = key.removeprefix(_LABEL_PREFIX)
        value = _cel(request_data[key], f"the label {label!r} of a TelemetryPolicy")
        entries.append(envoy.entry(label, value if applies is None else f"({applies}) ? ({value}) : {_ERROR}", required=True))
    return entries


def _applies(conditionals: list[_Conditional]) -> str | None:
    """The condition under which any limit applies; None: always. ``||`` absorbs the errors of conditions that cannot be evaluated."""
    conditions = [conditional.condition for conditional in conditionals]
    return None if None in conditions else " || ".join(dict.fromkeys(f"({condition})" for condition in conditions))


def _cel(text: str, where: str) -> str:
    try:
        return cel.to_envoy(text)
    except cel.UntranslatableError as exc:
        raise _RefusedError(UNTRANSLATABLE_EXPRESSION, f"{where} is {text!r}: {exc}. {_EXPRESSION_REMEDY}") from exc


def _limit_names(item: Json) -> list[str]:
    keys = [(data.get("expression") or data.get("static") or {}).get("key", "") for data in item.get("data") or []]
    return [_limit_name(key) for key in keys if key.startswith(("limit.", "tokenlimit."))]


def _limit_name(key: str) -> str:
    """``limit.free__a1b2c3d4`` (kuadrant-operator appends a hash) is ``'free'`` to its author."""
    return repr(re.sub(r"__[0-9a-f]{8}$", "", key.split(".", 1)[1]))


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
