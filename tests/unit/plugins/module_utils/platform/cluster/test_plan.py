# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.plan import RunWish, platform_plan, run_plan

HELM = {"kind": "helm", "name": "istiod", "namespace": "istio-system"}
ALL = ["istio", "prometheus", "kuadrant"]


def info(**found: dict[str, t.Any]) -> dict[str, t.Any]:
    absent = {"present": False, "version": None, "ours": False, "owner": None}
    kubernetes = {"version": "1.34.1", "flavour": "kubernetes", "openshift_version": None}
    return {"kubernetes": kubernetes, **dict.fromkeys(("gateway_api", "istio", "kuadrant", "prometheus"), absent), **found}


OURS = {"present": True, "version": "1.29.1", "ours": True, "owner": HELM, "namespace": "istio-system"}
THEIRS = OURS | {"ours": False}
ACCEPTED = {"name": "istio", "controller": "istio.io/gateway-controller", "accepted": True}
HOSTED = {"present": False, "version": None, "ours": False, "owner": None, "crds": True, "classes": [ACCEPTED]}
GONE = HOSTED | {"classes": [ACCEPTED | {"controller": "kgateway.dev/kgateway"}]}
HALF = OURS | {"present": False, "version": None, "owner": None}


@pytest.mark.parametrize(
    ("found", "roles", "provider", "action"),
    [
        ({}, ALL, "auto", "install"),
        (OURS, ALL, "auto", "manage"),
        (THEIRS, ALL, "auto", "use"),
        (HALF, ALL, "auto", "manage"),
        ({}, ALL, "existing", "missing"),
        (OURS, ALL, "existing", "use"),
        (THEIRS, ALL, "helm", "refused"),
        (OURS, ALL, "helm", "manage"),
        ({}, ALL, "helm", "install"),
        ({}, [], "auto", "missing"),
        (HOSTED, [], "auto", "use"),
        (HOSTED, ALL, "existing", "use"),
        (HOSTED, ALL, "auto", "install"),
        (GONE, [], "auto", "missing"),
        (THEIRS, [], "auto", "use"),
    ],
)
def test_action(found: dict[str, t.Any], roles: list[str], provider: str, action: str) -> None:
    rows = platform_plan(info(**({"istio": found} if found else {})), roles, {"istio": provider})
    assert next(row for row in rows if row["component"] == "istio")["action"] == action


def test_gateway_api_comes_with_the_role_of_istio_and_is_never_in_its_way() -> None:
    rows = {row["component"]: row["action"] for row in platform_plan(info(gateway_api=THEIRS), ALL, {"istio": "helm"})}
    assert (rows["gateway_api"], rows["istio"]) == ("use", "install")


def test_prometheus_can_be_done_without() -> None:
    rows = {row["component"]: row["action"] for row in platform_plan(info(), [], {})}
    assert rows == {"kubernetes": "use", "gateway_api": "missing", "istio": "missing", "prometheus": "none", "kuadrant": "missing"}


def test_rows_say_who_owns_it() -> None:
    olm = THEIRS | {"owner": {"kind": "olm", "name": "rhcl-operator.v1.2.0", "namespace": "x"}}
    plain = THEIRS | {"owner": {"kind": "manifest", "name": None, "namespace": None}}
    rows = platform_plan(info(istio=THEIRS, kuadrant=olm, gateway_api=plain, prometheus=OURS), ALL, {})
    assert [row["owner"] for row in rows] == [None, "a manifest", "Helm release istiod", "kuadrant.llm", "OLM rhcl-operator.v1.2.0"]


NEW = {"version": "1.34.1", "server_version": "v1.34.1", "flavour": "kubernetes", "openshift_version": None}


def run(wish: RunWish, **found: dict[str, t.Any]) -> dict[str, t.Any]:
    return run_plan(info(**{"kubernetes": NEW, **found}), wish)


