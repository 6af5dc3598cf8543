# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles kuadrant and limitador on a simulated cluster with the real charts and operators, from missing resources to none left."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import typing as t

import pytest
import requests
import yaml

Done = subprocess.CompletedProcess
Run = t.Callable[..., "Done[str]"]
Tasks = t.Callable[[str], list[str]]
Kubectl = t.Callable[..., str]

PLAYBOOK = "tests/platform/kuadrant.yml"
SETUP = "kuadrant : configure | Set up Kuadrant's operators and the Kuadrant resource"
OPERATOR = ("deployment", "kuadrant-operator-controller-manager", "-n", "kuadrant-system")
POLICIES: list[dict[str, t.Any]] = [
    {
        "apiVersion": "kuadrant.io/v1",
        "kind": "AuthPolicy",
        "metadata": {"name": "theirs", "namespace": "default"},
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
            "rules": {"authentication": {"keys": {"apiKey": {"selector": {"matchLabels": {"app": "theirs"}}}}}},
        },
    },
    {
        "apiVersion": "kuadrant.io/v1",
        "kind": "RateLimitPolicy",
        "metadata": {"name": "theirs", "namespace": "default"},
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "theirs"},
            "limits": {"all": {"rates": [{"limit": 5, "window": "10s"}]}},
        },
    },
]


def passed(done: Done[str]) -> Done[str]:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


def message(done: Done[str]) -> str:
    """What a run that has to fail said, on one line."""
    assert done.returncode != 0, done.stdout[-3000:]
    return " ".join(done.stdout.split())


@pytest.fixture(scope="module")
def run(playbook: Run) -> Run:
    """Run roles, by default kuadrant."""

    def apply(variables: dict[str, t.Any] | None = None, *arguments: str, roles: tuple[str, ...] = ("kuadrant",)) -> Done[str]:
        return playbook(PLAYBOOK, {"test_roles": list(roles), **(variables or {})}, *arguments)

    return apply


@pytest.fixture(scope="module")
def refused(run: Run, kubectl: Kubectl) -> str:
    """What the role says on a cluster that has nothing it needs."""
    assert "kuadrant-system" not in kubectl("get", "namespaces", "-o", "name")
    return message(run())


@pytest.fixture(scope="module")
def installed(run: Run, refused: str) -> t.Iterator[Done[str]]:
    """Istio and Kuadrant; whatever a test leaves behind is gone afterwards."""
    assert refused
    yield passed(run(roles=("istio", "kuadrant", "limitador")))
    passed(run({"kuadrant_state": "absent", "kuadrant_remove_foreign_policies": True}))
    gone = {"istio_state": "absent", "istio_remove_crds": True, "istio_remove_gateway_api": True}
    passed(run(gone, roles=("istio",)))


@pytest.fixture
def operator(kubectl: Kubectl) -> t.Callable[[], dict[str, t.Any]]:
    """The operator's Deployment."""
    return lambda: t.cast("dict[str, t.Any]", json.loads(kubectl("get", *OPERATOR, "-o", "json")))


