# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The Secret of a key: body, reading, and new key values. Pure, apart from drawing random numbers.

Authorino 0.26 and 0.27 look for data key ``api_key``, find Secrets by the AuthPolicy's selector, and follow later changes only of
Secrets with the label ``authorino.kuadrant.io/managed-by``: without it a deleted key goes on working.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import STAND_IN_SUFFIX, previous_name
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._names import (
    EXPIRY_ANNOTATION,
    GROUPS_ANNOTATION,
    MANAGED_BY,
    MODELS_ANNOTATION,
    TIER_ANNOTATION,
    USER_ANNOTATION,
)

OWNER = "kuadrant.llm/owner"
ROTATION = "kuadrant.llm/rotation"
SUSPENDED_FROM = "kuadrant.llm/suspended-from"
CHANGED_AT = "kuadrant.llm/changed-at"
REVOKED_AT = "kuadrant.llm/revoked-at"
FINGERPRINTS = "kuadrant.llm/revoked-fingerprints"
REFRESHING = "kuadrant.llm/refreshing"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # holds the key after `kubectl apply`

WATCHED = {"authorino.kuadrant.io/managed-by": "authorino"}
AUTH_SECRET = {"kuadrant.io/auth-secret": "true"}
STAND_IN = {"kuadrant.llm/stand-in": "true"}
PREVIOUS = {"kuadrant.llm/previous": "true"}
REVOKED = {"kuadrant.llm/revoked": "true"}
#: On the keys that playbook check_gateway issues for a moment, beside the labels of all keys.
CHECK = {"kuadrant.llm/purpose": "check"}


def key_labels(selector: t.Mapping[str, str]) -> dict[str, str]:
    """All labels of a key Secret that the ``selector`` labels are to find."""
    return {**selector, **WATCHED, **AUTH_SECRET, **MANAGED_BY}


def tombstone_labels(labels: t.Mapping[str, str], selector: t.Mapping[str, str]) -> dict[str, str]:
    """The labels of a revoked key: still found by ``selector`` and by Authorino, which so learns of it, and not by the AuthPolicy."""
    return {name: text for name, text in {**labels, **key_labels(selector), **REVOKED}.items() if name not in AUTH_SECRET}


def annotations_of(key: StoredKey) -> dict[str, str | None]:
    """The annotations that say what is known of the key, apart from its value; None removes one (merge patch)."""
    grant = key.grant
    return {
        USER_ANNOTATION: grant.user,
        TIER_ANNOTATION: grant.tier,
        GROUPS_ANNOTATION: ",".join(grant.groups),
        EXPIRY_ANNOTATION: grant.expires_at,
        MODELS_ANNOTATION: ",".join(grant.models) or None,
        OWNER: key.owner,
        ROTATION: key.rotation,
        SUSPENDED_FROM: key.suspended_from,
        REVOKED_AT: key.revoked_at,
        FINGERPRINTS: ",".join(key.fingerprints) or None,
    }


def body_of(key: StoredKey, changed_at: str) -> dict[str, t.Any]:
    """The Secret to create for a key whose value is known, or for a revoked one."""
    annotations = {name: text for name, text in {**annotations_of(key), CHANGED_AT: changed_at}.items() if text is not None}
    return {
        "metadata": {"name": key.name, "labels": dict(key.labels), "annotations": annotations},
        "type": "Opaque",
        "data": {} if key.revoked_at else {"api_key": _encoded(key.value)},
    }


def stand_in_of(key: StoredKey) -> StoredKey:
    """A second Secret with the same value and grant (see :mod:`.refresh`)."""
    return dataclasses.replace(key, name=key.name + STAND_IN_SUFFIX, labels={**key.labels, **STAND_IN})


def previous_of(key: StoredKey, grant: Grant, labels: t.Mapping[str, str]) -> StoredKey:
    """The Secret that keeps the present value of ``key`` alive until ``grant.expires_at`` while the key itself gets a new one."""
    name = previous_name(key.name, key.value or "")
    return StoredKey(name, key.namespace, grant, key.value, {**labels, **PREVIOUS}, key.owner)


def patch_of(before: StoredKey, after: StoredKey, changed_at: str, *, refreshing: bool) -> dict[str, t.Any]:
    """The merge patch that turns one into the other; refused by the server if ``before`` is out of date."""
    labels: dict[str, str | None] = dict.fromkeys(before.labels.keys() - after.labels.keys())
    marks = {REFRESHING: "true" if refreshing else None, CHANGED_AT: changed_at, LAST_APPLIED: None}
    patch: dict[str, t.Any] = {
        "metadata": {
            "labels": labels | dict(after.labels),
            "annotations": annotations_of(after) | marks,
            "resourceVersion": before.resource_version,
        }
    }
    if after.value != before.value:
        patch["data"] = {"api_key": None if after.revoked_at else _encoded(after.value)}
    return patch


def watched_patch() -> dict[str, t.Any]:
    """The merge patch that makes Authorino follow a Secret."""
    return {"metadata": {"labels": dict(WATCHED)}}


def mark_of(text: str | None) -> dict[str, t.Any]:
    """The merge patch that sets the mark of an unfinished refresh, or removes it (None)."""
    return {"metadata": {"annotations": {REFRESHING: text}}}


def from_secret(secret: t.Mapping[str, t.Any]) -> StoredKey:
    """Read a Secret; what it lacks is None or empty."""
    metadata = secret["metadata"]
    annotations = metadata.get("annotations") or {}
    groups, models = (
        tuple(one.strip() for one in annotations.get(name, "").split(",") if one.strip()) for name in (GROUPS_ANNOTATION, MODELS_ANNOTATION)
    )
    return StoredKey(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        grant=Grant(annotations.get(USER_ANNOTATION), annotations.get(TIER_ANNOTATION), groups, annotations.get(EXPIRY_ANNOTATION), models),
        value=_decoded((secret.get("data") or {}).get("api_key")),
        labels=metadata.get("labels") or {},
        owner=annotations.get(OWNER),
        rotation=annotations.get(ROTATION),
        suspended_from=annotations.get(SUSPENDED_FROM),
        revoked_at=annotations.get(REVOKED_AT),
        fingerprints=tuple(filter(None, annotations.get(FINGERPRINTS, "").split(","))),
        refreshing=REFRESHING in annotations,
        leaking=LAST_APPLIED in annotations,
        created=metadata.get("creationTimestamp"),
        changed_at=annotations.get(CHANGED_AT),
        uid=metadata.get("uid"),
        resource_version=metadata.get("resourceVersion"),
    )


def _encoded(value: str | None) -> str:
    if value is None:
        raise ValueError("a key without a value cannot be written")
    return base64.b64encode(value.encode()).decode()


def _decoded(data: str | None) -> str | None:
    try:
        return base64.b64decode(data or "", validate=True).decode() or None
    except (binascii.Error, UnicodeDecodeError):
        return None
