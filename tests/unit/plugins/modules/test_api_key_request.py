# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import stat
import subprocess
import typing as t
from pathlib import Path

import pyrage
import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.modules import api_key_request, api_key_request_info

IDENTITY = pyrage.x25519.Identity.generate()
ASKED = {
    "state": "requested",
    "by": "zoe",
    "user": "zoe",
    "tier": "free",
    "lifetime": "90d",
    "recipient": str(IDENTITY.to_public()),
    "reason": "ticket 4711",
}
APPROVED = {"state": "approved", "by": "ann"}
REQUEST = ("configmaps", "llm", "key-request.zoe-laptop")

Take = t.Callable[..., dict[str, t.Any]]


def value_of(kube: t.Any, name: str = "zoe-laptop") -> str:
    return base64.b64decode(kube.objects["secrets", "llm", name]["data"]["api_key"]).decode()


@pytest.fixture
def take(kube: t.Any, run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Take a step. No value is ever in its result."""
    monkeypatch.setattr(api_key_request, "connect", lambda _module: kube)
    monkeypatch.setattr(api_key_request_info, "connect", lambda _module: kube)

    def run(main: t.Any = api_key_request.main, **options: t.Any) -> dict[str, t.Any]:
        given = {"namespace": "llm"} | ({"name": "zoe-laptop", "tiers": ["free", "premium"]} if main is api_key_request.main else {})
        result: dict[str, t.Any] = run_module(main, **given | options)
        for one in [value_of(kube, name) for plural, _space, name in kube.objects if plural == "secrets"]:
            assert one not in json.dumps(result)
            assert base64.b64encode(one.encode()).decode() not in json.dumps(result)
        return result

    return run


def test_way_from_request_to_delivery(kube: t.Any, take: Take, tmp_path: Path) -> None:
    assert take(**ASKED, check=True)["changed"]
    assert kube.writes == []
    request = take(**ASKED)["request"]
    assert (request["state"], request["requested_by"], request["reason"]) == ("pending", "zoe", "ticket 4711")
    assert request["requested_at"].endswith("Z")
    assert not take(**ASKED)["changed"]
    assert [one["state"] for one in take(api_key_request_info.main, state="pending")["requests"]] == ["pending"]

    path = tmp_path / "zoe.age"
    before = list(kube.writes)
    foretold = take(**APPROVED, path=str(path), check=True)
    assert (foretold["changed"], foretold["request"]["state"], foretold["request"]["delivery"]) == (True, "delivered", "")
    assert set(foretold["diff"]["after"]) == {"key request llm/zoe-laptop", "API key llm/zoe-laptop", str(path)}
    assert (kube.writes, path.exists()) == (before, False)

    done = take(**APPROVED, path=str(path), note="fine")
    value = value_of(kube)
    told = done["request"]
    assert (told["state"], told["decided_by"], told["note"], told["fingerprint"]) == ("delivered", "ann", "fine", fingerprint(value))
    assert done["diff"]["before"]["key request llm/zoe-laptop"]["state"] == "pending"
    assert "AGE" not in json.dumps(done["diff"])
    assert path.read_text() == told["delivery"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pyrage.decrypt(path.read_bytes(), [IDENTITY]).decode() == value + "\n"
    assert value not in json.dumps(kube.objects[REQUEST])
    annotations = kube.objects["secrets", "llm", "zoe-laptop"]["metadata"]["annotations"]
    assert annotations["kuadrant.llm/owner"] == "zoe"
    assert annotations["secret.kuadrant.io/expires-at"]

    again = take(**APPROVED | {"by": "bob"}, path=str(path))
    assert (again["changed"], again["request"]["decided_by"], again["request"]["delivery"]) == (False, "ann", told["delivery"])
    path.unlink()
    assert take(**APPROVED, path=str(path))["changed"]
    assert path.read_text() == told["delivery"], "it is delivered once, so it is the same file"
    assert not take(**ASKED)["changed"]


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys_are_taken_as_people_have_them(take: Take, kube: t.Any, tmp_path: Path, kind: str) -> None:
    pair = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "zoe at work", "-f", str(pair)], check=True)
    take(**ASKED | {"recipient": pair.with_suffix(".pub").read_text()})
    told = take(**APPROVED)["request"]
    identity = pyrage.ssh.Identity.from_buffer(pair.read_bytes())
    assert pyrage.decrypt(told["delivery"].encode(), [identity]).decode() == value_of(kube) + "\n"


def test_nobody_approves_what_they_asked_for(take: Take, kube: t.Any) -> None:
    take(**ASKED)
    for same in ("zoe", " Zoe "):
        assert "another person has to approve" in take(state="approved", by=same)["msg"]
    assert not any(plural == "secrets" for plural, _space, _name in kube.objects)
    assert take(state="approved", by="zoe", same_person=True)["request"]["state"] == "delivered"


def test_what_is_refused_stays_refused(take: Take, kube: t.Any) -> None:
    take(**ASKED)
    assert take(state="refused", by="ann", note="no budget", check=True)["changed"]
    told = take(state="refused", by="ann", note="no budget")["request"]
    assert (told["state"], told["decided_by"], told["note"]) == ("refused", "ann", "no budget")
    assert not take(state="refused", by="bob")["changed"]
    message = take(**APPROVED)["msg"]
    assert "by ann and is refused: no budget" in message
    assert [name for _verb, name in kube.writes] == ["key-request.zoe-laptop"] * 2


def test_note_is_one_line(take: Take) -> None:
    take(**ASKED)
    for state in ("approved", "refused"):
        assert "note: must be one line" in take(state=state, by="ann", note="a\nb")["msg"]


def test_whoever_asked_may_withdraw(take: Take) -> None:
    take(**ASKED)
    assert take(state="refused", by="zoe")["request"]["decided_by"] == "zoe"


def test_what_is_delivered_is_not_refused(take: Take) -> None:
    take(**ASKED)
    take(**APPROVED)
    assert "Revoke the key zoe-laptop" in take(state="refused", by="bob")["msg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipient": f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\nabc"}, "is a private key"),
        ({"recipient": "AGE-SECRET-KEY-1QQQ"}, "is a private key"),
        ({"recipient": "ssh-dss AAAA"}, "no public key that age encrypts to"),
        ({"recipient": "age1xyz"}, "no public key that age encrypts to"),
        ({"recipient": " "}, "recipient: is empty"),
        ({"reason": ""}, "reason: is empty"),
        ({"by": " "}, "by: is empty"),
        ({"by": "zoe\x1b[2K"}, "by: must be one line"),
        ({"reason": "one\ntwo"}, "reason: must be one line"),
        ({"reason": "x" * 501}, "reason: must be one line of printable characters, 500 at most"),
        ({"tier": "gold"}, "'gold' is not one of the tiers free, premium"),
        ({"name": "Zoe"}, "name: must consist of lower case letters"),
        ({"lifetime": "x"}, "lifetime: 'x' is not a duration"),
        ({"lifetime": "", "expires_at": "2020-01-01T00:00:00Z"}, "2020-01-01T00:00:00Z is past"),
        ({"lifetime": "", "expires_at": "tomorrow"}, "expires_at: 'tomorrow' is not a time"),
        ({"groups": ["a,b"]}, "groups: 'a,b'"),
        ({"models": ["a,b"]}, "models:"),
    ],
)
def test_what_cannot_be_had_is_not_recorded(take: Take, kube: t.Any, options: dict[str, t.Any], message: str) -> None:
    result = take(**ASKED | options)
    assert message in result["msg"]
    assert "abc" not in result["msg"]
    assert kube.writes == []


def test_name_of_another_key_is_not_asked_for(take: Take, kube: t.Any) -> None:
    kube.objects["secrets", "llm", "zoe-laptop"] = {"metadata": {"name": "zoe-laptop", "namespace": "llm"}, "data": {"api_key": "eHl6enk="}}
    assert "there is a key zoe-laptop already" in take(**ASKED)["msg"]


def test_request_does_not_change_under_whoever_approves(take: Take) -> None:
    take(**ASKED)
    assert "What was asked for does not change" in take(**ASKED | {"tier": "premium"})["msg"]
    assert "What was asked for does not change" in take(**ASKED | {"by": "mallory"})["msg"]


def test_key_that_came_between_is_not_handed_out(take: Take, kube: t.Any) -> None:
    take(**ASKED)
    annotations = {"secret.kuadrant.io/user-id": "zoe", "secret.kuadrant.io/plan-id": "free"}
    data = {"api_key": base64.b64encode(b"a-value-of-another-key").decode()}
    metadata = {"name": "zoe-laptop", "namespace": "llm", "annotations": annotations}
    kube.objects["secrets", "llm", "zoe-laptop"] = {"metadata": metadata, "data": data}
    assert "this request did not make" in take(**APPROVED)["msg"]
    assert kube.objects[REQUEST]["data"]["state"] == "pending"


def test_tier_that_is_gone_at_the_approval(take: Take, kube: t.Any) -> None:
    take(**ASKED)
    assert "is not one of the tiers premium" in take(**APPROVED, tiers=["premium"])["msg"]
    assert kube.objects[REQUEST]["data"]["state"] == "pending"


@pytest.mark.parametrize("writes", [1, 2])
def test_next_run_finishes_one_that_was_killed(take: Take, kube: t.Any, writes: int) -> None:
    take(**ASKED)
    kube.allowed = writes
    assert "the API server is gone" in take(**APPROVED)["msg"]
    kube.allowed = None
    assert kube.objects[REQUEST]["data"]["state"] == "approved"
    assert "cannot be refused" in take(state="refused", by="bob")["msg"]
    done = take(**APPROVED | {"by": "bob"})
    assert (done["changed"], done["request"]["state"], done["request"]["decided_by"]) == (True, "delivered", "ann")
    assert pyrage.decrypt(done["request"]["delivery"].encode(), [IDENTITY]).decode() == value_of(kube) + "\n"
    assert not take(**APPROVED)["changed"]


def test_nobody_has_asked(take: Take) -> None:
    for state in ("approved", "refused"):
        assert take(state=state, by="ann")["msg"] == "name: nobody has asked for key zoe-laptop in namespace llm."


def test_configmap_of_others_is_no_request(take: Take, kube: t.Any) -> None:
    kube.objects[REQUEST] = {"metadata": {"name": "key-request.zoe-laptop", "namespace": "llm", "resourceVersion": "1"}, "data": {}}
    assert "is no request for a key" in take(**APPROVED)["msg"]


def test_requests_are_listed_by_name_and_state(take: Take) -> None:
    take(**ASKED)
    take(**ASKED | {"name": "max-laptop", "by": "max", "user": "max", "groups": ["free", "trial"], "models": ["llama-*"]})
    take(**APPROVED, name="max-laptop")

    def listed(**options: str) -> list[str]:
        return [one["name"] for one in take(api_key_request_info.main, **options)["requests"]]

    assert sorted(listed()) == ["max-laptop", "zoe-laptop"]
    assert (listed(name="max-laptop"), listed(state="pending"), listed(state="refused")) == (["max-laptop"], ["zoe-laptop"], [])
    (other,) = take(api_key_request_info.main, name="max-laptop")["requests"]
    assert (other["groups"], other["models"]) == (["free", "trial"], ["llama-*"])
