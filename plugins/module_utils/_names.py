# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Names of this collection in a cluster, and names of Kuadrant that more than one package reads or writes."""

from __future__ import annotations

import typing as t

#: Label by which Kubernetes tools say who manages an object, and what this collection writes there.
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "kuadrant.llm"
MANAGED_BY: t.Final = {MANAGED_BY_LABEL: MANAGER}

#: Annotations of a key Secret, which Authorino reads into the identity of a request.
USER_ANNOTATION = "secret.kuadrant.io/user-id"
TIER_ANNOTATION = "secret.kuadrant.io/plan-id"
GROUPS_ANNOTATION = "kuadrant.io/groups"
EXPIRY_ANNOTATION = "secret.kuadrant.io/expires-at"
MODELS_ANNOTATION = "kuadrant.llm/models"

#: Set by our AuthPolicies on every request that they admit; a Gateway that denies by default (role gateway) lets nothing else pass.
ADMITTED_HEADER = "x-kuadrant-llm-admitted"

#: Where a user asks for the own usage (role gateway), and what tells the custom Limitador who that is (its ``src/caller.rs``).
USAGE_PATH = "/v1/usage"
CALLER_HEADER = "x-kuadrant-llm-caller"


def is_managed(obj: t.Mapping[str, t.Any]) -> bool:
    """Whether this collection created or adopted the object."""
    return manager_of(obj) == MANAGER


def manager_of(obj: t.Mapping[str, t.Any]) -> str | None:
    """Who manages the object, by its label; None: it does not say."""
    return ((obj.get("metadata") or {}).get("labels") or {}).get(MANAGED_BY_LABEL)
