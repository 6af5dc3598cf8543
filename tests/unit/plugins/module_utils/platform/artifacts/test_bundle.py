# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.bundle import bundle_images, chart_images, needed, rows
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.collect import Collector, ImageTool
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.resolve import Mirror, artifacts

CATALOGUE = {
    "versions": {"mesh": "1.0.0", "proxy": "2.0.0", "tool": "3.0.0"},
    "sets": {},
    "charts": {"mesh": {"of": "mesh", "name": "mesh", "repository": "https://charts.example.org"}},
    "manifests": {"mesh": {"of": "mesh", "name": "mesh", "url": "https://example.org/v{version}/mesh.yaml"}},
    "images": {
        "pilot": {"of": "mesh", "repository": "docker.io/mesh/pilot", "tag": "{version}"},
        "proxy": {"of": "proxy", "repository": "docker.io/mesh/proxy", "tag": "v{version}"},
    },
    "binaries": {
        "tool": {
            "of": "tool",
            "url": "https://example.org/tool-{version}-{platform}",
            "sha256": {"3.0.0": {"linux-amd64": hashlib.sha256(b"tool").hexdigest()}},
        }
    },
}
PARTS = {"charts": ["mesh"], "manifests": ["mesh"], "images": ["pilot", "proxy"], "binaries": ["tool"]}
RENDERED = """
spec:
  template:
    spec:
      initContainers: [{name: a, image: "docker.io/mesh/init:1"}]
      containers:
        - name: b
          image: docker.io/mesh/pilot:1.0.0
          env:
            - {name: RELATED_IMAGE_SIDE, value: "quay.io/x/side:1"}
            - {name: RELATED_IMAGE_CONSOLE, value: "quay.io/x/console:1"}
            - {name: A}
---
kind: ConfigMap
"""


def test_needed() -> None:
    needs = {"a": {"charts": ["x"], "images": ["i"]}, "b": {"images": ["i", "j"]}}
    assert needed(needs, ["a", "b"]) == {"charts": ["x"], "manifests": [], "images": ["i", "j"], "binaries": []}
    with pytest.raises(GatewayError, match="bundle_roles: there is no part called 'c'; the parts are a, b"):
        needed(needs, ["c"])


def test_chart_images() -> None:
    images = chart_images(yaml.safe_load_all(RENDERED), "RELATED_IMAGE_CONSOLE")
    assert images == ["docker.io/mesh/init:1", "docker.io/mesh/pilot:1.0.0", "quay.io/x/side:1"]


def test_what_a_chart_names_wins_over_the_catalogue() -> None:
    upstream = artifacts(CATALOGUE, {}, {}, {})
    images = bundle_images(upstream, Mirror(images="m"), ["pilot", "proxy"], ["docker.io/mesh/pilot:1.0.1"], ["docker.io/library/redis:7"])
    assert images == [
        {"key": "docker.io/library/redis:7", "reference": "docker.io/library/redis:7", "source": "m/library/redis:7"},
        {"key": "docker.io/mesh/pilot:1.0.1", "reference": "docker.io/mesh/pilot:1.0.1", "source": "m/mesh/pilot:1.0.1"},
        {"key": "proxy", "reference": "docker.io/mesh/proxy:v2.0.0", "source": "m/mesh/proxy:v2.0.0"},
    ]


def test_an_image_of_unknown_version_has_to_be_in_a_chart() -> None:
    upstream = artifacts(CATALOGUE, {}, {}, {})
    upstream["images"]["proxy"] = None
    assert bundle_images(upstream, Mirror(), ["proxy"], ["quay.io/x/proxy:9"], [])[0]["reference"] == "quay.io/x/proxy:9"
    with pytest.raises(GatewayError, match=r"set llm_gateway_versions\.proxy"):
        bundle_images(upstream, Mirror(), ["proxy"], [], [])


@pytest.mark.parametrize(
    ("tool", "digest", "push"),
    [
        (ImageTool("/bin/crane"), ["/bin/crane", "digest", "a:1"], ["/bin/crane", "push", "f", "a:1"]),
        (ImageTool("crane", plain_http=True), ["crane", "digest", "a:1", "--insecure"], ["crane", "push", "f", "a:1", "--insecure"]),
        (
            ImageTool("/bin/skopeo", plain_http=True),
            ["/bin/skopeo", "inspect", "--format", "{{.Digest}}", "--tls-verify=false", "docker://a:1"],
            ["/bin/skopeo", "copy", "--all", "--dest-tls-verify=false", "oci:f", "docker://a:1"],
        ),
    ],
)
def test_image_tools(tool: ImageTool, digest: list[str], push: list[str]) -> None:
    assert tool.digest("a:1") == digest
    assert tool.push(Path("f"), "a:1") == push


