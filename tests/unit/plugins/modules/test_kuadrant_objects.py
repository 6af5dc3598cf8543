# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module kuadrant_objects on an in-memory Kubernetes: export, comparison and deletion of Kuadrant's objects."""

from __future__ import annotations

import copy
import pathlib
import stat
import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import inventory
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock
from ansible_collections.kuadrant.llm.plugins.modules import kuadrant_objects

Object = dict[str, t.Any]
SPACE = "kuadrant-system"
LABEL = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
OWNER = {"ownerReferences": [{"kind": "Kuadrant", "name": "kuadrant", "uid": "1"}]}
TARGET = {"targetRef": {"kind": "Gateway", "name": "vllm-gateway"}}
ENFORCED = {"conditions": [{"type": name, "status": "True"} for name in ("Accepted", "Enforced")]}

KINDS = {
    "kuadrant.io/v1": {"AuthPolicy": "authpolicies", "RateLimitPolicy": "ratelimitpolicies"},
    "kuadrant.io/v1beta1": {"Kuadrant": "kuadrants"},
    "limitador.kuadrant.io/v1alpha1": {"Limitador": "limitadors"},
    "operator.authorino.kuadrant.io/v1beta1": {"Authorino": "authorinos"},
    "authorino.kuadrant.io/v1beta3": {"AuthConfig": "authconfigs"},
    "gateway.networking.k8s.io/v1": {"Gateway": "gateways"},
}


def put(kube: t.Any, plural: str, name: str, namespace: str | None = "llm", **body: t.Any) -> None:
    metadata = {"name": name, "uid": f"{plural}-{name}", "managedFields": [{}], **body.pop("metadata", {})}
    kube.objects[plural, namespace, name] = {"metadata": {**metadata, **({"namespace": namespace} if namespace else {})}, **body}


