# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook drill on the stack of the tests, with a drill that stops nothing: the disk of the limiter is full."""

from __future__ import annotations

import json
import pathlib
import typing as t

Run = t.Callable[..., t.Any]


def test_a_full_disk_of_the_limiter_is_as_documented(playbook: Run, kubectl: t.Callable[..., str], tmp_path: pathlib.Path) -> None:
    seen = tmp_path / "seen.json"
    done = playbook("playbooks/drill.yml", {"drill_names": ["limiter-without-disk"], "drill_output": str(seen)})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    (drill,) = json.loads(seen.read_text(encoding="utf-8"))
    assert (drill["as_documented"], drill["problems"], drill["alert"]) == (True, [], "LLMLimiterStorageLost")
    assert set(drill["spent"].split(" x ")[1:]) == {"429"}, "the limit held"
    assert drill["billed"] == {"lower": drill["admitted"], "upper": drill["admitted"], "undecided": 0}
    left = kubectl("get", "httproutes,authpolicies,ratelimitpolicies,secrets", "--namespace=llm", "--output=name")
    assert "drill" not in left


def test_what_a_killed_run_left_is_removed(playbook: Run, kubectl: t.Callable[..., str]) -> None:
    webhook = {
        "name": "drill.llm.example",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE", "UPDATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    left = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "drill-refuses"},
        "webhooks": [webhook],
    }
    kubectl("apply", "--filename=-", stdin=json.dumps(left))
    done = playbook("playbooks/drill.yml", {"drill_names": []})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "drill" not in kubectl("get", "validatingwebhookconfigurations,httproutes,secrets", "--all-namespaces", "--output=name")


def test_what_there_is_no_drill_of_is_refused(playbook: Run) -> None:
    done = playbook("playbooks/drill.yml", {"drill_names": ["earthquake"]})
    assert done.returncode != 0
    assert "There are: limiter-killed, limiter-gone" in done.stdout