class World:
    """Helm, crane and the network."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.registry: dict[str, str] = {}
        self.mesh = hashlib.sha256(b"an image").hexdigest()
        self.commands: list[str] = []
        self.rewrites = False

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(" ".join(command[:2]))
        if command[:2] == ["helm", "pull"]:
            if "oci://" in command[2] and command[2] not in self.registry:
                return 1, "", "not found"
            (Path(command[command.index("--destination") + 1]) / "mesh-1.0.0.tgz").write_bytes(b"chart")
        elif command[:2] == ["helm", "template"]:
            return 0, RENDERED.replace("docker.io/mesh/init:1", "docker.io/mesh/pilot:1.0.0"), ""
        elif command[:2] == ["helm", "push"]:
            self.registry[f"{command[3]}/mesh"] = "chart"
        elif command[1] == "digest":
            if command[2].startswith("m/") and command[2] not in self.registry:
                return 1, "", "MANIFEST_UNKNOWN"
            return 0, f"sha256:{self.registry.get(command[2], self.mesh)}\n", ""
        elif command[1] == "pull":
            Path(command[4]).mkdir(parents=True)
            (Path(command[4]) / "index.json").write_text("{}")
        elif command[1] == "push":
            self.registry[command[3]] = "0" * 64 if self.rewrites else self.mesh
        return 0, "", ""

    def download(self, url: str) -> bytes:
        return b"tool" if "tool" in url else b"manifest"


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "work").mkdir()
    return World(tmp_path / "work")


def collector(world: World, *, check: bool = False, digests: t.Any = None) -> Collector:
    found, upstream = artifacts(CATALOGUE, {}, {}, digests), artifacts(CATALOGUE, {}, {}, {})
    return Collector(found, upstream, Mirror(), "helm", ImageTool("crane"), world.run, world.download, world.work, check)


def test_collect(world: World) -> None:
    document = collector(world).collect(PARTS, "RELATED_IMAGE_.*", [])
    assert document["digests"] == {
        "charts": {"mesh": hashlib.sha256(b"chart").hexdigest()},
        "manifests": {"mesh": hashlib.sha256(b"manifest").hexdigest()},
        "images": {"pilot": world.mesh, "proxy": world.mesh},
    }
    assert [row["kind"] for row in rows(document)] == ["chart", "manifest", "image", "image", "binary"]
    # What a bundle says is what an installation understands.
    assert artifacts(CATALOGUE, {}, {}, document["digests"])["images"]["proxy"] == f"docker.io/mesh/proxy@sha256:{world.mesh}"


def test_collect_without_a_tool_leaves_digests_open(world: World) -> None:
    one = collector(world)
    one.tool = None
    document = one.collect(PARTS, ".*", [])
    assert document["images"]["proxy"]["sha256"] is None
    assert "images" not in {key for key, sums in document["digests"].items() if sums}


def test_collect_refuses_another_manifest(world: World) -> None:
    with pytest.raises(GatewayError, match="It is not what was published"):
        collector(world, digests={"manifests": {"mesh": "0" * 64}}).collect(PARTS, ".*", [])


def test_keep_writes_once(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"

    def keep(check: bool = False) -> bool:
        one = collector(world, check=check)
        one.keep(folder, one.collect(PARTS, ".*", []))
        return bool(one.changes.result(diff=False)["changed"])

    assert keep(check=True)
    assert not folder.exists()
    assert keep()
    assert sorted(path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()) == [
        "binaries",
        "bundle.json",
        "charts",
        "images",
        "manifests",
    ]
    assert json.loads((folder / "bundle.json").read_text())["format"] == 1
    assert not keep()
    (folder / "manifests/mesh-1.0.0.yaml").write_text("broken")
    assert keep()
    assert not keep()


def test_push_loads_once(world: World, tmp_path: Path) -> None:
    target = Mirror(charts="oci://m/charts", images="m", manifests=str(tmp_path / "served"))

    def push(check: bool = False) -> bool:
        one = collector(world, check=check)
        one.push(target, one.collect(PARTS, ".*", []), tmp_path / "scratch")
        return bool(one.changes.result(diff=False)["changed"])

    assert push(check=True)
    assert world.registry == {}
    assert push()
    assert sorted(world.registry) == ["m/mesh/pilot:1.0.0", "m/mesh/proxy:v2.0.0", "oci://m/charts/mesh"]
    assert (tmp_path / "served/mesh-1.0.0.yaml").read_bytes() == b"manifest"
    assert not push()


def test_push_notices_a_mirror_that_rewrites_images(world: World, tmp_path: Path) -> None:
    world.rewrites = True
    one = collector(world)
    with pytest.raises(GatewayError, match="The mirror rewrites images"):
        one.push(Mirror(images="m"), one.collect(PARTS, ".*", []), tmp_path / "scratch")
