# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run is killed with a request under way, which the server carries out when the next run has read and before it writes."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from gateway_keys import NEW, VALUE, Authorino, Kube, key, killed_with_a_late_write, later, rotated, run, secrets

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS

HERE = key(key=VALUE)
#: What is there before, and what the killed run and the next one are to make of it.
RUNS = {
    "create": (None, key()),
    "create for a while": (None, key(lifetime="30d")),
    "create a given value": (None, key(key=NEW)),
    "refresh": (HERE, key(tier="gold")),
    "update": (HERE, key(key=NEW)),
    "rotate": (HERE, key(rotation="r1")),
    "rotate, and end later": (HERE, key(rotation="r1", lifetime="30d")),
    "rotate, and keep the old value": (HERE, rotated()),
    "rotate and keep, another tier": (HERE, rotated(tier="gold")),
    "revoke": (HERE, key(state="revoked")),
    "revoke what was not there": (None, key(state="revoked", key=NEW)),
    "delete": (HERE, key(state="absent")),
}


@pytest.mark.parametrize("what", RUNS)
def test_next_run_converges(kube: Kube, what: str) -> None:
    """Whichever of its requests is the one."""
    there, wanted = RUNS[what]
    soon = later(seconds=7)
    for survived in itertools.count():
        cluster = type(kube)()
        authorino = Authorino(cluster)
        if there:
            run(cluster, there)
        if not killed_with_a_late_write(cluster, survived, wanted):
            break
        finished: dict[str, KeyAction] = {}
        run(cluster, wanted, now=soon, finished=finished)
        assert run(cluster, wanted, now=soon) == ["none"]
        held = {one.value: name for name, one in secrets(cluster).items() if one.value}
        assert set(authorino.index) == set(held)
        after = finished["alice"].after
        assert (after.value if after else None) in {None, *(value for value, name in held.items() if name == "alice")}
        kept = {one.name: one.grant.expires_at for one in (after.previous if after else ())}
        assert kept == {name: one.grant.expires_at for name, one in secrets(cluster).items() if name != "alice"}
    assert survived


OTHERS: dict[str, t.Callable[[Kube], object]] = {
    "another tier": lambda kube: kube.patch(
        SECRETS, "llm", "alice", {"metadata": {"annotations": {"secret.kuadrant.io/plan-id": "platinum"}}}
    ),
    "another value": lambda kube: kube.patch(SECRETS, "llm", "alice", {"data": {"api_key": "b3RoZXItOTg3NjU0MzIxMA=="}}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_another_client_makes_of_it_is_refused(kube: Kube, what: str) -> None:
    run(kube, HERE)
    first: list[bool] = []

    def meanwhile(_seconds: float) -> None:
        if not first:
            first.append(True)
            OTHERS[what](kube)

    # Its value is kept in a Secret of its own, and then there is a pause.
    with pytest.raises(GatewayError, match="changed meanwhile"):
        run(kube, rotated(), pause=meanwhile)
    assert first