@pytest.fixture
def cluster(kube: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """Kuadrant of ours with a policy of ours, one of others, and what it derived; its parts go with it."""
    groups: dict[str, Object] = {}
    for api_version, served in KINDS.items():
        for kind, plural in served.items():
            kube.serve(api_version, kind, plural)
        name = api_version.partition("/")[0]
        groups.setdefault(name, {"name": name, "preferredVersion": {"groupVersion": api_version}, "versions": []})
        groups[name]["versions"].append({"groupVersion": api_version})
    kube.paths["/apis"] = {"groups": list(groups.values())}
    put(kube, "namespaces", "kube-system", None, metadata={"uid": "0123456789ab"})
    put(kube, "kuadrants", "kuadrant", SPACE, metadata={"labels": LABEL}, spec={})
    put(kube, "authorinos", "authorino", SPACE, metadata=OWNER, spec={})
    put(kube, "limitadors", "limitador", SPACE, metadata=OWNER, spec={"limits": [{}], "replicas": 2})
    put(kube, "authpolicies", "ours", metadata={"labels": LABEL}, spec=TARGET, status=ENFORCED)
    put(kube, "authconfigs", "0a", SPACE, metadata={"labels": {"kuadrant.io/managed": "true"}}, spec={})
    put(kube, "gateways", "vllm-gateway", spec={})
    for name, release in (
        ("authpolicies.kuadrant.io", "kuadrant-operator"),
        ("odd.kuadrant.io", "other"),
        ("x.example.org", "kuadrant-operator"),
    ):
        put(kube, "customresourcedefinitions", name, None, metadata={"annotations": {"meta.helm.sh/release-name": release}})

    def operators(verb: str, body: Object) -> None:
        if verb == "delete" and body["metadata"]["name"] == "ours":
            del kube.objects["authconfigs", SPACE, "0a"]
        if verb == "delete" and body["metadata"]["name"] == "kuadrant":
            del kube.objects["authorinos", SPACE, "authorino"], kube.objects["limitadors", SPACE, "limitador"]

    kube.on_write = operators
    monkeypatch.setattr(kuadrant_objects, "connect", lambda _module: kube)
    return kube


def foreign(kube: t.Any) -> None:
    put(kube, "ratelimitpolicies", "theirs", "default", spec=TARGET)


@pytest.fixture
def run(run_module: t.Any) -> t.Callable[..., dict[str, t.Any]]:
    def call(**options: t.Any) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", run_module(kuadrant_objects.main, timeout=0, **options))

    return call


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


FILES = [
    "1-kuadrant-kuadrant-system-kuadrant.yml",
    "2-authorino-kuadrant-system-authorino.yml",
    "3-limitador-kuadrant-system-limitador.yml",
    "4-authpolicy-llm-ours.yml",
]


@pytest.mark.usefixtures("cluster")
def test_export_is_for_the_user_alone_and_comes_back_by_kubectl(run: t.Any, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "a" / "b"
    predicted = run(folder=str(folder), check=True)
    assert not folder.exists()
    done = run(folder=str(folder))
    assert predicted["changed"] is done["changed"] is True
    assert predicted["diff"] == done["diff"]
    assert (done["path"], done["policies"]) == (str(folder), 1)
    assert done["message"] == f"4 objects of Kuadrant are in {folder}. They come back with: kubectl apply -f {folder}"
    assert predicted["message"] == done["message"].replace("are in", "would be in")
    assert [path.name for path in sorted(folder.iterdir())] == FILES
    assert {mode(folder), mode(folder.parent)} == {0o700}
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    assert yaml.safe_load((folder / FILES[2]).read_text()) == {
        "apiVersion": "limitador.kuadrant.io/v1alpha1",
        "kind": "Limitador",
        "metadata": {"name": "limitador", "namespace": SPACE},
        "spec": {"replicas": 2},
    }
    assert (folder / FILES[3]).read_text().startswith("# Exported by kuadrant.llm. It comes back with: kubectl apply -f")
    assert run(folder=str(folder))["changed"] is False


@pytest.mark.usefixtures("cluster")
def test_file_or_folder_that_others_can_read_is_closed_again(run: t.Any, tmp_path: pathlib.Path) -> None:
    run(folder=str(tmp_path))
    (tmp_path / FILES[0]).chmod(0o644)
    tmp_path.chmod(0o755)
    assert set(run(folder=str(tmp_path))["diff"]["after"]) == {str(tmp_path), str(tmp_path / FILES[0])}
    assert (mode(tmp_path), mode(tmp_path / FILES[0])) == (0o700, 0o600)


@pytest.mark.usefixtures("cluster")
def test_folder_of_another_export_is_refused_also_in_a_dry_run(run: t.Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "other.yml").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    said = run(folder=str(tmp_path), check=True)["msg"]
    assert f"Folder {tmp_path} holds other.yml, which kubectl apply would bring along." in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "other.yml"]


@pytest.mark.usefixtures("cluster")
def test_folder_that_cannot_be_written_is_told(run: t.Any, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"Failed to export to {tmp_path}/file/export: " in run(folder=f"{tmp_path}/file/export")["msg"]


def test_each_cluster_and_content_has_a_folder_of_its_own(
    cluster: t.Any, run: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = run()["path"]
    assert pathlib.Path(first).parent == tmp_path / "kuadrant-llm/exports"
    assert pathlib.Path(first).name.startswith("01234567-")
    assert run()["path"] == first
    cluster.objects["authpolicies", "llm", "ours"]["spec"] = {**TARGET, "rules": {}}
    assert run()["path"] != first
    cluster.objects["namespaces", None, "kube-system"]["metadata"]["uid"] = "ffffffff"
    assert pathlib.Path(run(check=True)["path"]).name.startswith("ffffffff-")


def test_cluster_whose_identity_may_not_be_read_has_a_folder_too(
    cluster: t.Any, run: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_arguments: t.Any) -> None:
        raise KubeError("forbidden", 403)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(cluster, "get", forbidden)
    assert pathlib.Path(run(check=True)["path"]).name.startswith("cluster-")


def test_cluster_without_kuadrant_has_nothing_to_export(kube: t.Any, run: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kuadrant_objects, "connect", lambda _module: kube)
    done = run()
    assert (done["changed"], done["path"], done["names"], done["objects"]) == (False, "", [], [])
    assert "nothing to export" in done["message"]


def test_kind_is_read_once_in_the_version_that_the_server_prefers(cluster: t.Any) -> None:
    cluster.serve("kuadrant.io/v1beta1", "AuthPolicy", "authpolicies")
    cluster.serve("kuadrant.io/v1", "AuthPolicy/status", "authpolicies/status")
    groups = cluster.paths["/apis"]["groups"]
    found = {resource.kind: resource.api_version for resource in inventory.kinds(cluster)}
    assert found == {
        "AuthConfig": "authorino.kuadrant.io/v1beta3",
        "AuthPolicy": "kuadrant.io/v1",
        "Authorino": "operator.authorino.kuadrant.io/v1beta1",
        "Kuadrant": "kuadrant.io/v1beta1",
        "Limitador": "limitador.kuadrant.io/v1alpha1",
        "RateLimitPolicy": "kuadrant.io/v1",
    }
    groups[0]["preferredVersion"] = {"groupVersion": "kuadrant.io/v1beta1"}
    assert {one.kind: one.api_version for one in inventory.kinds(cluster)}["AuthPolicy"] == "kuadrant.io/v1beta1"


def test_nothing_is_lost(cluster: t.Any, run: t.Any, tmp_path: pathlib.Path) -> None:
    before = run(folder=str(tmp_path))["objects"]
    assert [obj["metadata"].get("managedFields") for obj in before] == [None] * 5
    # What Kuadrant derived may change.
    del cluster.objects["authconfigs", SPACE, "0a"]
    assert run(state="unchanged", before=before)["changed"] is False


def test_loss_is_told_with_the_way_back(cluster: t.Any, run: t.Any, tmp_path: pathlib.Path) -> None:
    before = run(folder=str(tmp_path))["objects"]
    del cluster.objects["authpolicies", "llm", "ours"]
    cluster.objects["limitadors", SPACE, "limitador"]["spec"]["replicas"] = 1
    result = run(state="unchanged", before=before, exported_to="/export", remedy="Run rollback.")
    assert result["msg"] == (
        "AuthPolicy llm/ours is gone. Limitador kuadrant-system/limitador is not what it was: spec.replicas. "
        "They were exported before: kubectl apply -f /export brings them back. Run rollback."
    )
    assert result["lost"] == ["AuthPolicy llm/ours is gone."]
    # A dry run has upgraded nothing.
    assert "failed" not in run(state="unchanged", before=before, check=True)


class FakeClock(Clock):
    """Time passes by sleeping; ``later`` happens after so many seconds."""

    def __init__(self, seconds: float = 0, later: t.Callable[[], None] | None = None) -> None:
        self.seconds = 0.0
        self.due, self.later = seconds, later
        super().__init__(lambda: self.seconds, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.later is not None and self.seconds >= self.due:
            self.later()


def test_policy_may_take_its_time_to_be_enforced_again(cluster: t.Any) -> None:
    before = inventory.read(cluster)
    live = cluster.objects["authpolicies", "llm", "ours"]
    live["status"] = {"conditions": [{"type": "Accepted", "status": "True"}]}
    clock = FakeClock(30, lambda: live.update(status=ENFORCED))
    inventory.verify(cluster, before, timeout=300, clock=clock)
    assert clock.seconds == 30


def test_policy_that_is_not_enforced_again_is_told_in_the_end(cluster: t.Any) -> None:
    before = inventory.read(cluster)
    cluster.objects["authpolicies", "llm", "ours"]["status"] = {}
    clock = FakeClock()
    with pytest.raises(GatewayError, match="AuthPolicy llm/ours was in effect and is not any more: Accepted is not reported yet"):
        inventory.verify(cluster, before, timeout=60, clock=clock)
    assert clock.seconds == 60


def test_lost_policy_is_not_waited_for(cluster: t.Any) -> None:
    before = inventory.read(cluster)
    del cluster.objects["authpolicies", "llm", "ours"]
    clock = FakeClock()
    with pytest.raises(GatewayError, match="is gone"):
        inventory.verify(cluster, before, timeout=60, clock=clock)
    assert clock.seconds == 0


def test_removal_exports_and_deletes_policies_before_kuadrant(cluster: t.Any, run: t.Any, tmp_path: pathlib.Path) -> None:
    held = copy.deepcopy(cluster.objects)
    predicted = run(state="absent", folder=str(tmp_path), check=True)
    assert (cluster.objects, list(tmp_path.iterdir())) == (held, [])
    done = run(state="absent", folder=str(tmp_path))
    assert predicted["changed"] is done["changed"] is True
    assert predicted["diff"] == done["diff"]
    assert cluster.writes == [("delete", "ours"), ("delete", "kuadrant")]
    assert [path.name for path in sorted(tmp_path.iterdir())] == FILES
    assert done["names"] == [
        "Kuadrant kuadrant-system/kuadrant",
        "Authorino kuadrant-system/authorino",
        "Limitador kuadrant-system/limitador",
        "AuthPolicy llm/ours",
    ]
    assert done["definitions"] == ["authpolicies.kuadrant.io"]
    assert ("gateways", "llm", "vllm-gateway") in cluster.objects
    again = run(state="absent", folder=str(tmp_path / "again"))
    assert (again["changed"], again["path"]) == (False, "")


def test_removal_stops_at_what_others_created(cluster: t.Any, run: t.Any, tmp_path: pathlib.Path) -> None:
    foreign(cluster)
    for check in (True, False):
        said = run(state="absent", folder=str(tmp_path), check=check)["msg"]
        assert "with them what others created: RateLimitPolicy default/theirs." in said
        assert "kuadrant_remove_foreign_policies" in said
    assert (cluster.writes, list(tmp_path.iterdir())) == ([], [])
    run(state="absent", folder=str(tmp_path), remove_foreign=True)
    assert (tmp_path / "4-ratelimitpolicy-default-theirs.yml").exists()
    assert [name for _verb, name in cluster.writes] == ["theirs", "ours", "kuadrant"]


def test_finalizer_that_holds_an_object_is_named(cluster: t.Any, run: t.Any, tmp_path: pathlib.Path) -> None:
    cluster.objects["authpolicies", "llm", "ours"]["metadata"]["finalizers"] = ["kuadrant.io/finalizer"]
    said = run(state="absent", folder=str(tmp_path), namespace="policies")["msg"]
    assert said == (
        "Kuadrant's objects are not gone after 0 s: AuthPolicy llm/ours (kuadrant.io/finalizer). Their operators take the finalizers away: "
        "see that the Deployments in namespace policies run, then run again."
    )
    assert ("kuadrants", SPACE, "kuadrant") in cluster.objects


def test_extension_that_missed_the_deletion_is_reminded(cluster: t.Any) -> None:
    cluster.objects["authpolicies", "llm", "ours"]["metadata"]["finalizers"] = ["kuadrant.io/extensions"]
    operators = cluster.on_write

    def reconcile(verb: str, body: t.Any) -> None:
        if verb == "patch":
            cluster.objects.pop(("authpolicies", "llm", body["metadata"]["name"]))
        operators("delete", body)

    cluster.on_write = reconcile
    policy, kuadrant = (next(obj for obj in inventory.read(cluster) if obj["kind"] == kind) for kind in ("AuthPolicy", "Kuadrant"))
    inventory.delete(cluster, [[policy], [kuadrant]], namespace=SPACE, timeout=60, clock=FakeClock())
    assert cluster.writes == [("patch", "ours"), ("delete", "kuadrant")]


def test_what_was_derived_is_waited_for(cluster: t.Any, run: t.Any, tmp_path: pathlib.Path) -> None:
    cluster.on_write = lambda _verb, _body: None
    said = run(state="absent", folder=str(tmp_path))["msg"]
    assert "AuthConfig kuadrant-system/0a (no finalizer), Authorino kuadrant-system/authorino (no finalizer)" in said
    assert "Kubernetes' garbage collector deletes them" in said
    assert "operators" not in said


def test_object_that_was_created_again_meanwhile_is_another_one(cluster: t.Any) -> None:
    policy = {"apiVersion": "kuadrant.io/v1", "kind": "AuthPolicy", **copy.deepcopy(cluster.objects["authpolicies", "llm", "ours"])}
    operators = cluster.on_write

    def again(verb: str, body: Object) -> None:
        operators(verb, body)
        put(cluster, "authpolicies", "ours", metadata={"uid": "new"}, spec=TARGET)
        for plural in ("authorinos", "limitadors"):
            cluster.objects.pop((plural, SPACE, plural.removesuffix("s")), None)

    cluster.on_write = again
    inventory.delete(cluster, [[policy]], namespace=SPACE, timeout=0)
    assert cluster.objects["authpolicies", "llm", "ours"]["metadata"]["uid"] == "new"


def test_kuadrant_of_others_loses_only_our_resource(cluster: t.Any, run: t.Any) -> None:
    del cluster.objects["authpolicies", "llm", "ours"], cluster.objects["authconfigs", SPACE, "0a"]
    assert run(state="absent", adopted=True, check=True)["changed"] is True
    assert run(state="absent", adopted=True)["changed"] is True
    assert cluster.writes == [("delete", "kuadrant")]


def test_our_resource_stays_where_others_depend_on_it(cluster: t.Any, run: t.Any) -> None:
    foreign(cluster)
    assert run(state="absent", adopted=True)["changed"] is False
    assert cluster.writes == []


def test_definitions_are_waited_for_and_their_holder_is_named(cluster: t.Any, run: t.Any) -> None:
    cluster.objects["authpolicies", "llm", "ours"]["metadata"]["finalizers"] = ["kuadrant.io/finalizer"]
    names = ["authpolicies.kuadrant.io", "gone.kuadrant.io"]
    assert run(state="gone", definitions=names, exported_to="/export")["msg"] == (
        "Helm has uninstalled Kuadrant, and after 0 s these definitions are still there: authpolicies.kuadrant.io. "
        "What holds them: AuthPolicy llm/ours (kuadrant.io/finalizer). Everything was exported to /export before; "
        "take the finalizer away by hand."
    )
    assert run(state="gone", definitions=names, check=True)["changed"] is False
    assert run(state="gone", definitions=names[1:])["changed"] is False
