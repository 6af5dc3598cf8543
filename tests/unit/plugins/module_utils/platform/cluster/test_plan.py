# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.plan import platform_plan

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


def test_rows_say_whose_it_is() -> None:
    olm = THEIRS | {"owner": {"kind": "olm", "name": "rhcl-operator.v1.2.0", "namespace": "x"}}
    plain = THEIRS | {"owner": {"kind": "manifest", "name": None, "namespace": None}}
    rows = platform_plan(info(istio=THEIRS, kuadrant=olm, gateway_api=plain, prometheus=OURS), ALL, {})
    assert [row["owner"] for row in rows] == [None, "a manifest", "Helm release istiod", "kuadrant.llm", "OLM rhcl-operator.v1.2.0"]
