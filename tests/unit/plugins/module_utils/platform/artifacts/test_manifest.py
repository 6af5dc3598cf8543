# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.manifest import parse, read
from ansible_collections.kuadrant.llm.plugins.modules import platform_manifest

TEXT = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.org}
status: {conditions: [{type: Established, status: "True"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: default}
data: {image: "quay.io/p/operator:v1"}
"""
SUM = hashlib.sha256(TEXT.encode()).hexdigest()
MANIFEST: dict[str, t.Any] = {"name": "things", "version": "1.0", "file": "things-1.0.yaml", "url": None, "path": None, "sha256": None}


def unreachable(_url: str) -> bytes:
    raise GatewayError("Failed to download it: HTTP Error 404.")


def test_a_lone_equals_sign_and_a_date_stay_text() -> None:
    assert parse("{kinds: ['!=', =, =~], date: 2026-01-01}") == [{"kinds": ["!=", "=", "=~"], "date": "2026-01-01"}]


@pytest.mark.parametrize("sha256", [None, "", SUM])
def test_reads_an_address(sha256: str | None) -> None:
    documents = read({**MANIFEST, "url": "https://example.org/x", "sha256": sha256}, lambda _url: TEXT.encode())
    assert [one["kind"] for one in documents] == ["CustomResourceDefinition", "ConfigMap"]


@pytest.mark.parametrize(
    ("manifest", "text", "words"),
    [
        pytest.param({"url": "https://x"}, None, "from https://x: Failed to download it: HTTP Error 404. Set llm_gateway_mirror", id="404"),
        pytest.param({"path": "{tmp}/none"}, None, "No such file or directory. Set llm_gateway_mirror.manifests", id="no file"),
        pytest.param({"path": "{tmp}/m", "sha256": "0"}, TEXT, f"the file has the SHA-256 sum {SUM}, not 0. Set", id="another file"),
        pytest.param({"path": "{tmp}/m"}, "a: [", "the file is not valid YAML", id="not YAML"),
    ],
)
def test_says_how_to_do_without_a_file(tmp_path: Path, manifest: dict[str, t.Any], text: str | None, words: str) -> None:
    if text:
        (tmp_path / "m").write_text(text)
    given = {key: value.replace("{tmp}", str(tmp_path)) for key, value in manifest.items()}
    with pytest.raises(GatewayError) as caught:
        read({**MANIFEST, **given}, unreachable)
    assert caught.value.message.startswith("Manifest things 1.0 cannot be had from ")
    assert words in caught.value.message
    assert "things-1.0.yaml" in caught.value.message


@pytest.fixture
def manifest(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any, tmp_path: Path) -> t.Callable[..., t.Any]:
    monkeypatch.setattr(platform_manifest, "connect", lambda _module: kube)
    kube.serve("v1", "ConfigMap", "configmaps")
    kube.serve("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
    (tmp_path / "m.yaml").write_text(TEXT)

    def call(*, check: bool = False, **options: t.Any) -> t.Any:
        return run_module(platform_manifest.main, check=check, manifest={**MANIFEST, "path": str(tmp_path / "m.yaml")}, **options)

    return call


def actions(result: dict[str, t.Any]) -> dict[str, str]:
    return {f"{one['kind']} {one['namespace'] or ''}/{one['name']}": one["action"] for one in result["actions"]}


CRD = "CustomResourceDefinition /things.example.org"


@pytest.mark.parametrize("check", [False, True])
def test_applies_it_fitted(manifest: t.Any, kube: t.Any, check: bool) -> None:
    result = manifest(namespace="mine", images={"quay.io/p/operator:v1": "m/operator:v1"}, check=check)
    assert actions(result) == {CRD: "create", "ConfigMap mine/a": "create"}
    assert result["diff"]["after"]["ConfigMap mine/a"]["data"]["image"] == "m/operator:v1"
    assert bool(kube.objects) is not check
    if not check:
        assert not manifest(namespace="mine", images={"quay.io/p/operator:v1": "m/operator:v1"})["changed"]


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        pytest.param({}, {"ConfigMap default/a": "delete"}, id="kinds stay"),
        pytest.param({"remove_crds": True}, {"ConfigMap default/a": "delete", CRD: "delete"}, id="kinds last"),
        pytest.param({"remove_crds": True, "skip": ["ConfigMap"]}, {CRD: "delete"}, id="without some"),
        pytest.param({"only": ["Secret"]}, {}, id="only others"),
    ],
)
def test_deletes_it(manifest: t.Any, kube: t.Any, options: dict[str, t.Any], gone: dict[str, str]) -> None:
    manifest()
    before = len(kube.objects)
    assert list(actions(manifest(state="absent", check=True, **options)).items()) == list(gone.items())
    assert len(kube.objects) == before
    assert actions(manifest(state="absent", **options)) == gone
    assert len(kube.objects) == before - len(gone)
    assert not manifest(state="absent", **options)["changed"]
