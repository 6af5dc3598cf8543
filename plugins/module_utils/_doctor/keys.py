# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Checks of the keys: those of M(kuadrant.llm.api_key_info), and Secrets that were meant to be keys. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Finding, Object, Snapshot
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY_LABEL
from ansible_collections.kuadrant.llm.plugins.module_utils._times import is_past

# How a problem of api_key_info begins: name of the check, its severity, what follows, and what mends it: arguments of kubectl, or words.
_APPLY = "ansible-playbook kuadrant.llm.site"
_REFUSED = "Every call with it is answered 401."
_PROBLEMS: t.Final = (
    ("the Secret holds no key", "key-empty", "error", _REFUSED, "delete secret {name}"),
    ("its value never matches", "key-never-matches", "error", _REFUSED, "delete secret {name}"),
    ("the same value opens", "key-doubled", "error", "Which of them a call is counted for is left to chance.", "delete secret {name}"),
    (
        "label authorino.kuadrant.io/managed-by",
        "key-unwatched",
        "error",
        "A deleted or changed key goes on working as before.",
        "label secret {name} authorino.kuadrant.io/managed-by=authorino",
    ),
    ("label kuadrant.io/auth-secret", "key-unselected", "error", _REFUSED, "label secret {name} kuadrant.io/auth-secret=true"),
    (
        f"label {MANAGED_BY_LABEL}",
        "key-unmanaged",
        "info",
        "Runs of this collection neither change nor purge it.",
        f"{_APPLY}, with authorization_keys_adopt: true",
    ),
    (
        "no user is named",
        "key-without-user",
        "error",
        "Every call with it is answered 403; no one could be billed.",
        "annotate secret {name} secret.kuadrant.io/user-id=<user>",
    ),
    (
        "no tier is named",
        "key-without-tier",
        "error",
        "Every call with it is answered 403.",
        "annotate secret {name} secret.kuadrant.io/plan-id=<tier>",
    ),
    ("its value was revoked", "key-revoked-value", "error", "Whoever has the revoked value is let in again.", "delete secret {name}"),
    ("it was revoked and", "key-revoked-holds-value", "error", "A revoked key may be let in.", _APPLY),
    (
        "an annotation of kubectl apply",
        "key-in-annotation",
        "warning",
        "Whoever may read the metadata of Secrets reads the key.",
        "annotate secret {name} kubectl.kubernetes.io/last-applied-configuration-",
    ),
    ("a refresh was interrupted", "key-half-done", "warning", "It may speak for its earlier user or tier.", _APPLY),
    ("a rotation was interrupted", "key-half-done", "warning", "Its value is not the new one.", _APPLY),
    ("an earlier value has expired", "key-leftover", "info", "The gateway refuses it; its Secret is of no use.", _APPLY),
    ("its Secret is gone", "key-leftover-alive", "error", "A key that was deleted is let in.", _APPLY),
)


def check_keys(snapshot: Snapshot) -> t.Iterator[Finding]:
    for key in snapshot.keys:
        yield from _key(key, snapshot)
    if not snapshot.keys and "Secret" not in snapshot.unseen:
        wanted = ",".join(f"{name}={value}" for name, value in snapshot.scope.key_labels.items())
        yield Finding(
            "keys-missing",
            "info",
            f"Namespace {snapshot.scope.namespace}",
            f"There is no key (Secret with {wanted}).",
            "Every call is answered 401.",
            "describe keys in llm_gateway_keys and run kuadrant.llm.site",
        )
    for secret in snapshot.of("Secret", snapshot.scope.namespace):
        labels = secret["metadata"].get("labels") or {}
        missing = {name: value for name, value in snapshot.scope.key_labels.items() if labels.get(name) != value}
        if missing and "kuadrant.llm/previous" not in labels:
            name = secret["metadata"]["name"]
            text = " ".join(f"{label}={value}" for label, value in missing.items())
            yield Finding(
                "key-unlabelled",
                "warning",
                f"Secret {snapshot.scope.namespace}/{name}",
                f"It is marked as a key (kuadrant.io/auth-secret) and lacks {text}, by which this gateway's keys are found.",
                _REFUSED,
                snapshot.scope.command(f"label secret {name} {text}") + "  # unless it is a key of another gateway",
            )


def _key(key: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    scope, name = snapshot.scope, key["name"]
    where = f"Secret {scope.namespace}/{name}"
    for problem in key["problems"]:
        check, severity, consequence, mend = next(
            (entry[1:] for entry in _PROBLEMS if problem.startswith(entry[0])), ("key-problem", "warning", "It may be refused.", _APPLY)
        )
        command = mend if mend.startswith("ansible") else scope.command(mend.format(name=name))
        yield Finding(check, severity, where, problem[0].upper() + problem[1:] + ".", consequence, command)
    if key["state"] != "present" or not key["expires_at"]:
        return
    if key["expired"]:
        yield Finding(
            "key-expired",
            "warning",
            where,
            f"It expired at {key['expires_at']}.",
            "Every call with it is answered 403.",
            f"give it a later expires_at or state: absent in llm_gateway_keys and run {_APPLY.split()[-1]}",
        )
    elif is_past(key["expires_at"], snapshot.now + scope.expires_within):
        yield Finding(
            "key-expires",
            "info" if key["temporary"] else "warning",
            where,
            f"It expires at {key['expires_at']}.",
            "Calls with it are refused then.",
            f"give it a later expires_at in llm_gateway_keys and run {_APPLY.split()[-1]}",
        )
