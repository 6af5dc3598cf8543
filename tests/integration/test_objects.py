# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module objects against a real API server: what it predicts is what it does, and what earlier versions wrote by patches is taken over."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.modules import objects

NAMESPACE = "test-objects"
OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(scope="module")
def run(kubeconfig: str) -> Run:
    """Run the module with these definitions and options: the result."""

    def call(*definitions: dict[str, t.Any], check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        given = {"kubeconfig": kubeconfig, "definitions": list(definitions), "wait": False, "timeout": 60, **options}
        with patch_module_args({**given, "_ansible_check_mode": check, "_ansible_diff": True}):
            module = AnsibleModule(argument_spec=argument_spec(**objects.ARGUMENT_SPEC), supports_check_mode=True)
            try:
                return objects.run(module, connect(module))
            except GatewayError as exc:
                return {"msg": exc.message, "changed": False}

    return call


@pytest.fixture(autouse=True, scope="module")
def space(run: Run) -> t.Iterator[None]:
    """A namespace for the tests, which is gone afterwards."""
    place = made("v1", "Namespace", NAMESPACE, None)
    run(place)
    yield
    done = run(place, state="absent", wait=True, timeout=60, namespace_ignore=["*"])
    assert done["changed"], done


def made(api_version: str, kind: str, name: str, namespace: str | None = NAMESPACE, **fields: t.Any) -> dict[str, t.Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **place, "labels": OURS}, **fields}


def config_map(name: str = "a", **data: str) -> dict[str, t.Any]:
    return made("v1", "ConfigMap", name, data=data)


def gateway(name: str, **spec: t.Any) -> dict[str, t.Any]:
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
    return made("gateway.networking.k8s.io/v1", "Gateway", name, spec={"gatewayClassName": "nobody", "listeners": [listener], **spec})


def route(name: str, **rule: t.Any) -> dict[str, t.Any]:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
    rules = [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], **rule}]
    return made("gateway.networking.k8s.io/v1", "HTTPRoute", name, spec={"parentRefs": [parent], "rules": rules})


def same_twice(run: Run, *definitions: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
    """Predict, do, and do again: the prediction is what is done, and the second time nothing is."""
    predicted = run(*definitions, check=True, **options)
    done = run(*definitions, **options)
    assert "msg" not in done, done
    assert (predicted["diff"], predicted["actions"]) == (done["diff"], done["actions"])
    for check in (True, False):
        again = run(*definitions, check=check, **options)
        assert not again["changed"], again["diff"]
    return done


INFRASTRUCTURE = {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "settings"}}


@pytest.mark.parametrize("method", ["apply", "exact"])
def test_a_field_that_is_not_wanted_any_more_goes(run: Run, method: str) -> None:
    name = f"g-{method}"
    created = same_twice(run, gateway(name, infrastructure=INFRASTRUCTURE), method=method)
    assert [one["action"] for one in created["actions"]] == ["create"]
    updated = same_twice(run, gateway(name), method=method)
    assert "infrastructure" not in updated["objects"][0]["spec"]
    same_twice(run, route(name, backendRefs=[{"name": "b", "port": 1}]), method=method)
    changed = same_twice(run, route(name, timeouts={"request": "5s"}), method=method)
    assert "backendRefs" not in changed["objects"][0]["spec"]["rules"][0]


@pytest.mark.parametrize("method", ["apply", "exact"])
def test_what_version_1_0_0_patched_is_taken_over(run: Run, kubectl: t.Any, method: str, tmp_path: pathlib.Path) -> None:
    """kubernetes.core is OpenAPI-Generator to the API server. What others set stays, with `apply`."""
    name = f"old-{method}"
    (tmp_path / "old.json").write_text(json.dumps(gateway(name, infrastructure=INFRASTRUCTURE)))
    kubectl("create", "--field-manager", "OpenAPI-Generator", "-f", str(tmp_path / "old.json"))
    theirs = json.dumps({"spec": {"infrastructure": {"labels": {"theirs": "1"}}}, "metadata": {"labels": {"theirs": "1"}}})
    kubectl("patch", "gateway", name, "-n", NAMESPACE, "--type", "merge", "-p", theirs, "--field-manager", "theirs")
    taken = same_twice(run, gateway(name), method=method)["objects"][0]
    assert taken["metadata"]["labels"] == {**OURS, "theirs": "1"}
    assert taken["spec"].get("infrastructure") == ({"labels": {"theirs": "1"}} if method == "apply" else None)


