# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from gateway_keys import NEW, VALUE, Authorino, Kube, key, later, rotated, run, secrets

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint


def test_revoked_key_is_dead_and_remembered(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    assert run(kube, key(state="revoked")) == ["revoke"]
    assert not authorino.index
    (stone,) = secrets(kube).values()
    assert (stone.value, stone.grant.user, stone.revoked_at) == (None, "alice", "2026-11-23T00:00:00Z")
    assert stone.fingerprints == tuple(sorted(map(fingerprint, (VALUE, NEW))))
    assert not stone.carries({"kuadrant.io/auth-secret": "true"})
    assert run(kube, key(state="revoked"), now=later(days=1)) == ["none"]
    with pytest.raises(GatewayError, match="it was revoked at 2026-11-23T00:00:00Z and stays so"):
        run(kube, key())
    for value in (VALUE, NEW):
        with pytest.raises(GatewayError, match='its value was revoked as API key "alice"'):
            run(kube, key("bob", key=value))
    assert run(kube, key(state="absent")) == ["delete"]
    assert run(kube, key("bob", key=VALUE)) == ["create"]


@pytest.mark.parametrize("survived", range(4))
def test_revocation_that_is_killed_converges(kube: Kube, survived: int) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    kube.allowed = 4
    with pytest.raises(GatewayError):  # a refresh that was killed left stand-ins as well
        run(kube, rotated(tier="gold"))
    kube.allowed = survived
    with pytest.raises(GatewayError):
        run(kube, key(state="revoked"))
    kube.allowed = None
    assert run(kube, key(state="revoked")) == ["revoke"]
    assert not authorino.index
    (stone,) = secrets(kube).values()
    assert stone.fingerprints == tuple(sorted(map(fingerprint, (VALUE, NEW))))
    assert run(kube, key(state="revoked")) == ["none"]


def test_name_that_never_was_can_be_revoked_with_its_value(kube: Kube) -> None:
    assert run(kube, key("leaked", state="revoked", key=VALUE)) == ["revoke"]
    assert run(kube, key("leaked", state="revoked", key=VALUE)) == ["none"]
    with pytest.raises(GatewayError, match="never issued again"):
        run(kube, key(key=VALUE))
