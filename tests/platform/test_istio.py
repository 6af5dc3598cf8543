# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role istio on a real API server, with the real charts and istiod: from a dry run to the removal, and what it refuses."""

from __future__ import annotations

import json
import pathlib
import typing as t
from collections.abc import Iterator

import pytest
import yaml

PLAY = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/kuadrant.llm.llm_gateway": {"kubeconfig": "{{ cluster_kubeconfig }}"}},
        "roles": [{"role": "kuadrant.llm.istio"}],
        "tasks": [{"ansible.builtin.debug": {"msg": "CLASS {{ llm_gateway_class | default('none') }}"}}],
    }
]
ABSENT = {"istio_state": "absent", "istio_remove_crds": True, "istio_remove_gateway_api": True}
OLD_KINDS = ["GatewayClass", "Gateway", "HTTPRoute"]
Play = t.Callable[..., str]


def definition(kind: str) -> dict[str, t.Any]:
    """A resource definition as the Gateway API of another owner 1.2.1 has it, but for the schema."""
    plural = {"GatewayClass": "gatewayclasses"}.get(kind, f"{kind.lower()}s")
    annotations = {
        "gateway.networking.k8s.io/bundle-version": "v1.2.1",
        "gateway.networking.k8s.io/channel": "standard",
        "api-approved.kubernetes.io": "https://example.org",
    }
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.gateway.networking.k8s.io", "annotations": annotations},
        "spec": {
            "group": "gateway.networking.k8s.io",
            "names": {"kind": kind, "plural": plural},
            "scope": "Cluster" if kind == "GatewayClass" else "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.fixture(scope="module")
def play(ansible: t.Any, cluster_dir: pathlib.Path) -> Play:
    """Run the role with these variables on top of the cluster's; the output, which says changed= and failed=."""
    variables = yaml.safe_load((cluster_dir / "vars.yml").read_text())

    def run(extra: dict[str, t.Any] | None = None, *arguments: str) -> str:
        return str(ansible(PLAY, {**variables, **(extra or {})}, *arguments).stdout)

    return run


@pytest.fixture(scope="module", autouse=True)
def clean(play: Play) -> Iterator[None]:
    yield
    play(ABSENT)


def test_installs_repeats_upgrades_and_removes(
    play: Play, kubectl: t.Any, helm: t.Any, inventory: t.Callable[[], list[str]], changed_tasks: t.Callable[[str], list[str]]
) -> None:
    before = inventory()
    predicted = play({}, "--check")
    assert "failed=0" in predicted
    assert inventory() == before

    made = play()
    assert "failed=0" in made
    assert "CLASS istio" in made
    assert changed_tasks(made) == changed_tasks(predicted)
    releases = {one["name"]: one["status"] for one in json.loads(helm("list", "-n", "istio-system", "-o", "json"))}
    assert releases == {"istiod": "deployed", "istio-base": "deployed"}

    again = play()
    assert "changed=0" in again
    assert "failed=0" in again

    down = play({"llm_gateway_versions": {"istio": "1.29.0"}})
    assert "istiod-1.29.1 becomes istiod-1.29.0" in down
    assert json.loads(kubectl("get", "cm", "-n", "istio-system", "kuadrant-llm-istio", "-o", "json"))["data"] == {
        "provider": "helm",
        "version": "1.29.0",
        "previous": "1.29.1",
    }

    predicted = play(ABSENT, "--check")
    removed = play(ABSENT)
    assert "failed=0" in removed
    assert changed_tasks(removed) == changed_tasks(predicted)
    assert inventory() == before
    assert "changed=0" in play(ABSENT)


def test_a_foreign_gateway_api_that_is_too_old_is_refused(play: Play, kubectl: t.Any) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [definition(kind) for kind in OLD_KINDS]}))
    try:
        said = " ".join(play().split())
        assert "failed=1" in said
        assert "The cluster has Gateway API 1.2.1, and Kuadrant needs 1.4.0 or newer." in said
        assert "have it upgraded there" in said
        play(ABSENT)
        assert "gateways.gateway.networking.k8s.io" in kubectl("get", "crd", "-o", "name")
    finally:
        kubectl("delete", "crd", *(definition(kind)["metadata"]["name"] for kind in OLD_KINDS))


def test_existing_never_installs(play: Play, inventory: t.Callable[[], list[str]]) -> None:
    before = inventory()
    said = " ".join(play({"istio_provider": "existing"}).split())
    assert "istio_provider is existing, and the cluster has no Istio." in said
    assert inventory() == before
