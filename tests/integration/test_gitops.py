# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests that llm_gateway_render_dir writes are what the roles apply."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml

Playbook = t.Callable[..., t.Any]
Kubectl = t.Callable[..., str]

EXPECTED = {
    "llm/authpolicy-llm-auth.yaml",
    "llm/envoyfilter-vllm-gateway-deny-by-default.yaml",
    "llm/gateway-vllm-gateway.yaml",
    "llm/httproute-vllm-httproute.yaml",
    "llm/ratelimitpolicy-llm-rate-limits.yaml",
}


@pytest.fixture(scope="module")
def rendered(playbook: Playbook, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, str]:
    """The folder, and what the run said."""
    folder = tmp_path_factory.mktemp("gitops") / "manifests"
    done = playbook("kuadrant.llm.site", {"llm_gateway_render_dir": str(folder)}, "--check")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return folder, done.stdout + done.stderr


def essence(obj: dict[str, t.Any]) -> dict[str, t.Any]:
    """Without what the API server notes."""
    metadata = {name: obj["metadata"].get(name) or {} for name in ("labels", "annotations")}
    return {"metadata": metadata, **{name: value for name, value in obj.items() if name not in ("metadata", "status")}}


def test_all_objects_of_the_service_are_rendered_and_no_secret(rendered: tuple[pathlib.Path, str]) -> None:
    folder, said = rendered
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files >= EXPECTED
    assert {path for path in files if "/secret-" in path} == set()
    assert re.search(r"Not in the manifests: \d+ keys", said)


def test_rendered_is_applied(rendered: tuple[pathlib.Path, str], kubectl: Kubectl) -> None:
    """The API server, asked what it would make of each manifest, says: what is there."""
    folder, _said = rendered
    apply = ("apply", "--server-side", "--field-manager=kuadrant.llm", "--force-conflicts", "--dry-run=server", "--output=json")
    for path in sorted(folder.rglob("*.yaml")):
        wanted = yaml.safe_load(path.read_text())
        namespace = [f"--namespace={wanted['metadata']['namespace']}"] if "namespace" in wanted["metadata"] else []
        group, version = wanted["apiVersion"].rpartition("/")[::2]
        kind = f"{wanted['kind']}.{version}.{group}" if group else wanted["kind"]
        live = json.loads(kubectl("get", kind, wanted["metadata"]["name"], *namespace, "--output=json"))
        assert essence(json.loads(kubectl(*apply, f"--filename={path}"))) == essence(live), path


def test_manifests_need_check_mode(playbook: Playbook, tmp_path: pathlib.Path) -> None:
    tiers = [{"name": "free", "requests": [{"limit": 2, "window": "2m"}]}]
    variables = {"llm_gateway_render_dir": str(tmp_path / "manifests"), "llm_gateway_tiers": tiers, "llm_gateway_keys": []}
    done = playbook("kuadrant.llm.tiers", variables)
    assert done.returncode != 0
    assert "Run again in check mode, with --check" in done.stdout
    assert not (tmp_path / "manifests").exists()
