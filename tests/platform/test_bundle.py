# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disconnected installation's parts: listed, kept and loaded by the real Helm and crane between two registries on loopback."""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
PARTS = ["istio", "vllm_simulator"]


class Place(t.NamedTuple):
    """Where the test's images lie, and the tools."""

    variables: dict[str, t.Any]
    registry: str
    crane: str
    helm: str


@pytest.fixture(scope="module")
def place(cluster_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The cluster's mirror, and small images in its registry in place of those that the catalogue names."""
    variables = yaml.safe_load((cluster_dir / "vars.yml").read_text())
    port = int(variables["llm_gateway_mirror"]["charts"].split(":")[2].split("/")[0])
    registry, crane = f"127.0.0.1:{port + 1}", str(cluster_dir / "crane")
    layer = tmp_path_factory.mktemp("image") / "layer.tar"
    subprocess.run(["tar", "-cf", str(layer), "-C", str(ROOT), "LICENSE"], check=True)
    catalogue = yaml.safe_load((ROOT / "roles/platform/vars/main.yml").read_text())["platform_catalogue"]
    for key in ("istio_pilot", "istio_proxy", "simulator"):
        image = catalogue["images"][key]
        tag = image["tag"].replace("{version}", catalogue["versions"][image["of"]])
        name = f"{registry}/source/{image['repository'].split('/', 1)[1]}:{tag}"
        subprocess.run([crane, "append", "--insecure", "-f", str(layer), "-t", name], check=True, capture_output=True)
    mirror = {**variables["llm_gateway_mirror"], "images": f"{registry}/source", "plain_http": True}
    own = {"llm_gateway_mirror": mirror, "bundle_image_tool": crane, "bundle_parts": PARTS}
    return Place(own, registry, crane, str(cluster_dir / "helm"))


def read(folder: pathlib.Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads((folder / "bundle.json").read_text()))


def output(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_lists_exactly_what_the_parts_need(playbook: t.Any, place: Place) -> None:
    shown = output(playbook("playbooks/bundle.yml", place.variables))
    assert "changed=0" in shown
    parts = [line.split()[1] for line in shown.splitlines() if line.strip().startswith(("chart ", "manifest ", "image ", "binary "))]
    names = sorted(part.rsplit("/", 1)[1].split(":")[0] for part in parts)
    assert names == ["base", "istiod", "llm-d-inference-sim", "pilot", "proxyv2", "standard-install.yaml"]
    assert "not resolved" not in shown


def test_keeps_and_loads_everything_by_its_digest(playbook: t.Any, place: Place, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "bundle"
    push = {"charts": f"oci://{place.registry}/charts", "images": f"{place.registry}/mirror", "manifests": str(tmp_path / "served")}
    variables = {**place.variables, "bundle_output": str(folder), "bundle_push": {**push, "plain_http": True}}

    assert "changed=1" in output(playbook("playbooks/bundle.yml", variables, "--check"))
    assert not folder.exists()
    assert "changed=1" in output(playbook("playbooks/bundle.yml", variables))
    bundle = read(folder)
    for entry in (*bundle["charts"].values(), *bundle["manifests"].values()):
        assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    served = tmp_path / "served" / pathlib.Path(bundle["manifests"]["gateway_api"]["file"]).name
    assert hashlib.sha256(served.read_bytes()).hexdigest() == bundle["digests"]["manifests"]["gateway_api"]
    for image in bundle["images"].values():
        there = f"{place.registry}/mirror/{image['reference'].split('/', 1)[1]}"
        said = subprocess.run([place.crane, "digest", "--insecure", there], check=True, capture_output=True, text=True).stdout.strip()
        assert said == f"sha256:{image['sha256']}"
    pulled = tmp_path / "pulled"
    pulled.mkdir()
    chart = bundle["charts"]["istiod"]
    command = [
        place.helm,
        "pull",
        f"oci://{place.registry}/charts/istiod",
        "--version",
        chart["version"],
        "--plain-http",
        "-d",
        str(pulled),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert hashlib.sha256(next(pulled.iterdir()).read_bytes()).hexdigest() == chart["sha256"]

    assert "changed=0" in output(playbook("playbooks/bundle.yml", variables))

    (folder / bundle["charts"]["istiod"]["file"]).write_bytes(b"broken")
    assert "changed=1" in output(playbook("playbooks/bundle.yml", variables))
    assert read(folder) == bundle


def test_installs_by_digest_and_refuses_what_differs(playbook: t.Any, ansible: t.Any, place: Place, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "bundle"
    output(playbook("playbooks/bundle.yml", {**place.variables, "bundle_output": str(folder)}))
    digests = read(folder)["digests"]
    tasks = [
        {"ansible.builtin.import_role": {"name": "kuadrant.llm.platform"}},
        {"ansible.builtin.debug": {"msg": "PROXY {{ platform_artifacts.images.istio_proxy }}"}},
    ]
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    mirror = {**place.variables["llm_gateway_mirror"], "images": f"{place.registry}/mirror"}
    variables = {"llm_gateway_mirror": mirror, "llm_gateway_digests": digests, "platform_helm_binary": place.helm}
    shown = output(ansible(play, variables))
    assert f"PROXY {place.registry}/mirror/istio/proxyv2@sha256:{digests['images']['istio_proxy']}" in shown

    wrong = {**digests, "manifests": {"gateway_api": "0" * 64}}
    refused = playbook("playbooks/bundle.yml", {**place.variables, "llm_gateway_digests": wrong})
    assert refused.returncode != 0
    assert f"not {'0' * 64}" in " ".join(refused.stdout.split())


def test_says_what_a_registry_refuses(playbook: t.Any, place: Place) -> None:
    mirror = {**place.variables["llm_gateway_mirror"], "images": f"{place.registry}/nowhere"}
    refused = playbook("playbooks/bundle.yml", {**place.variables, "llm_gateway_mirror": mirror})
    said = " ".join(refused.stdout.split())
    assert refused.returncode != 0
    assert f"Failed to ask for the digest of {place.registry}/nowhere/" in said
    assert "llm_gateway_versions" in said