def environment(deployment: dict[str, t.Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}


def objects(kubectl: Kubectl) -> dict[str, t.Any]:
    """Name to specification of the policies."""
    found = json.loads(kubectl("get", "authpolicy,ratelimitpolicy", "--all-namespaces", "-o", "json"))["items"]
    return {f"{item['kind']} {item['metadata']['name']}": item["spec"] for item in found}


def test_missing_resources_are_named_and_nothing_is_installed(refused: str, kubectl: Kubectl) -> None:
    expected = [
        "gateways.gateway.networking.k8s.io",
        "httproutes.gateway",
        "envoyfilters.networking.istio.io",
        "wasmplugins.extensions.istio.io",
    ]
    assert [word for word in [*expected, "peerauthentications.security.istio.io", "kuadrant.llm.istio"] if word not in refused] == []
    assert "kuadrant" not in kubectl("get", "namespaces,crd", "-o", "name")


def test_kuadrant_is_ready_with_what_the_chart_has_no_values_for(
    installed: Done[str], operator: t.Callable[[], dict[str, t.Any]], kubectl: Kubectl
) -> None:
    assert installed
    set_here = {
        "AUTH_SERVICE_TIMEOUT": "2s",
        "AUTH_SERVICE_FAILURE_MODE": "deny",
        "RATELIMIT_SERVICE_TIMEOUT": "500ms",
        "RATELIMIT_CHECK_SERVICE_FAILURE_MODE": "allow",
    }
    assert set_here.items() <= environment(operator()).items()
    kuadrant = json.loads(kubectl("get", "kuadrant", "kuadrant", "-n", "kuadrant-system", "-o", "json"))
    assert {item["type"]: item["status"] for item in kuadrant["status"]["conditions"]}["Ready"] == "True"


@pytest.mark.usefixtures("installed")
def test_second_run_changes_nothing(run: Run, changed_tasks: Tasks) -> None:
    assert changed_tasks(passed(run(roles=("kuadrant", "limitador"))).stdout) == []


@pytest.mark.usefixtures("installed")
def test_what_was_put_back_to_the_chart_is_set_again(
    run: Run, changed_tasks: Tasks, helm: Kubectl, kubectl: Kubectl, operator: t.Callable[[], dict[str, t.Any]]
) -> None:
    chart = yaml.safe_load_all(helm("get", "manifest", "kuadrant-operator", "-n", "kuadrant-system"))
    manifest = next(item for item in chart if item and (item["kind"], item["metadata"]["name"]) == ("Deployment", OPERATOR[1]))
    kubectl("replace", "-f", "-", stdin=json.dumps(manifest))
    assert "AUTH_SERVICE_TIMEOUT" not in environment(operator())
    dry = passed(run(None, "--check", "--diff")).stdout
    assert re.search(r"^\+.*AUTH_SERVICE_TIMEOUT", dry, re.MULTILINE)
    assert "AUTH_SERVICE_TIMEOUT" not in environment(operator())
    assert changed_tasks(passed(run()).stdout) == changed_tasks(dry) == [SETUP]
    assert environment(operator())["AUTH_SERVICE_TIMEOUT"] == "2s"


@pytest.mark.usefixtures("installed")
def test_variable_that_is_not_wanted_any_more_goes(run: Run, operator: t.Callable[[], dict[str, t.Any]]) -> None:
    passed(run({"kuadrant_env": {"LOG_LEVEL": "debug"}, "kuadrant_auth_failure_mode": "allow"}))
    assert environment(operator())["LOG_LEVEL"] == "debug"
    assert environment(operator())["AUTH_SERVICE_FAILURE_MODE"] == "allow"
    passed(run())
    assert "LOG_LEVEL" not in environment(operator())
    assert environment(operator())["AUTH_SERVICE_FAILURE_MODE"] == "deny"


@pytest.mark.usefixtures("installed")
def test_mutual_tls_is_asked_for(run: Run) -> None:
    # Only a dry run: the pods' sidecars come from a webhook of istiod, which the simulated cluster cannot call.
    done = passed(run({"kuadrant_mtls": True}, "--check", "--diff"))
    assert re.search(r"^\+ +mtls:", done.stdout, re.MULTILINE)


@pytest.mark.usefixtures("installed")
def test_operator_is_started_again_for_what_came_after_it(
    run: Run, changed_tasks: Tasks, kubectl: Kubectl, cluster_dir: pathlib.Path
) -> None:
    variables = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))
    address = f"{variables['llm_gateway_mirror']['manifests']}/prometheus-operator-0.93.0.yaml"
    documents = re.split(r"^---$", requests.get(address, timeout=30).text, flags=re.MULTILINE)
    monitors = [text for text in documents if re.search(r"^  name: (podmonitors|servicemonitors)\.", text, re.MULTILINE)]
    assert len(monitors) == 2
    kubectl("apply", "--server-side", "-f", "-", stdin="---".join(monitors))
    try:
        names = "podmonitors.monitoring.coreos.com, servicemonitors.monitoring.coreos.com"
        for verb, arguments in (("would be", ["--check"]), ("was", [])):
            done = passed(run(None, *arguments)).stdout
            assert changed_tasks(done) == [SETUP]
            assert f"{OPERATOR[1]} {verb} started again, which has not seen {names}." in " ".join(done.split())
        assert changed_tasks(passed(run()).stdout) == []
    finally:
        kubectl("delete", "-f", "-", stdin="---".join(monitors))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"limitador_replicas": 2}, ["2 times their quota", "redis"]),
        (
            {"limitador_storage": "redis", "limitador_redis_secret": "none"},
            ["Secret kuadrant-system/none does not exist", "--from-literal=URL"],
        ),
        ({"limitador_labels": "custom"}, ["limitador_image is empty"]),
    ],
)
def test_limitador_that_cannot_work_is_refused(run: Run, variables: dict[str, t.Any], words: list[str]) -> None:
    said = message(run(variables, roles=("limitador",)))
    assert [word for word in words if word not in said] == []


