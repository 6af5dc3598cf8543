# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Heads that are signed, and heads that are noted in a cluster: what is found by them, and that the key stays where it is."""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import typing as t

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ledger_drill import Drill

from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import options
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import CONFIGMAPS

Kube = t.Any  # the fake of conftest.py
Options = dict[str, t.Any]

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


class Key:
    """A private key in a file, and its public half as a signer."""

    def __init__(self, folder: pathlib.Path, name: str, passphrase: str | None = None) -> None:
        self._key, self.name = Ed25519PrivateKey.generate(), name
        encryption = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase.encode())
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self._key.private_bytes(PEM, PKCS8, encryption))
        self.path.chmod(0o600)

    @property
    def option(self) -> Options:
        return {"ledger_signing_key": str(self.path)}

    @property
    def signers(self) -> Options:
        public = self._key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return {self.name: public.decode()}

    @property
    def pem(self) -> str:
        return self._key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def finance(tmp_path: pathlib.Path) -> Key:
    return Key(tmp_path, "finance")


@pytest.fixture
def other(tmp_path: pathlib.Path) -> Key:
    return Key(tmp_path, "other")


def signatures(drill: Drill) -> list[pathlib.Path]:
    return sorted(drill.ledger.rglob("*.sig"))


def test_verify_names_who_signed(drill: Drill, finance: Key) -> None:
    told = drill.close(check=True, **finance.option)
    assert (told["changed"], signatures(drill)) == (True, [])
    closed = drill.close(**finance.option)
    assert (closed["changed"], [path.name for path in signatures(drill)]) == (True, ["000003_1970-01-01T02_hour.jsonl.sig"])
    assert drill.close(**finance.option)["changed"] is False
    verified = drill.info(verify=True, ledger_signers=finance.signers)["verified"]
    (one,) = verified["signatures"]
    assert (one["signer"], one["signed"], one["seq"], verified["unsigned"]) == ("finance", 1, closed["head"]["seq"], 0)
    assert one["key"] == closed["signed_by"]
    assert one["key"].startswith("SHA256:")
    # Without names, the key is told; a public key in PEM is the same one.
    assert drill.info(verify=True)["verified"]["signatures"] == [{**one, "signer": None}]
    assert drill.info(verify=True, ledger_signers={"finance": finance.pem})["verified"]["signatures"] == [one]
    assert drill.bill(ledger_signers=finance.signers)["totals"]["overall"]["cost"] == "36.00"


def test_each_close_is_signed_and_the_chain_has_the_same_bytes(drill: Drill, finance: Key) -> None:
    plain = {path.name: path.read_bytes() for path in drill.files}
    shutil.rmtree(drill.ledger)
    drill.anchor.unlink()
    drill.close(**finance.option)
    assert {path.name: path.read_bytes() for path in drill.files} == plain
    assert [path.name for path in signatures(drill)] == [f"{name}.sig" for name in plain]
    assert drill.info(verify=True)["verified"]["signatures"][0]["signed"] == 3


def test_the_key_and_its_passphrase_are_in_no_output(drill: Drill, tmp_path: pathlib.Path) -> None:
    key = Key(tmp_path, "locked", "open sesame")
    secret = "".join(key.path.read_text().splitlines()[1:-1])
    missing = drill.close(**key.option)
    assert "without a passphrase" in missing["msg"]
    wrong = drill.close(**key.option, ledger_signing_passphrase="wrong horse")
    assert "with this passphrase" in wrong["msg"]
    right = drill.close(**key.option, ledger_signing_passphrase="open sesame")
    assert right["changed"] is True
    written = "".join(path.read_text() for path in (*drill.files, *signatures(drill)))
    for text in (json.dumps([missing, wrong, right]), written):
        assert "sesame" not in text
        assert "wrong horse" not in text
        assert secret[:40] not in text


