# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kind provider as far as it goes without images: the real kind acts on our configuration; the container engine is played.

The engine is a script that answers what kind asks before the first node runs, notes what kind wanted of it, and starts nothing.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import yaml

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]

# What kind asks of an engine: docker version, info, ps, inspect, network, pull, run, rm.
ENGINE = r"""#!/bin/sh
cd "$(dirname "$0")"
echo "$(basename "$0") $*" >>calls
case "$1" in
version) exit 0 ;;
info) echo '{"CgroupDriver":"systemd","CgroupVersion":"2","MemoryLimit":true,"PidsLimit":true,"CPUShares":true,"Driver":"overlay2"}' ;;
ps) if [ -f names ]; then cat names; fi ;;
inspect) case "$*" in *--type=image*) exit 0 ;; *) cat nodes.json ;; esac ;;
network) if [ "$2" = ls ]; then echo 0123456789ab; else echo '[]'; fi ;;
run) echo "the engine of the test starts nothing" >&2; exit 1 ;;
rm) rm -f names nodes.json ;;
start) sed -i 's/"Running": false/"Running": true/' nodes.json ;;
*) exit 0 ;;
esac
"""


def flat(done: subprocess.CompletedProcess[str]) -> str:
    return re.sub(r"\s+", " ", done.stdout + done.stderr)


def play(task: str = "main") -> list[dict[str, t.Any]]:
    role = {"ansible.builtin.include_role": {"name": "kuadrant.llm.cluster", "tasks_from": task}}
    return [{"hosts": "localhost", "gather_facts": False, "tasks": [role]}]