@pytest.mark.usefixtures("installed")
def test_limitador_is_what_the_options_say_and_then_what_upstream_makes(run: Run, changed_tasks: Tasks, kubectl: Kubectl) -> None:
    def spec() -> dict[str, t.Any]:
        found = json.loads(kubectl("get", "limitador", "limitador", "-n", "kuadrant-system", "-o", "json"))["spec"]
        return t.cast("dict[str, t.Any]", found)

    secret = "redis://:do-not-show@redis.example:6379"
    before = spec()
    kubectl("create", "secret", "generic", "redis", "-n", "kuadrant-system", f"--from-literal=URL={secret}")
    try:
        options = {
            "limitador_storage": "redis_cached",
            "limitador_redis_secret": "redis",
            "limitador_redis_options": {"flush_period": 500},
            "limitador_replicas": 2,
            "limitador_rate_limit_headers": "DRAFT_VERSION_03",
            "limitador_verbosity": 2,
            "limitador_pdb": {"maxUnavailable": 1},
        }
        done = passed(run(options, "--diff", "-vvv", roles=("limitador",)))
        assert "do-not-show" not in done.stdout + done.stderr
        cached = {"configSecretRef": {"name": "redis"}, "options": {"flush-period": 500}}
        assert spec() == {
            **before,
            "storage": {"redis-cached": cached},
            "replicas": 2,
            "rateLimitHeaders": "DRAFT_VERSION_03",
            "verbosity": 2,
            "pdb": {"maxUnavailable": 1},
        }
        assert changed_tasks(passed(run(options, roles=("limitador",))).stdout) == []
    finally:
        passed(run({"limitador_state": "absent"}, roles=("limitador",)))
        kubectl("delete", "secret", "redis", "-n", "kuadrant-system")
    assert spec() == before
    assert changed_tasks(passed(run({"limitador_state": "absent"}, roles=("limitador",))).stdout) == []


@pytest.mark.usefixtures("installed")
def test_exported_policies_come_back_as_they_were(run: Run, changed_tasks: Tasks, kubectl: Kubectl, tmp_path: pathlib.Path) -> None:
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(POLICIES))
    try:
        before = objects(kubectl)
        export = {"test_tasks": "export", "kuadrant_export_dir": str(tmp_path / "export")}
        passed(run(export))
        assert changed_tasks(passed(run(export)).stdout) == []
        files = sorted((tmp_path / "export").iterdir())
        kinds = [yaml.safe_load(file.read_text(encoding="utf-8"))["kind"] for file in files]
        assert kinds == ["Kuadrant", "Authorino", "Limitador", "AuthPolicy", "RateLimitPolicy"]
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        assert [word for word in ("uid", "resourceVersion", "managedFields", "status:", "finalizers") if word in text] == []
        kubectl("delete", "authpolicy,ratelimitpolicy", "theirs", "-n", "default")
        kubectl("apply", "-f", str(tmp_path / "export"))
        assert objects(kubectl) == before

        (tmp_path / "export" / "other.yml").write_text("{}")
        assert "other.yml, which kubectl apply would bring along" in message(run(export))
    finally:
        kubectl("delete", "authpolicy,ratelimitpolicy", "theirs", "-n", "default", "--ignore-not-found")


@pytest.mark.usefixtures("installed")
def test_removal_stops_at_policies_of_others_and_then_exports_them(run: Run, kubectl: Kubectl, tmp_path: pathlib.Path) -> None:
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(POLICIES))
    assert "AuthPolicy default/theirs, RateLimitPolicy default/theirs" in message(run({"kuadrant_state": "absent"}))
    assert len(objects(kubectl)) == 2

    away = {"kuadrant_state": "absent", "kuadrant_remove_foreign_policies": True, "kuadrant_export_dir": str(tmp_path)}
    passed(run(away, "--check"))
    assert len(objects(kubectl)) == 2
    assert list(tmp_path.iterdir()) == []
    passed(run(away))
    assert "kuadrant" not in kubectl("get", "namespaces,crd", "-o", "name")
    assert "gateways.gateway.networking.k8s.io" in kubectl("get", "crd", "-o", "name")
    assert {"4-authpolicy-default-theirs.yml", "4-ratelimitpolicy-default-theirs.yml"} <= {path.name for path in tmp_path.iterdir()}
