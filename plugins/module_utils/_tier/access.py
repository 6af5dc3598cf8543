# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which known keys may pass: rules of an AuthPolicy that Authorino evaluates for each request. Pure.

Said twice, with the same meaning: as patterns, which cost a third of a millisecond less (docs/figures.md), and in Rego for OPA.
Both refuse a key without user, tier or group, for it would pass uncounted.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.models import pattern_of
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import (
    EXPIRY_ANNOTATION,
    GROUPS_ANNOTATION,
    MODELS_ANNOTATION,
    TIER_ANNOTATION,
    USAGE_PATH,
    USER_ANNOTATION,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import re2_escape

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier

Object: t.TypeAlias = dict[str, t.Any]

# As the body-based router of the Gateway API Inference Extension calls it, so that whatever else goes by the model agrees with the limits.
MODEL_HEADER = "x-gateway-model-name"

#: What decides: Authorino's patterns, or OPA.
EVALUATORS: t.Final = ("patterns", "opa")

_ANNOTATIONS = "auth.identity.metadata.annotations"

# What OPA's trim_space takes off (Go's unicode.IsSpace), in RE2.
_SPACE = r"[\t\n\v\f\r\x{85}\p{Z}]*"

# Rego v0, without the header line that Authorino writes itself. A missing annotation leaves a rule undefined, and undefined is a refusal.
_REGO = """\
annotations := input.auth.identity.metadata.annotations

tiers := {tiers}

allowed_groups := {groups}

known_tier {{
  annotations["{tier}"] == tiers[_]
}}

allowed_group {{
  groups := split(annotations["{group}"], ",")
  trim_space(groups[_]) == allowed_groups[_]
}}

valid {{
  not annotations["{expiry}"]
}}

valid {{
  time.parse_rfc3339_ns(annotations["{expiry}"]) > time.now_ns()
}}

model := object.get(input.request.headers, "{header}", "")

models_of_tiers := {allowed}

model_of_tier {{
  not models_of_tiers[annotations["{tier}"]]
}}

model_of_tier {{
  regex.match(models_of_tiers[annotations["{tier}"]], model)
}}

model_of_key {{
  not annotations["{models}"]
}}

model_of_tier {{
  input.request.url_path == "{usage}"
}}

model_of_key {{
  input.request.url_path == "{usage}"
}}

allow {{
  annotations["{user}"] != ""
  known_tier
  allowed_group
  valid
  model_of_tier
  model_of_key
}}
"""

_REGO_OF_KEY = """
model_of_key {{
  model != ""
  globs := split(annotations["{models}"], ",")
  plain := replace(replace(globs[_], ".", "[.]"), "+", "[+]")
  regex.match(concat("", ["^", replace(plain, "*", ".*"), "$"]), model)
}}
"""

# A clock costs as much as all patterns together, so that only keys that have an end ask for one. The time of the request is Envoy's.
_NOT_EXPIRED = (
    f'timestamp({_ANNOTATIONS}["{EXPIRY_ANNOTATION}"]) > timestamp(int(request.time.seconds)) + '
    'duration(string(has(request.time.nanos) ? int(request.time.nanos) : 0) + "ns")'
)

# As _description.models.pattern_of does it for a tier.
_OF_KEY = (
    f'"{MODEL_HEADER}" in request.headers && {_ANNOTATIONS}["{MODELS_ANNOTATION}"].split(",").exists(glob, '
    f'request.headers["{MODEL_HEADER}"].matches('
    '"^" + glob.replace(".", "[.]").replace("+", "[+]").replace("*", ".*") + "$"))'
)


def rules(tiers: t.Sequence[Tier], groups: t.Sequence[str], evaluator: str, *, key_models: bool = False) -> Object:
    """``rules.authorization`` of the AuthPolicy. Raises GatewayError naming groups that no key can have.

    ``key_models``: bodies are read for the sake of keys that name their models. Where they are not, a client could say in a header what it
    wants, so that such keys are refused.
    """
    impossible = [group for group in groups if not group or group != group.strip() or "," in group]
    if impossible:
        raise GatewayError(
            f"No key can have the group {', '.join(map(repr, impossible))}: names of groups have no commas, and no spaces around them."
        )
    if evaluator == "opa":
        return {"allowed-groups": {"opa": {"rego": _rego(tiers, groups, key_models=key_models)}}}
    return {"allowed-groups": {"patternMatching": {"patterns": _patterns(tiers, groups, key_models=key_models)}}}


def annotation_selector(annotation: str) -> str:
    """The value of an annotation of the key, as Authorino finds it."""
    # gjson takes an unescaped dot for a path separator.
    escaped = annotation.replace(".", r"\.")
    return f"{_ANNOTATIONS}.{escaped}"


def _patterns(tiers: t.Sequence[Tier], groups: t.Sequence[str], *, key_models: bool) -> list[Object]:
    """All of them must match. Of a missing annotation, the value is the empty text."""
    return [
        _pattern(annotation_selector(USER_ANNOTATION), "neq", ""),
        _pattern(annotation_selector(TIER_ANNOTATION), "matches", f"^({_any_of([tier.name for tier in tiers])})$"),
        _pattern(annotation_selector(GROUPS_ANNOTATION), "matches", f"(^|,){_SPACE}({_any_of(groups)}){_SPACE}(,|$)"),
        {"any": [_pattern(f"{_ANNOTATIONS}.@keys", "excl", EXPIRY_ANNOTATION), {"predicate": _NOT_EXPIRED}]},
        *(
            {
                "any": [
                    _pattern(annotation_selector(TIER_ANNOTATION), "neq", tier.name),
                    _pattern(f"request.headers.{MODEL_HEADER}", "matches", pattern_of(tier.models)),
                    _NO_MODEL,
                ]
            }
            for tier in tiers
            if tier.models
        ),
        {
            "any": [
                _pattern(f"{_ANNOTATIONS}.@keys", "excl", MODELS_ANNOTATION),
                *([{"predicate": _OF_KEY}] if key_models else []),
                _NO_MODEL,
            ]
        },
    ]


def _pattern(selector: str, operator: str, value: str) -> Object:
    return {"selector": selector, "operator": operator, "value": value}


# The usage of the caller, which no model answers.
_NO_MODEL = _pattern("request.url_path", "eq", USAGE_PATH)


def _any_of(texts: t.Sequence[str]) -> str:
    """RE2 of one of the texts, each as it is."""
    return "|".join(map(re2_escape, texts))


def _rego(tiers: t.Sequence[Tier], groups: t.Sequence[str], *, key_models: bool) -> str:
    return (_REGO + (_REGO_OF_KEY if key_models else "")).format(
        tiers=json.dumps([tier.name for tier in tiers]),
        allowed=json.dumps({tier.name: pattern_of(tier.models) for tier in tiers if tier.models}),
        header=MODEL_HEADER,
        models=MODELS_ANNOTATION,
        usage=USAGE_PATH,
        groups=json.dumps(list(groups)),
        user=USER_ANNOTATION,
        group=GROUPS_ANNOTATION,
        tier=TIER_ANNOTATION,
        expiry=EXPIRY_ANNOTATION,
    )
