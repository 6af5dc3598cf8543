# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import rollout


def test_check_mode_asks_nothing(run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "connect", lambda _module: pytest.fail("it connected"))
    result = run_module(rollout.main, check=True, namespace="llm", workloads=["Deployment/model"])
    assert (result["changed"], result["workloads"]) == (False, [])


def test_fails_with_one_message(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any) -> None:
    monkeypatch.setattr(rollout, "connect", lambda _module: kube)
    result = run_module(rollout.main, namespace="llm", workloads=["Deployment/model"], timeout=0)
    assert result["failed"]
    assert 'Deployment "model" in namespace "llm" does not run after 0 s: it does not exist.' in result["msg"]
    assert result["workloads"] == [{"kind": "Deployment", "name": "model", "desired": 0, "available": 0, "ready": False}]


def test_refuses_an_unknown_kind_also_in_check_mode(run_module: t.Any) -> None:
    assert "'Pod/a' is not <kind>/<name>" in run_module(rollout.main, check=True, namespace="llm", workloads=["Pod/a"])["msg"]
