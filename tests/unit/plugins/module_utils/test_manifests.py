# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._manifests import Manifests
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply, remove
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method

MAPS = Resource("v1", "ConfigMap", "configmaps")


def config(name: str = "limits", **fields: t.Any) -> Object:
    metadata = {"name": name, "namespace": "llm", "labels": dict(MANAGED_BY)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


class Rendering:
    """A fake cluster that keeps manifests."""

    def __init__(self, kube: t.Any, folder: pathlib.Path) -> None:
        self.said: list[str] = []
        kube.manifests = Manifests(str(folder), self.said.append)
        kube.serve("v1", "ConfigMap", "configmaps")
        kube.serve("v1", "Secret", "secrets")
        kube.serve("v1", "Namespace", "namespaces", namespaced=False)
        self.kube, self.folder = kube, folder

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def read(self, path: str) -> t.Any:
        return yaml.safe_load((self.folder / path).read_text())


@pytest.fixture
def rendering(kube: t.Any, tmp_path: pathlib.Path) -> Rendering:
    return Rendering(kube, tmp_path / "manifests")


@pytest.mark.parametrize("method", [Method.APPLY, Method.EXACT])
@pytest.mark.parametrize("live", [None, {"a": "1"}, {"a": "2"}], ids=["new", "same", "other"])
def test_a_manifest_is_what_would_be_applied_and_nothing_is(rendering: Rendering, method: Method, live: t.Any) -> None:
    if live is not None:
        rendering.kube.create(MAPS, "llm", config(data=live))
    before = dict(rendering.kube.objects)
    apply(rendering.kube, [config(data={"a": "1"})], method=method, check=True)
    assert rendering.files() == {"llm/configmap-limits.yaml"}
    assert rendering.read("llm/configmap-limits.yaml") == config(data={"a": "1"})
    assert rendering.kube.objects == before


def test_a_file_that_is_right_is_left_alone(rendering: Rendering) -> None:
    apply(rendering.kube, [config()], check=True)
    path = rendering.folder / "llm/configmap-limits.yaml"
    path.chmod(0o600)
    apply(rendering.kube, [config()], check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    apply(rendering.kube, [config(data={"a": "1"})], check=True)
    assert rendering.read("llm/configmap-limits.yaml")["data"] == {"a": "1"}


def test_a_secret_is_named_and_never_written(rendering: Rendering) -> None:
    secret = {**config("canary"), "kind": "Secret", "stringData": {"api_key": "canary-value"}}
    apply(rendering.kube, [secret], check=True)
    assert rendering.files() == set()
    (said,) = rendering.said
    assert "Not in the manifests: Secret llm/canary." in said
    assert "canary-value" not in said


def test_a_namespace_of_others_is_not_in_the_manifests(rendering: Rendering) -> None:
    spaces = Resource("v1", "Namespace", "namespaces")
    rendering.kube.create(spaces, None, {"metadata": {"name": "theirs"}})
    rendering.kube.create(spaces, None, {"metadata": {"name": "ours", "labels": dict(MANAGED_BY)}})
    wanted = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": MANAGED_BY}} for name in ("theirs", "ours", "new")
    ]
    apply(rendering.kube, wanted, check=True)
    assert rendering.files() == {"_cluster/namespace-ours.yaml", "_cluster/namespace-new.yaml"}


@pytest.mark.parametrize("live", [True, False])
def test_the_file_of_an_object_that_goes_goes_too(rendering: Rendering, live: bool) -> None:
    apply(rendering.kube, [config(), config("other")], check=True)
    if live:
        rendering.kube.create(MAPS, "llm", config())
    remove(rendering.kube, [config()], check=True)
    assert rendering.files() == {"llm/configmap-other.yaml"}
    assert bool(rendering.kube.get(MAPS, "llm", "limits")) is live


def test_a_name_does_not_lead_out_of_the_folder(rendering: Rendering, tmp_path: pathlib.Path) -> None:
    wanted = config("../../../escaped")
    wanted["metadata"]["namespace"] = ".."
    apply(rendering.kube, [wanted], check=True)
    assert len(rendering.files()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["manifests"]


def test_a_folder_that_cannot_be_written_is_named(rendering: Rendering) -> None:
    rendering.folder.write_text("no folder")
    with pytest.raises(GatewayError, match=r"Failed to write the manifest .*configmap-limits.yaml: .*render_dir"):
        apply(rendering.kube, [config()], check=True)
