#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tier
short_description: Enforce the tiers of an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - One list of tiers becomes one set of policies on one Gateway or route, which is an AuthPolicy, a RateLimitPolicy, a TokenRateLimitPolicy
    where a tier limits tokens, and, if wanted, a TelemetryPolicy.
  - Waits until Kuadrant enforces each of them successfully and at its present generation, else says which conditions are unmet and why.
  - Refuses to create a policy beside one of another owner that would hold in its place, and names that policy.
  - A policy of the set that the tiers do not need any more is removed. Policies that this collection did not create or adopt are never
    touched.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the policies, all of what can change.
  idempotent:
    support: full
options:
  tiers:
    description:
      - The tiers, as in C(llm_gateway_tiers) and O(kuadrant.llm.gateway_config#module:tiers). All that is wrong with them is reported at
        once, with entry and field, before anything is changed.
      - Required with O(state=present), unless O(kinds) is V(TelemetryPolicy) alone.
    type: raw
  state:
    description: V(absent) removes the policies of the set that this collection created or adopted; the target then answers everybody.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description: Namespace of the target and of the policies, which Kuadrant wants to be one.
    type: str
    required: true
  target_kind:
    description: Kind of the target. A policy on a route holds there in place of the one on its Gateway.
    type: str
    choices: [Gateway, HTTPRoute]
    default: Gateway
  target_name:
    description: Name of the target.
    type: str
    required: true
  kinds:
    description:
      - The policies to care for. The others of the set are left as they are.
      - A V(TelemetryPolicy) is for a Limitador that does not take labels from the limits themselves, and only for a Gateway. It costs
        throughput.
    type: list
    elements: str
    choices: [AuthPolicy, RateLimitPolicy, TokenRateLimitPolicy, TelemetryPolicy]
    default: [AuthPolicy, RateLimitPolicy, TokenRateLimitPolicy]
  auth_policy_name:
    description: Name of the AuthPolicy.
    type: str
    default: llm-auth
  rate_limit_policy_name:
    description: Name of the RateLimitPolicy. An EnvoyFilter that limits need is called C(<this name>-body-<gateway>).
    type: str
    default: llm-rate-limits
  token_rate_limit_policy_name:
    description: Name of the TokenRateLimitPolicy.
    type: str
    default: llm-token-limits
  telemetry_policy_name:
    description: Name of the TelemetryPolicy.
    type: str
    default: llm-usage
  groups:
    description: Groups whose keys may pass. The default is the names of the tiers.
    type: list
    elements: str
  evaluator:
    description:
      - What of Authorino decides whether a known key may pass, by its user, tier, groups and end.
      - V(patterns) compares texts, and asks a clock for the keys that have an end. V(opa) runs a policy in Rego, which answers alike and
        takes about twice as much of Authorino's processor time for a request.
    type: str
    choices: [patterns, opa]
    default: patterns
  key_models:
    description:
      - Whether there are keys with O(kuadrant.llm.api_key#module:keys[].models). Then the bodies of requests are read for them, see
        O(streams), by an EnvoyFilter C(<auth_policy_name>-models-<gateway>), as for tiers with models.
      - Without it, such keys are refused, because the gateway does not know which model a request is for.
    type: bool
    default: false
  key_labels:
    description: Labels of the Secrets that hold keys, in any namespace. Every gateway of a cluster needs its own.
    type: dict
    default:
      app: llm-gateway
      kuadrant.io/auth-secret: "true"
  key_prefixes:
    description:
      - What may stand before a key in the header C(Authorization). Libraries for OpenAI's API send C(Bearer).
    type: list
    elements: str
    default: [APIKEY, Bearer]
  identities:
    description:
      - Tokens that are taken beside keys, as in C(llm_gateway_identities) and O(kuadrant.llm.gateway_config#module:identities).
      - They are sent as C(Authorization Bearer <token>). What the tiers say of users and groups holds for them as for those of keys.
    type: raw
  identity_headers:
    description:
      - Headers that tell the model server who calls, such as C(x-user), each with C(userid), C(groups) or C(tier) as what it says.
        What the client sent under these names is replaced.
    type: dict
    default: {}
  refuse_keyless:
    description:
      - Whether, where limits have the bodies of requests read, a request with a body and without C(Authorization) is answered with 401 at
        once, by an EnvoyFilter C(<rate_limit_policy_name>-keyless-<gateway>). Without it, that answer waits for the end of the body, as
        long as the client likes.
      - Leave it out where an AuthPolicy on the gateway admits requests without that header. With O(key_models), or tiers with models, the
        AuthPolicy of this module has one of its own, C(<auth_policy_name>-keyless-<gateway>).
    type: bool
    default: false
  streams:
    description:
      - What becomes of a stream that would not tell how many tokens it cost, because the request does not set
        C(stream_options.include_usage). It matters only where a tier limits tokens.
      - V(inject) sets it in the request, so that the answer has one event more. V(refuse) answers 400 and says why. V(allow) lets it pass,
        uncounted.
      - V(continuous) does as V(inject), and sets C(stream_options.continuous_usage_stats), too, so that each event tells what the stream
        has cost until then. Of a stream that the client or the model server breaks off, that much is counted; without it, nothing is. It is
        an option of vLLM, and of servers that follow it. Clients that add up the usage of all events show their users too much.
      - V(continuous) is refused where Kuadrant's filter counts, which does not report a stream that is broken off.
      - V(inject) and V(continuous) also refuse a stream that they cannot make tell its usage, that is on another path than chat completions
        and completions. Streams of messages and of responses tell it unasked, and pass.
      - All but V(allow), and limits for single models, have an EnvoyFilter read the bodies of requests; that needs Istio, and bodies that
        fit into a buffer of Envoy, 1 MiB by default and 16 MiB on the local stack. It refuses what it cannot read, or a model server
        might read in another way, such as a member C(Stream); forms (C(multipart/form-data)) pass.
    type: str
    choices: [inject, continuous, refuse, allow]
    default: inject
  adopt:
    description:
      - Whether to take over, in place, a policy on the target that another tool or person created, such as those of the demos that this
        collection comes after. It keeps its name.
      - With several on one target, nothing is taken over.
    type: bool
    default: false
  allow_partial:
    description: Whether policies on single routes or listeners may hold there in place of these.
    type: bool
    default: false
  wait:
    description: Whether to wait until the policies are enforced, and those that were deleted are gone.
    type: bool
    default: true
  timeout:
    description: Seconds to wait.
    type: int
    default: 120
seealso:
  - module: kuadrant.llm.tier_info
  - module: kuadrant.llm.gateway_config
  - module: kuadrant.llm.api_key
"""

EXAMPLES = r"""
- name: Enforce the tiers
  kuadrant.llm.tier:
    namespace: llm
    target_name: vllm-gateway
    tiers:
      - name: free
        requests:
          - {limit: 2, window: 10s}    # a burst
          - {limit: 100, window: 24h}
      - name: team
        tokens:
          - {limit: 1000000, window: 24h, per: group}    # shared by all users whose keys have these groups
      - name: research
        tokens:
          - {limit: 50000, window: 1h, model: large}
          - {limit: 500000, window: 1h, model: small}
      - name: metered
        tokens:
          - {limit: 100000, window: 24h, cost: {prompt: 1, completion: 4, cached: 0.1}}    # as the prices are to each other
          - {limit: 5000, window: 1h, count: completion}
      - name: trial
        requests:
          - {limit: 100, window: 24h}
          - {limit: 5, window: 1m, shadow: true}    # refuses nothing; module tier_info tells what it would have
      - name: suspended
        requests:
          - {limit: 0, window: 1h}

- name: Show what taking over the policies of the original demos would change
  kuadrant.llm.tier:
    namespace: llm
    target_name: vllm-gateway
    tiers: "{{ llm_gateway_tiers }}"
    adopt: true
  check_mode: true
  diff: true
"""

RETURN = r"""
policies:
  description: The policies of the set, and EnvoyFilters, in the order in which they were created or removed.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name. One that was taken over has kept the name that it had.
      type: str
    action:
      description: What was (or in check mode would be) done.
      type: str
      choices: [create, update, adopt, delete, none]
  sample:
    - {kind: AuthPolicy, namespace: llm, name: llm-auth, action: none}
    - {kind: RateLimitPolicy, namespace: llm, name: llm-rate-limits, action: update}
foreign:
  description: Policies of others on the way of the same requests, and what they do to those of the set.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the policy.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    target:
      description: What it targets.
      type: str
    relation:
      description: V(same_target), V(overrides) ours there, is V(overridden) by ours, or is V(merged) into ours.
      type: str
      choices: [same_target, overrides, overridden, merged]
problems:
  description: Every problem by itself.
  returned: failure
  type: list
  elements: str
"""

import dataclasses
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import parse_identities
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import NO_TIERS, parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._names import ADMITTED_HEADER, CALLER_HEADER
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Effect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import Request
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.access import EVALUATORS
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import NAMES, PolicySet, Surroundings, compose
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import Step, plan, shown
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import IDENTITY, Target, shadows

_NAME_OPTIONS = {
    "AuthPolicy": "auth_policy_name",
    "RateLimitPolicy": "rate_limit_policy_name",
    "TokenRateLimitPolicy": "token_rate_limit_policy_name",
    "TelemetryPolicy": "telemetry_policy_name",
}

ARGUMENT_SPEC = {
    "tiers": {"type": "raw"},  # its own checks name entry and field
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "namespace": {"type": "str", "required": True},
    "target_kind": {"type": "str", "choices": ["Gateway", "HTTPRoute"], "default": "Gateway"},
    "target_name": {"type": "str", "required": True},
    "kinds": {
        "type": "list",
        "elements": "str",
        "choices": list(NAMES),
        "default": ["AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy"],
    },
    **{option: {"type": "str", "default": NAMES[kind]} for kind, option in _NAME_OPTIONS.items()},
    "groups": {"type": "list", "elements": "str"},
    "evaluator": {"type": "str", "choices": list(EVALUATORS), "default": EVALUATORS[0]},
    "key_models": {"type": "bool", "default": False, "no_log": False},
    "key_labels": {"type": "dict", "default": {"app": "llm-gateway", "kuadrant.io/auth-secret": "true"}, "no_log": False},
    "key_prefixes": {"type": "list", "elements": "str", "default": ["APIKEY", "Bearer"], "no_log": False},
    "identities": {"type": "raw"},  # its own checks name entry and field
    "identity_headers": {"type": "dict", "default": {}},
    "refuse_keyless": {"type": "bool", "default": False},
    "streams": {"type": "str", "choices": ["inject", "continuous", "refuse", "allow"], "default": "inject"},
    "adopt": {"type": "bool", "default": False},
    "allow_partial": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        module.exit_json(**run(module))


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = read_options(params)
    kube = connect(module)
    around = apply.look_around(kube, wanted.target, wanted.names, limiters=bool(shadows(wanted.tiers or ())))
    for what in around.unseen:
        module.warn(f"{what} cannot be listed with these credentials: policies there that meet the tiers are not seen.")
    objects = compose(wanted, around)
    current = {**around.policies, "EnvoyFilter": around.filters}
    steps = plan(objects, current, adopt=params["adopt"], allow_partial=params["allow_partial"])
    if not module.check_mode:
        _require(kube, wanted.target, around, [step for step in steps if step.awaited and step.kind in NAMES])

    changes, done, awaited = Changes(), [], []
    for step, outcome in apply.carry_out(kube, steps, check=module.check_mode):
        changed = changes.record(outcome.label, shown(outcome.before), shown(outcome.after))
        done.append(_entry(step, outcome.effect if changed else Effect.NONE))
        if step.kind in NAMES and (step.awaited or outcome.before is not None):
            awaited.append(outcome)
    if params["wait"] and not module.check_mode:
        apply.wait(kube, awaited, timeout=params["timeout"], allow_partial=params["allow_partial"])
    foreign = [dataclasses.asdict(one) for want in objects for one in want.foreign]
    return changes.result(diff=module._diff, policies=done, foreign=foreign)


def read_options(params: t.Mapping[str, t.Any]) -> PolicySet:
    """What the options say; raises GatewayError that lists what is wrong with the tiers."""
    target = Target(params["target_kind"], params["target_name"], params["namespace"])
    names = {kind: params[option] for kind, option in _NAME_OPTIONS.items() if kind in params["kinds"]}
    if params["state"] == "absent":
        return PolicySet(target, names, None)
    tiers = tuple(parse_tiers(params["tiers"]))
    if not tiers and set(names) != {"TelemetryPolicy"}:  # which labels usage, whatever the tiers
        raise GatewayError(f"llm_gateway_tiers: {NO_TIERS}.")
    groups = tuple(tier.name for tier in tiers) if params["groups"] is None else tuple(params["groups"])
    labels = {name: str(value) for name, value in params["key_labels"].items()}
    prefixes, headers = _callers(params)
    return PolicySet(
        target,
        names,
        tiers,
        groups,
        labels,
        streams=params["streams"],
        evaluator=params["evaluator"],
        key_models=params["key_models"],
        key_prefixes=prefixes,
        identity_headers=headers,
        refuse_keyless=params["refuse_keyless"],
        tokens=tuple(parse_identities(params["identities"], [tier.name for tier in tiers])),
    )


def _callers(params: t.Mapping[str, t.Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    """How callers show their keys, and what the model server is told of them; raises GatewayError that lists what is wrong."""
    problems = []
    prefixes = tuple(dict.fromkeys(params["key_prefixes"]))
    if not prefixes:
        problems.append("key_prefixes: is empty; name at least one, such as Bearer.")
    if len({prefix.lower() for prefix in prefixes}) < len(prefixes):
        problems.append("key_prefixes: two of them differ only in upper and lower case; keep one.")
    problems += [
        f"key_prefixes: {prefix!r} must be a word of letters, digits and hyphens, such as Bearer."
        for prefix in prefixes
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", prefix)
    ]
    headers = {str(header).lower(): str(what) for header, what in params["identity_headers"].items()}
    problems += [
        f"identity_headers: {header!r} must be the name of a header, with one of {', '.join(IDENTITY)} as its value, not {what!r}."
        for header, what in headers.items()
        if not re.fullmatch(r"[a-z][a-z0-9-]*", header)
        or what not in IDENTITY
        or header in ("authorization", "host", ADMITTED_HEADER, CALLER_HEADER)
    ]
    if problems:
        raise GatewayError(" ".join(problems), problems=problems)
    return prefixes, headers


def _require(kube: t.Any, target: Target, around: Surroundings, awaited: t.Sequence[Step]) -> None:
    """A policy that is enforced has what it needs, so that a second run does not ask."""
    missing = [
        one for one in awaited if one.write.request is not Request.NOTHING or unmet_conditions({"kind": one.kind, **(one.before or {})})
    ]
    if not missing:
        return
    what = " and ".join(f"{one.kind} {one.name}" for one in missing)
    apply.require_kuadrant(kube, what)
    if around.target is None:
        raise GatewayError(
            f"{what} has no target: there is no {target.kind} {target.name} in namespace {target.namespace}. "
            "Make it first, e.g. with role kuadrant.llm.gateway."
        )


def _entry(step: Step, effect: Effect) -> dict[str, t.Any]:
    action = "adopt" if step.adopts and effect is not Effect.NONE else effect.value
    return {"kind": step.kind, "namespace": step.namespace, "name": step.name, "action": action}


if __name__ == "__main__":
    main()
