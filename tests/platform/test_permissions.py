# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files meta/permissions.yml of the roles, against the real API server.

A user with exactly these rights runs site, and one who lacks a verb is told which, and who wants it.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import subprocess
import time
import types
import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Resource, argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.permissions import Permission, missing, told

Run = t.Callable[..., subprocess.CompletedProcess[str]]
Kubectl = t.Callable[..., str]
Wanted = dict[Permission, list[str]]

PLATFORM = ["istio", "prometheus", "kuadrant", "limitador", "vllm"]
ROLES = ["cluster", *PLATFORM, "gateway", "authorization", "rate_limiting", "chargeback"]
VARIABLES = {
    "llm_gateway_tiers": [{"name": "free", "requests": [{"limit": 100, "window": "1m"}], "tokens": [{"limit": 1000, "window": "1h"}]}],
    "llm_gateway_keys": [{"name": "alice-laptop", "user": "alice", "tier": "free"}],
}
NAME = "exact-rights"
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
NAMESPACED_ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")


def client(kubeconfig: str) -> Kube:
    params = {**dict.fromkeys(argument_spec()), "kubeconfig": kubeconfig}
    return connect(t.cast("t.Any", types.SimpleNamespace(params=params, fail_json=pytest.fail, warn=print)))


def rules(permissions: t.Iterable[Permission]) -> list[dict[str, t.Any]]:
    """Rules of RBAC, one for each resource."""
    verbs: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for one in permissions:
        verbs[one.group, one.resource].append(one.verb)
    return [{"apiGroups": [group], "resources": [resource], "verbs": sorted(found)} for (group, resource), found in verbs.items()]


@dataclasses.dataclass
class User:
    """A ServiceAccount with a role for the whole cluster (place None) and one in each namespace."""

    admin: Kube
    kube: Kube
    kubeconfig: str
    granted: dict[str | None, set[Permission]]

    def grant(self, place: str | None, permissions: t.Iterable[Permission]) -> None:
        body = {"rules": rules(permissions)}
        if place is None:
            self.admin.patch(CLUSTER_ROLES, t.cast("str", None), NAME, body)
        else:
            self.admin.patch(NAMESPACED_ROLES, place, NAME, body)


@pytest.fixture(scope="module")
def variables(cluster_dir: pathlib.Path) -> dict[str, t.Any]:
    given = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))
    return {**t.cast("dict[str, t.Any]", given), **VARIABLES}


@pytest.fixture(scope="module")
def wanted(ansible: Run, variables: dict[str, t.Any], tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    """What the roles say that they do, with the variables of this run."""
    path = tmp_path_factory.mktemp("permissions") / "permissions.json"
    ask = {"kuadrant.llm.permissions": {"roles": ROLES, "working": PLATFORM, "ask": False}, "register": "found"}
    keep = {"ansible.builtin.copy": {"content": "{{ found.permissions | to_json }}", "dest": str(path), "mode": "0600"}}
    done = ansible([{"hosts": "localhost", "gather_facts": False, "tasks": [ask, keep]}], variables)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(path.read_text(encoding="utf-8"))
    return {Permission(one["group"], one["resource"], one["namespace"], one["verb"]): one["roles"] for one in found}


@pytest.fixture(scope="module")
def user(
    wanted: Wanted, kubectl: Kubectl, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory, inventory: t.Callable[[], list[str]]
) -> t.Iterator[User]:
    """In namespaces that an administrator created for this user."""
    before = inventory()
    granted: dict[str | None, set[Permission]] = collections.defaultdict(set)
    for one in wanted:
        granted[one.namespace].add(one)
    subject = [{"kind": "ServiceAccount", "name": NAME, "namespace": "default"}]
    group = "rbac.authorization.k8s.io"
    objects: list[dict[str, t.Any]] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": "default"}}]
    objects += [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}} for place in granted if place]
    for place, permissions in granted.items():
        kind = "Role" if place else "ClusterRole"
        metadata = {"name": NAME, **({"namespace": place} if place else {})}
        objects.append({"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": rules(permissions)})
        reference = {"apiGroup": group, "kind": kind, "name": NAME}
        objects.append(
            {"apiVersion": f"{group}/v1", "kind": f"{kind}Binding", "metadata": metadata, "roleRef": reference, "subjects": subject}
        )
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl("apply", "--server-side", "-f", "-", stdin=text)
    config = yaml.safe_load(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", NAME, "-n", "default", "--duration=3h").strip()}
    path = tmp_path_factory.mktemp("user") / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    yield User(client(kubeconfig), client(str(path)), str(path), granted)
    kubectl("delete", "--ignore-not-found", "--wait=true", "-f", "-", stdin=text)
    assert [name for name in inventory() if name not in before] == []


def test_a_user_without_rights_is_told_each_verb_and_who_wants_it(
    wanted: Wanted, kubectl: Kubectl, kubeconfig: str, tmp_path: pathlib.Path
) -> None:
    kubectl("create", "serviceaccount", "no-rights", "-n", "default")
    try:
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
        config["users"][0]["user"] = {"token": kubectl("create", "token", "no-rights", "-n", "default").strip()}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
        whole = {(one.group, one.resource, one.verb) for one in wanted if one.namespace is None}
        asked = [one for one in wanted if one.namespace is None or (one.group, one.resource, one.verb) not in whole]
        assert missing(client(str(tmp_path / "kubeconfig")), wanted) == told(asked, wanted)
    finally:
        kubectl("delete", "serviceaccount", "no-rights", "-n", "default")


def test_each_verb_that_is_taken_away_is_named(user: User, wanted: Wanted) -> None:
    silent = []
    for place, permissions in user.granted.items():
        for one in sorted(permissions):
            if place is not None and dataclasses.replace(one, namespace=None) in user.granted[None]:
                continue  # the right in the whole cluster covers it
            user.grant(place, permissions - {one})
            said: list[str] = []
            end = time.monotonic() + 5
            while not said and time.monotonic() < end:  # the API server takes a moment to see a changed role
                said = missing(user.kube, {one: wanted[one]})
            if said != told([one], wanted):
                silent.append((one, said))
        user.grant(place, permissions)
    assert silent == []


def test_site_runs_with_exactly_these_rights(
    user: User, ansible: Run, playbook: Run, variables: dict[str, t.Any], eventually: t.Callable[..., None], wanted: Wanted
) -> None:
    eventually(lambda: missing(user.kube, wanted) == [], 10)
    try:
        done = ansible("playbooks/site.yml", {**variables, "cluster_kubeconfig": user.kubeconfig}, timeout=900)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    finally:
        whole = {"istio_remove_crds": True, "istio_remove_gateway_api": True, "prometheus_remove_crds": True}
        gone = playbook("playbooks/teardown.yml", {**VARIABLES, **whole})
    assert gone.returncode == 0, gone.stdout[-6000:]
