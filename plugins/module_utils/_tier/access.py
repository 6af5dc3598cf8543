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

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import (
    EXPIRY_ANNOTATION,
    GROUPS_ANNOTATION,
    TIER_ANNOTATION,
    USER_ANNOTATION,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import re2_escape

Object: t.TypeAlias = dict[str, t.Any]

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

allow {{
  annotations["{user}"] != ""
  known_tier
  allowed_group
  valid
}}
"""

# A clock costs as much as all patterns together, so that only keys that have an end ask for one. The time of the request is Envoy's.
_NOT_EXPIRED = (
    f'timestamp({_ANNOTATIONS}["{EXPIRY_ANNOTATION}"]) > timestamp(int(request.time.seconds)) + '
    'duration(string(has(request.time.nanos) ? int(request.time.nanos) : 0) + "ns")'
)


def rules(tiers: t.Sequence[str], groups: t.Sequence[str], evaluator: str) -> Object:
    """``rules.authorization`` of the AuthPolicy. Raises GatewayError naming groups that no key can have."""
    impossible = [group for group in groups if not group or group != group.strip() or "," in group]
    if impossible:
        raise GatewayError(
            f"No key can have the group {', '.join(map(repr, impossible))}: names of groups have no commas, and no spaces around them."
        )
    if evaluator == "opa":
        return {"allowed-groups": {"opa": {"rego": _rego(tiers, groups)}}}
    return {"allowed-groups": {"patternMatching": {"patterns": _patterns(tiers, groups)}}}


def annotation_selector(annotation: str) -> str:
    """The value of an annotation of the key, as Authorino finds it."""
    # gjson takes an unescaped dot for a path separator.
    escaped = annotation.replace(".", r"\.")
    return f"{_ANNOTATIONS}.{escaped}"


def _patterns(tiers: t.Sequence[str], groups: t.Sequence[str]) -> list[Object]:
    """All of them must match. Of a missing annotation, the value is the empty text."""
    return [
        _pattern(annotation_selector(USER_ANNOTATION), "neq", ""),
        _pattern(annotation_selector(TIER_ANNOTATION), "matches", f"^({_any_of(tiers)})$"),
        _pattern(annotation_selector(GROUPS_ANNOTATION), "matches", f"(^|,){_SPACE}({_any_of(groups)}){_SPACE}(,|$)"),
        {"any": [_pattern(f"{_ANNOTATIONS}.@keys", "excl", EXPIRY_ANNOTATION), {"predicate": _NOT_EXPIRED}]},
    ]


def _pattern(selector: str, operator: str, value: str) -> Object:
    return {"selector": selector, "operator": operator, "value": value}


def _any_of(texts: t.Sequence[str]) -> str:
    """RE2 of one of the texts, each as it is."""
    return "|".join(map(re2_escape, texts))


def _rego(tiers: t.Sequence[str], groups: t.Sequence[str]) -> str:
    return _REGO.format(
        tiers=json.dumps(list(tiers)),
        groups=json.dumps(list(groups)),
        user=USER_ANNOTATION,
        group=GROUPS_ANNOTATION,
        tier=TIER_ANNOTATION,
        expiry=EXPIRY_ANNOTATION,
    )