@pytest.mark.parametrize("what", ["public", "elliptic", "missing", "noise"])
def test_a_key_that_cannot_sign_is_named_before_anything_is_closed(drill: Drill, finance: Key, what: str) -> None:
    messages = {
        "public": f"everybody on this machine may read {finance.path}",
        "elliptic": "is no Ed25519 key",
        "missing": "cannot read",
        "noise": "is no private key in PEM",
    }
    if what == "public":
        finance.path.chmod(0o644)
    elif what == "elliptic":
        finance.path.write_bytes(generate_private_key(SECP256R1()).private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    elif what == "missing":
        finance.path.unlink()
    else:
        finance.path.write_text("noise")
    result = drill.close(**finance.option)
    assert messages[what] in result["msg"]
    assert "noise" not in result["msg"].replace(str(finance.path), "")


def test_a_ledger_that_was_written_again_is_found_by_its_signature(drill: Drill, finance: Key) -> None:
    drill.close(**finance.option)
    drill.rewrite(0, until=3)
    assert drill.bill(anchored=False)["totals"]["overall"]["cost"] != "36.00"
    for result in (drill.bill(anchored=False, ledger_signers=finance.signers), drill.info(verify=True)):
        assert "was written again after it was signed" in result["msg"]
        assert f"{drill.files[2]} ends with line" in result["msg"]


def test_a_rewritten_ledger_that_another_key_signed_is_found_by_name(drill: Drill, finance: Key, other: Key) -> None:
    drill.close(**finance.option)
    drill.rewrite(0, until=3)
    for path in signatures(drill):
        path.unlink()
    drill.anchor.unlink()
    assert drill.close(**other.option)["changed"] is True
    known = {"ledger_signers": finance.signers}
    for result in (drill.bill(anchored=False, **known), drill.info(verify=True, **known), drill.close(**finance.option)):
        assert "which belongs to none of the signers" in result["msg"] or "ledger_signing_key" in result["msg"]
    assert drill.info(verify=True, ledger_signers={**finance.signers, **other.signers})["verified"]["signatures"][0]["signer"] == "other"


def test_an_end_without_a_signature_is_found_and_not_signed_unseen(drill: Drill, finance: Key) -> None:
    signed = {**finance.option}
    hours = sorted(drill.files)
    for path in hours[1:]:
        path.unlink()
    drill.anchor.unlink()
    drill.close("01", **signed)
    drill.close("02")
    known = {"ledger_signers": finance.signers}
    for result in (drill.bill(anchored=False, end="1970-01-01T02:00:00Z", **known), drill.close("02", **known)):
        assert f"{drill.files[1]}: has no signature" in result["msg"]
    assert drill.info(verify=True)["verified"]["unsigned"] == 1
    refused = drill.close("03", **signed)
    assert "To sign would vouch for it" in refused["msg"]
    assert len(drill.files) == 2
    assert drill.close("03", **signed, sign_unsigned=True)["changed"] is True
    assert drill.info(verify=True, ledger_signers=finance.signers)["verified"]["unsigned"] == 0


@pytest.mark.parametrize("field", ["signature", "public_key", "seq", "version"])
def test_a_signature_that_was_changed_is_found(drill: Drill, finance: Key, field: str) -> None:
    drill.close(**finance.option)
    (path,) = signatures(drill)
    told = json.loads(path.read_text())
    if field == "signature":
        told["signature"] = base64.b64encode(bytes(64)).decode()
    elif field == "public_key":
        told["public_key"] = base64.b64encode(bytes(31)).decode()
    elif field == "seq":
        told["seq"] += 1
    else:
        told = {"version": 1}
    path.write_text(json.dumps(told))
    messages = {"signature": "was not made with the key", "seq": "or the signature is another one's"}
    assert messages.get(field, "is no signature of a ledger") in drill.info(verify=True)["msg"]


def test_an_older_copy_has_a_right_signature_and_is_found_by_the_anchor(drill: Drill, finance: Key) -> None:
    shutil.rmtree(drill.ledger)
    drill.anchor.unlink()
    drill.close(**finance.option)
    for path in (drill.files[2], signatures(drill)[2]):
        path.unlink()
    short: Options = {"end": "1970-01-01T02:00:00Z", "ledger_signers": finance.signers}
    assert drill.bill(anchored=False, **short)["totals"]["overall"]["cost"] == "24.00"
    assert "or it is an older copy" in drill.bill(**short)["msg"]


@pytest.mark.parametrize(
    ("signers", "message"),
    [
        ({"finance": "ssh-rsa AAAA"}, "ledger_signers: finance: is no public Ed25519 key"),
        ({"finance": "-----BEGIN PUBLIC KEY-----"}, "ledger_signers: finance: is no public Ed25519 key"),
    ],
)
def test_signers_that_are_none_are_named(drill: Drill, signers: Options, message: str) -> None:
    assert message in drill.bill(ledger_signers=signers)["msg"]


def test_two_signers_with_one_key_are_refused(drill: Drill, finance: Key) -> None:
    assert "a and b have the same key" in drill.bill(ledger_signers={"a": finance.pem, "b": finance.pem})["msg"]


@pytest.fixture
def cluster(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Kube:
    monkeypatch.setattr(options, "connect", lambda _module: kube)
    return kube


HEAD = {"ledger_anchor_configmap": "head", "ledger_anchor_namespace": "safe"}


def test_the_head_is_noted_in_a_configmap(drill: Drill, cluster: Kube) -> None:
    assert drill.close(check=True, **HEAD)["changed"] is True
    assert cluster.writes == []
    closed = drill.close(**HEAD)
    assert closed["changed"] is True
    made = cluster.get(CONFIGMAPS, "safe", "head")
    assert made["data"] == {"seq": str(closed["head"]["seq"]), "sha256": closed["head"]["sha256"]}
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kuadrant.llm"}
    assert drill.close(**HEAD)["changed"] is False
    assert cluster.writes == [("create", "head")]
    assert drill.bill(anchored=False, **HEAD)["totals"]["overall"]["cost"] == "36.00"


@pytest.mark.usefixtures("cluster")
def test_what_was_done_to_a_ledger_is_found_by_the_configmap(drill: Drill) -> None:
    drill.close(**HEAD)
    drill.rewrite(0, until=3)
    for result in (drill.bill(anchored=False, **HEAD), drill.info(**HEAD), drill.close(ledger_anchor=None, **HEAD)):
        assert f"{drill.files[2]}: is not what ConfigMap safe/head has noted of line" in result["msg"]
    drill.files[2].unlink()
    assert "ConfigMap safe/head has noted line" in drill.bill(anchored=False, end="1970-01-01T02:00:00Z", **HEAD)["msg"]


def test_a_configmap_follows_the_closes_and_a_foreign_one_is_an_error(drill: Drill, cluster: Kube) -> None:
    for path in drill.files[1:]:
        path.unlink()
    drill.anchor.unlink()
    drill.close("01", **HEAD)
    closed = drill.close("03", **HEAD)
    assert cluster.writes == [("create", "head"), ("patch", "head")]
    assert cluster.get(CONFIGMAPS, "safe", "head")["data"]["sha256"] == closed["head"]["sha256"]
    cluster.objects["configmaps", "safe", "head"]["data"] = {"a": "b"}
    assert "it has no data seq and sha256" in drill.close(**HEAD)["msg"]
    del cluster.objects["configmaps", "safe", "head"]
    assert "ledger_anchor_configmap: there is no ConfigMap safe/head" in drill.info(**HEAD)["msg"]


def test_a_configmap_needs_its_namespace(drill: Drill) -> None:
    assert "ledger_anchor_namespace" in drill.info(ledger_anchor_configmap="head")["msg"]
