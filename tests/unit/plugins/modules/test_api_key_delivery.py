# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.modules import api_key_delivery

VALUE = "CaNaRy-0123456789-of-alice"
ENCODED = base64.b64encode(VALUE.encode()).decode()
COPY = {"secret_name": "gateway", "secret_namespace": "team"}

Deliver = t.Callable[..., dict[str, t.Any]]


def secret(kube: t.Any, namespace: str, name: str, data: dict[str, str], **metadata: t.Any) -> None:
    kube.objects["secrets", namespace, name] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": data,
    }


@pytest.fixture
def deliver(kube: t.Any, run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> Deliver:
    kube.serve("v1", "Secret", "secrets")
    secret(kube, "llm", "alice", {"api_key": ENCODED}, labels={"app": "llm-gateway"})
    monkeypatch.setattr(api_key_delivery, "connect", lambda _module: kube)

    def run(**options: t.Any) -> dict[str, t.Any]:
        result: dict[str, t.Any] = run_module(api_key_delivery.main, namespace="llm", **{"name": "alice", **options})
        assert VALUE not in json.dumps(result)
        assert ENCODED not in json.dumps(result)
        return result

    return run


def test_file_is_for_its_owner_only(deliver: Deliver, tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    assert deliver(path=str(path), check=True)["changed"]
    assert not path.exists()
    result = deliver(path=str(path))
    assert (result["changed"], result["fingerprint"], result["delivered_to"]) == (True, fingerprint(VALUE), f"file {path}")
    assert path.read_text() == VALUE + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not deliver(path=str(path))["changed"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("content", "mode"), [(VALUE + "\n", 0o644), ("another\n", 0o600), ("", 0o600)])
def test_file_that_is_otherwise_is_replaced(deliver: Deliver, tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "alice.key"
    path.write_text(content)
    path.chmod(mode)
    assert deliver(path=str(path))["changed"]
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (VALUE + "\n", 0o600)


def test_what_is_no_file_is_refused(deliver: Deliver, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert "is no file" in deliver(path=str(tmp_path))["msg"]
    assert "is no file" in deliver(path=str(tmp_path / "link"))["msg"]
    assert "there is no folder" in deliver(path=str(tmp_path / "none/alice.key"))["msg"]
    assert not (tmp_path / "elsewhere").exists()


def test_secret_of_the_requester(kube: t.Any, deliver: Deliver) -> None:
    assert deliver(**COPY, check=True)["changed"]
    assert kube.writes == []
    result = deliver(**COPY, secret_key="OPENAI_API_KEY")
    assert result["delivered_to"] == "Secret team/gateway, data OPENAI_API_KEY"
    made = kube.objects["secrets", "team", "gateway"]
    assert made["data"] == {"OPENAI_API_KEY": ENCODED}
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "kuadrant.llm"}, "the gateway would take it for a key"
    assert not deliver(**COPY, secret_key="OPENAI_API_KEY")["changed"]


def test_new_value_takes_the_place_of_the_old_copy(kube: t.Any, deliver: Deliver) -> None:
    deliver(**COPY)
    other = base64.b64encode(b"another-value-0123456789").decode()
    secret(kube, "llm", "alice", {"api_key": other}, labels={"app": "llm-gateway"})
    result = deliver(**COPY)
    assert result["changed"]
    assert kube.objects["secrets", "team", "gateway"]["data"] == {"api_key": other}
    assert other not in json.dumps(result)


def test_secret_that_holds_something_else_is_left_alone(kube: t.Any, deliver: Deliver) -> None:
    secret(kube, "team", "gateway", {"password": "x"})
    assert deliver(**COPY)["msg"] == "Secret team/gateway exists and holds something else. Choose another name, or delete it first."
    secret(kube, "llm", "bob", {"api_key": ENCODED}, labels={"app": "llm-gateway"})
    deliver(secret_name="shared", secret_namespace="team")
    assert "holds a copy of key llm/alice" in deliver(name="bob", secret_name="shared", secret_namespace="team")["msg"]


def test_the_key_itself_is_no_place_for_a_copy(deliver: Deliver) -> None:
    assert "holds something else" in deliver(secret_name="alice", secret_namespace="llm")["msg"]


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        ({"api_key": ENCODED}, {"app": "other"}, "is no API key of this gateway: it lacks the labels app=llm-gateway"),
        ({}, {"app": "llm-gateway", "kuadrant.llm/revoked": "true"}, "has no value"),
    ],
)
def test_what_is_no_key_is_not_read(
    kube: t.Any, deliver: Deliver, tmp_path: Path, data: dict[str, str], labels: dict[str, str], message: str
) -> None:
    secret(kube, "llm", "alice", data, labels=labels)
    assert message in deliver(path=str(tmp_path / "key"))["msg"]
    assert list(tmp_path.iterdir()) == []


def test_key_that_is_not_there_yet(deliver: Deliver, tmp_path: Path) -> None:
    assert "There is no API key llm/carol" in deliver(name="carol", path=str(tmp_path / "key"))["msg"]
    result = deliver(name="carol", path=str(tmp_path / "key"), check=True)
    assert (result["changed"], result["fingerprint"]) == (True, None)
    assert deliver(name="carol", **COPY, check=True)["changed"]


def test_one_place_is_needed(deliver: Deliver, tmp_path: Path) -> None:
    assert "one of the following is required: path, secret_name" in deliver()["msg"]
    assert "mutually exclusive" in deliver(path=str(tmp_path / "key"), **COPY)["msg"]
    assert "secret_namespace" in deliver(secret_name="x")["msg"]
