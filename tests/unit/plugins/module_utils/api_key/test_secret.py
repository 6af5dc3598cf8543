# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import math
import re

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import STAND_IN, body_of, from_secret, key_labels, stand_in_of
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import is_generated, new_value
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant

NOW = "2026-11-23T00:00:00Z"
KEY = StoredKey("alice", "llm", Grant("Alice L.", "free", ("free", "beta"), "2099-01-01T00:00:00Z"), "canary", key_labels({"app": "x"}))


def test_new_value_is_random_and_checked() -> None:
    values = {new_value() for _attempt in range(200)}
    assert len(values) == 200
    assert all(re.fullmatch(r"llm_[0-9A-Za-z]{8}_[0-9A-Za-z]{39}", value) and is_generated(value) for value in values)
    assert 33 * math.log2(62) >= 192


def test_is_generated_refuses_a_changed_key() -> None:
    value = new_value()
    assert not is_generated(value[:20] + ("a" if value[20] != "a" else "b") + value[21:])
    assert not is_generated("llm_" + "a" * 48)
    assert not is_generated(value + "0")


def test_is_generated_knows_the_published_form() -> None:
    """A scanner's rule is written against this: changing it breaks what others search for."""
    assert is_generated("llm_00000000_0000000000000000000000000000000001j4Dqo")


def test_body_of_is_what_authorino_and_kuadrant_read() -> None:
    assert body_of(KEY, NOW) == {
        "metadata": {
            "name": "alice",
            "labels": {
                "app": "x",
                "app.kubernetes.io/managed-by": "kuadrant.llm",
                "authorino.kuadrant.io/managed-by": "authorino",
                "kuadrant.io/auth-secret": "true",
            },
            "annotations": {
                "secret.kuadrant.io/user-id": "Alice L.",
                "secret.kuadrant.io/plan-id": "free",
                "kuadrant.io/groups": "free,beta",
                "secret.kuadrant.io/expires-at": "2099-01-01T00:00:00Z",
                "kuadrant.llm/changed-at": NOW,
            },
        },
        "type": "Opaque",
        "data": {"api_key": base64.b64encode(b"canary").decode()},
    }


def test_from_secret_reads_what_body_of_wrote() -> None:
    body = body_of(KEY, NOW)
    body["metadata"]["namespace"] = "llm"
    assert from_secret(body) == KEY


def test_from_secret_of_something_else() -> None:
    key = from_secret({"metadata": {"name": "tls"}, "data": {"tls.crt": "AAAA"}})
    assert (key.value, key.grant) == (None, Grant(None, None, (), None))
    assert from_secret({"metadata": {"name": "x"}, "data": {"api_key": "%%%"}}).value is None


def test_stand_in_of_is_selected_like_the_key() -> None:
    key, stand_in = from_secret(body_of(KEY, NOW)), from_secret(body_of(stand_in_of(KEY), NOW))
    assert stand_in.name == "alice.stand-in"
    assert (stand_in.value, stand_in.grant) == (key.value, key.grant)
    assert stand_in.carries(key.labels)
    assert stand_in.carries(STAND_IN)
    assert not key.carries(STAND_IN)


def test_keys_are_not_in_repr() -> None:
    assert "canary" not in repr(KEY)