BRING_ALL = RunWish(roles=["istio", "prometheus", "kuadrant", "limitador"], providers={"istio": "auto"})


def test_an_empty_cluster_gets_everything() -> None:
    made = run(BRING_ALL)
    assert (made["problems"], made["working"], made["monitored"]) == ([], list(BRING_ALL.roles), True)


def test_a_role_that_uses_what_is_there_changes_nothing() -> None:
    made = run(BRING_ALL, istio=THEIRS, gateway_api=THEIRS, prometheus=OURS)
    assert made["working"] == ["prometheus", "kuadrant", "limitador"]
    assert run(RunWish(), **dict.fromkeys(("istio", "gateway_api", "kuadrant"), THEIRS))["monitored"] is False


@pytest.mark.parametrize(
    ("version", "istio", "words"),
    [
        ("1.30.4", {}, "1.31 or later is needed (for Istio 1.29.1, which this run would install)"),
        ("1.31.0", {}, ""),
        ("1.30.4", OURS, ""),
        ("1.28.9", OURS, "1.29 or later is needed. Upgrade the cluster"),
    ],
)
def test_kubernetes_that_is_too_old(version: str, istio: dict[str, t.Any], words: str) -> None:
    wish = RunWish(roles=BRING_ALL.roles, istio_version="1.29.1")
    found = {"istio": istio} if istio else {}
    problems = run(wish, kubernetes={**NEW, "version": version, "server_version": f"v{version}"}, **found)["problems"]
    assert [f"The cluster runs Kubernetes v{version}; " in problem and words in problem for problem in problems] == (
        [True] if words else []
    )


def test_istio_that_is_too_old_is_refused_unless_it_is_ours() -> None:
    old = THEIRS | {"version": "1.26.8", "revision": "default"}
    (problem,) = run(BRING_ALL, istio=old)["problems"]
    assert "Istio 1.26.8 (revision default in namespace istio-system) is too old: 1.27 or later" in problem
    assert run(BRING_ALL, istio=old | {"ours": True})["problems"] == []
    assert run(BRING_ALL, istio=old | {"version": "1.27.0"})["problems"] == []


def test_what_is_missing_is_named_once_with_the_way_out() -> None:
    wish = RunWish(roles=["kuadrant"], providers={"istio": "auto", "kuadrant": "existing"})
    (problem,) = run(wish)["problems"]
    assert problem.startswith(
        "The cluster lacks Gateway API, Istio, Kuadrant, and this run does not install them (llm_gateway_platform is [kuadrant], "
    )
    assert "istio_provider is auto, kuadrant_provider is existing). Install them first" in problem


FIT = {"controller": "istio.io/gateway-controller", "accepted": True}
OPENSHIFT = {"name": "openshift-default", "controller": "openshift.io/gateway-controller/v1", "accepted": True}
OTHER = {"name": "kgateway", "controller": "kgateway.dev/kgateway", "accepted": True}


@pytest.mark.parametrize(
    ("classes", "wanted", "istio", "chosen"),
    [
        ([OTHER, {"name": "istio", **FIT}], "", THEIRS, None),
        ([OTHER, OPENSHIFT], "", THEIRS, "openshift-default"),
        ([OTHER, OPENSHIFT, {"name": "models", **FIT}], "models", THEIRS, "models"),
        ([OTHER], "", THEIRS, None),
        ([OTHER], "kgateway", THEIRS, None),
        ([OTHER, OPENSHIFT], "", {"present": False, "version": None, "ours": False, "owner": None}, None),
    ],
    ids=["istio", "the only one that fits", "the one that is wanted", "none fits", "one that does not fit", "Istio comes with this run"],
)
def test_gateway_class(classes: list[dict[str, t.Any]], wanted: str, istio: dict[str, t.Any], chosen: str | None) -> None:
    wish = RunWish(roles=BRING_ALL.roles, gateway_class=wanted)
    assert run(wish, istio={**istio, "classes": classes})["gateway_class"] == chosen