def test_a_kind_and_its_first_object_in_one_call(run: Run) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    spec = {"group": "objects.llm.example", "scope": "Namespaced", "names": names, "versions": [version]}
    crd = made("apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.objects.llm.example", None, spec=spec)
    thing = made("objects.llm.example/v1", "Thing", "first", spec={"x": 1})
    try:
        assert run(thing, crd, check=True)["changed"]
        done = run(thing, crd)
        assert "actions" in done, done
        assert [(one["kind"], one["action"]) for one in done["actions"]] == [("CustomResourceDefinition", "create"), ("Thing", "create")]
        assert not run(thing, crd)["changed"]
    finally:
        removed = run(crd, state="absent", wait=True)
    assert removed["changed"], removed
    assert run(thing, check=True)["changed"]
    assert "does not serve objects.llm.example/v1 Thing" in run(thing)["msg"]


def test_a_missing_namespace_is_predicted_and_otherwise_an_error(run: Run) -> None:
    lost = made("v1", "ConfigMap", "a", "test-objects-nowhere", data={"x": "1"})
    for method in ("apply", "exact"):
        assert run(lost, check=True, method=method)["changed"]
        assert 'namespace "test-objects-nowhere" does not exist' in run(lost, method=method)["msg"]


def test_patches_of_others_objects(run: Run, kubectl: t.Any) -> None:
    kubectl("create", "configmap", "theirs", "-n", NAMESPACE, "--from-literal", "x=1")
    for method, value in (("merge", "2"), ("strategic", "3")):
        same_twice(run, made("v1", "ConfigMap", "theirs", data={"y": value}), method=method)
    assert json.loads(kubectl("get", "configmap", "theirs", "-n", NAMESPACE, "-o", "json"))["data"] == {"x": "1", "y": "3"}
    assert "it does not exist" in run(config_map("nothing"), method="merge")["msg"]


def test_a_finalizer_is_named(run: Run, kubectl: t.Any) -> None:
    held = config_map("held", x="1")
    held["metadata"]["finalizers"] = ["llm.example/held"]
    run(held)
    assert run(held, state="absent", check=True)["changed"]
    failed = run(held, state="absent", wait=True, timeout=2)
    assert failed["msg"].startswith(f"ConfigMap {NAMESPACE}/held is still there after 2 s: finalizer llm.example/held holds it.")
    kubectl("patch", "configmap", "held", "-n", NAMESPACE, "--type", "merge", "-p", '{"metadata": {"finalizers": null}}')
    assert not run(held, state="absent", wait=True)["changed"]


def test_only_ours_is_deleted(run: Run, kubectl: t.Any) -> None:
    kubectl("create", "configmap", "foreign", "-n", NAMESPACE)
    kept = run(config_map("foreign"), state="absent")
    assert (kept["changed"], kept["actions"][0]["why"]) == (False, "it was not created by kuadrant.llm")
    place = run(made("v1", "Namespace", NAMESPACE, None), state="absent", check=True)
    assert not place["changed"]
    assert "ConfigMap/foreign" in place["actions"][0]["why"]
    assert run(config_map("foreign"), state="absent", owned_only=False)["changed"]


def test_a_secret_is_never_shown(run: Run) -> None:
    shown = [run(made("v1", "Secret", "s", stringData={"key": "canary"}), check=check) for check in (True, False)]
    assert "canary" not in json.dumps(shown)
    assert "Y2FuYXJ5" not in json.dumps(shown)


def test_whoever_has_one_namespace_needs_no_right_beyond_it(run: Run, kubectl: t.Any) -> None:
    kubectl("create", "role", "maps", "-n", NAMESPACE, "--verb", "get,create,patch,delete", "--resource", "configmaps")
    kubectl("create", "rolebinding", "maps", "-n", NAMESPACE, "--role", "maps", "--user", "jane")
    limited = {"impersonate_user": "jane"}
    assert run(made("v1", "Namespace", NAMESPACE, None), config_map("jane", x="1"), **limited)["changed"]
    assert not run(made("v1", "Namespace", NAMESPACE, None), config_map("jane", x="1"), **limited)["changed"]
    assert run(config_map("jane"), state="absent", wait=True, **limited)["changed"]
    assert "403 Forbidden" in run(gateway("jane"), **limited)["msg"]