@pytest.fixture(scope="module")
def kind(ansible: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The real kind, built by the role from its pins."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "kuadrant-llm/bin"
    engine = Engine(tmp_path_factory.mktemp("engine"))
    variables = {"cluster_provider": "kind", "cluster_kind_install": "go", "cluster_cache_dir": str(cache), "cluster_state": "present"}
    done = engine.run(ansible, variables | {"cluster_state_dir": str(engine.folder / "state")}, path="/usr/bin:/bin")
    found = sorted(cache.glob("kind-*/kind"))
    assert found, flat(done)
    return str(found[-1])


class Engine:
    """The played docker: ``nodes`` are the containers of a cluster that exists."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "docker").write_text(ENGINE, encoding="utf-8")
        (folder / "docker").chmod(0o755)

    def have(self, *nodes: dict[str, t.Any]) -> None:
        (self.folder / "nodes.json").write_text(json.dumps(nodes, indent=1), encoding="utf-8")
        (self.folder / "names").write_text("".join(f"{node['Name'].strip('/')}\n" for node in nodes), encoding="utf-8")

    def calls(self) -> str:
        return (self.folder / "calls").read_text(encoding="utf-8") if (self.folder / "calls").exists() else ""

    def run(self, ansible: Run, variables: dict[str, t.Any], *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.folder}{os.pathsep}{path + os.pathsep if path else ''}{os.environ['PATH']}"}
        return ansible(play(), {"cluster_provider": "kind", **variables}, *arguments, environment=environment)


def node(identifier: str = "abc", running: bool = True, port: str = "8000", image: str = "") -> dict[str, t.Any]:
    return {
        "Id": identifier,
        "Name": "/kuadrant-llm-control-plane",
        "State": {"Running": running},
        "Config": {"Image": image, "Labels": {"io.x-k8s.kind.role": "control-plane"}},
        "HostConfig": {
            "PortBindings": {
                "30080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}],
                "30090/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9090"}],
            }
        },
    }


@pytest.fixture
def engine(tmp_path: pathlib.Path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
def provide(ansible: Run, engine: Engine, kind: str) -> Run:
    """Run role cluster with the played engine and the real kind."""

    def run(*arguments: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        given = {"cluster_kind_binary": kind, "cluster_state_dir": str(engine.folder / "state"), **variables}
        return engine.run(ansible, given, *arguments)

    return run


FLIPPED = {
    "cluster_kind_name": "another",
    "cluster_kind_control_planes": 3,
    "cluster_kind_workers": 2,
    "cluster_kind_image": "kindest/node:v1.33.12",
    "cluster_kind_gateway_port": 18080,
    "cluster_kind_gateway_node_port": 31080,
    "cluster_kind_prometheus_port": 19090,
    "cluster_kind_prometheus_node_port": 31090,
    "cluster_kind_address": "127.0.0.2",
    "cluster_kind_api_port": 16443,
    "cluster_kind_ports": [{"host": 18443, "node": 31443}],
    "cluster_kind_pod_subnet": "10.100.0.0/16",
    "cluster_kind_service_subnet": "10.101.0.0/16",
    "cluster_kind_timeout": 10,
    "cluster_kind_runtime": "docker",
    "cluster_kind_config": {"featureGates": {"InPlacePodVerticalScaling": True}},
    "llm_gateway_mirror": {"images": "mirror.example:5000/llm", "plain_http": True},
}


@pytest.mark.parametrize(
    ("variables", "published"),
    [
        ({}, ["--publish=127.0.0.1:8000:30080/TCP", "--publish=127.0.0.1:9090:30090/TCP", "kindest/node@sha256:"]),
        (
            FLIPPED,
            [
                "--publish=127.0.0.2:18080:31080/TCP",
                "--publish=127.0.0.2:19090:31090/TCP",
                "127.0.0.2:18443:31443/TCP",
                "kindest/node:v1.33.12",
            ],
        ),
    ],
    ids=["defaults", "every variable another"],
)
def test_kind_accepts_the_configuration_and_opens_the_ports(
    provide: Run, engine: Engine, variables: dict[str, t.Any], published: list[str]
) -> None:
    done = provide(**variables)
    # It is refused only by the engine, at the first node.
    assert done.returncode != 0
    assert "kind could not create the cluster" in flat(done)
    assert "starts nothing" in flat(done)
    nodes = [line for line in engine.calls().splitlines() if line.startswith("docker run ")]
    assert nodes, engine.calls()
    for argument in published:
        assert any(argument in line for line in nodes), (argument, nodes)


def test_mirror_is_given_to_containerd(provide: Run, engine: Engine) -> None:
    provide(llm_gateway_mirror=FLIPPED["llm_gateway_mirror"])
    folder = engine.folder / "state/kuadrant-llm"
    config = yaml.safe_load((folder / "config.yml").read_text(encoding="utf-8"))
    assert config["nodes"][0]["image"].startswith("mirror.example:5000/llm/kindest/node@sha256:")
    assert config["nodes"][0]["extraMounts"][0]["hostPath"] == str(folder / "registries")
    default = (folder / "registries/_default/hosts.toml").read_text(encoding="utf-8")
    assert '[host."http://mirror.example:5000/v2/llm"]' in default
    assert "override_path = true" in default
    assert f"{folder / 'registries'}:/etc/containerd/certs.d:ro" in engine.calls()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"cluster_kind_config": {"featureGate": {"X": True}}}, "field featureGate not found"),
        ({"cluster_kind_pod_subnet": "nonsense"}, "invalid pod subnet"),
        ({"cluster_kind_gateway_node_port": 99999}, "99999"),
    ],
    ids=["a field that kind does not know", "a subnet that is none", "a port that is none"],
)
def test_kinds_own_refusal_is_shown(provide: Run, engine: Engine, variables: dict[str, t.Any], said: str) -> None:
    done = provide(**variables)
    assert done.returncode != 0
    assert said in flat(done)
    assert "docker run" not in engine.calls()


def test_check_mode_makes_nothing_and_says_what_it_would_make(provide: Run, engine: Engine) -> None:
    done = provide("--check")
    assert done.returncode == 0, flat(done)
    assert "The kind cluster kuadrant-llm is created on docker" in flat(done)
    assert "changed=1 " in done.stdout
    assert "docker run" not in engine.calls()
    assert not (engine.folder / "state").exists()


def test_no_container_engine_is_said_in_one_message(ansible: Run, kind: str, tmp_path: pathlib.Path) -> None:
    for name in ("docker", "podman"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho 'no {name} daemon' >&2\nexit 1\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = ansible(play(), {"cluster_provider": "kind", "cluster_kind_binary": kind}, environment=environment)
    assert done.returncode != 0
    assert "no container engine answers here: docker: no docker daemon; podman: no podman daemon" in flat(done)
    assert "cluster_provider=local, which needs none" in flat(done)


def test_a_kind_that_is_too_old_is_refused_by_name(ansible: Run, engine: Engine, tmp_path: pathlib.Path) -> None:
    old = tmp_path / "old-kind"
    old.write_text("#!/bin/sh\necho 'kind v0.20.0 go1.20.4 linux/amd64'\n", encoding="utf-8")
    old.chmod(0o755)
    done = engine.run(ansible, {"cluster_kind_binary": str(old)})
    assert done.returncode != 0
    assert "which says: kind v0.20.0" in flat(done)
    assert "Name a kind of version 0.27 or later" in flat(done)


def note(engine: Engine, *ids: str) -> None:
    """As the role notes a cluster that it made."""
    folder = engine.folder / "state/kuadrant-llm"
    folder.mkdir(parents=True)
    (folder / "made.json").write_text(json.dumps({"nodes": list(ids), "config": {"networking": {}}}), encoding="utf-8")


@pytest.mark.parametrize(
    ("ours", "recreate", "remedy"),
    [
        (False, False, "delete it yourself (kind delete cluster --name kuadrant-llm): this role did not create it"),
        (False, True, "delete it yourself"),
        (True, False, "cluster_kind_recreate=true; all in it is lost"),
    ],
    ids=["theirs", "theirs, with recreate", "ours"],
)
def test_a_cluster_that_differs_is_refused_and_kept(provide: Run, engine: Engine, ours: bool, recreate: bool, remedy: str) -> None:
    engine.have(node("abc", port="8888", image="kindest/node:v1.33.12"))
    if ours:
        note(engine, "abc")
    done = provide(cluster_kind_image="kindest/node:v1.33.12", cluster_kind_recreate=recreate)
    assert done.returncode != 0
    assert "127.0.0.1:8000 does not lead to NodePort 30080, 127.0.0.1:8888 does" in flat(done)
    assert remedy in flat(done)
    assert "docker rm" not in engine.calls()


def test_a_cluster_of_ours_that_differs_is_replaced_on_purpose(provide: Run, engine: Engine) -> None:
    engine.have(node("abc", port="8888", image="kindest/node:v1.33.12"))
    note(engine, "abc")
    provide(cluster_kind_image="kindest/node:v1.33.12", cluster_kind_recreate=True)
    calls = engine.calls()
    assert calls.index("docker rm -f -v kuadrant-llm-control-plane") < calls.index("docker run ")


@pytest.mark.parametrize(
    ("ids", "deleted"), [(("abc",), True), (("another",), False), (None, False)], ids=["ours", "created again by others", "theirs"]
)
def test_absent_deletes_only_what_the_role_made(provide: Run, engine: Engine, ids: tuple[str, ...] | None, deleted: bool) -> None:
    engine.have(node("abc"))
    if ids:
        note(engine, *ids)
    predicted = provide("--check", cluster_state="absent")
    assert ("changed=1 " in predicted.stdout) is deleted
    assert "docker rm" not in engine.calls()
    done = provide(cluster_state="absent")
    assert done.returncode == 0, flat(done)
    assert ("docker rm -f -v kuadrant-llm-control-plane" in engine.calls()) is deleted
    assert (engine.folder / "state/kuadrant-llm").exists() is (ids is not None and not deleted)
    again = provide(cluster_state="absent")
    assert (again.returncode, "changed=0 " in again.stdout) == (0, True)


def test_what_comes_after_the_cluster_runs_on_one_that_is_given(ansible: Run, cluster_dir: pathlib.Path) -> None:
    """The same facts as after making one, and the preflight, on the simulated cluster."""
    shown = {"ansible.builtin.debug": {"msg": "{{ [llm_gateway_kubeconfig, llm_gateway_url, llm_gateway_prometheus_url] | join(' ') }}"}}
    service = {
        "ansible.builtin.debug": {
            "msg": "{{ llm_gateway_service.type ~ ' ' ~ llm_gateway_service.node_port ~ ' ' ~ llm_gateway_platform | join(' ') }}"
        }
    }
    plays = play()
    plays[0]["tasks"] += [shown, service]
    done = ansible(plays, {"cluster_provider": "kind", "cluster_kubeconfig": str(cluster_dir / "kubeconfig")})
    assert done.returncode == 0, flat(done)
    assert f"{cluster_dir / 'kubeconfig'} http://127.0.0.1:8000 http://127.0.0.1:9090" in flat(done)
    assert "NodePort 30080 istio prometheus kuadrant limitador vllm" in flat(done)
    assert "COMPONENT" in done.stdout
    assert "changed=0 " in done.stdout
