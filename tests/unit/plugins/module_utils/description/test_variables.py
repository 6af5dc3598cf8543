# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.variables import (
    PUBLIC,
    check_namespace,
    check_variables,
    likely_slips,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("llm_gateway_teirs", "; llm_gateway_tiers is"),
        ("llm_gateway_tier", "; llm_gateway_tiers is"),
        ("llm_gateway_key", "; llm_gateway_keys is"),
        ("llm_gateway_buget", "; llm_gateway_budgets is"),
        ("llm_gateway_pricebook", "; llm_gateway_price_book is"),
        ("llm_gateway_", None),
        ("llm_gateway_Tiers", "; llm_gateway_tiers is"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_one_that_was_meant(name: str, meant: str | None) -> None:
    problems = Problems()
    check_variables([*PUBLIC, "ansible_host", "my_llm_gateway_x", name], problems)
    (message,) = problems.messages
    assert message.startswith(f"{name}: is not a variable of this collection")
    assert meant is None or meant in message


def test_misspelt_variables_stand_among_the_other_problems() -> None:
    with pytest.raises(GatewayError) as caught:
        read_config([{"name": "A"}], [], namespace="kube-system", variables=["llm_gateway_teirs", "llm_gateway_keys"], now=NOW)
    assert [problem.split(":")[0] for problem in caught.value.details["problems"]] == [
        "llm_gateway_teirs",
        "llm_gateway_namespace",
        "llm_gateway_tiers[0] (A)",
    ]


KNOWN = ["rate_limiting_tiers", "rate_limiting_timeout", "gateway_port", "chargeback_wait_for_scrape"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rate_limiting_teirs", "rate_limiting_tiers"),
        ("rate_limiting_time_out", "rate_limiting_timeout"),
        ("chargeback_wait_for_scrapes", "chargeback_wait_for_scrape"),
        ("gateway_ports", "gateway_port"),
        ("gateway_team", None),
        ("rate_limiting_owner", None),
        ("gateway_port", None),
    ],
)
def test_only_what_is_nearly_a_variable_of_a_role_is_taken_for_a_slip(name: str, meant: str | None) -> None:
    expected = f"{name} is not a variable of this collection, and has no effect on it; {meant} is one."
    assert likely_slips([name], KNOWN) == ([expected] if meant else [])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("kube-system", "belongs to Kubernetes itself"),
        ("kube-public", "belongs to Kubernetes itself"),
        ("kube-node-lease", "belongs to Kubernetes itself"),
        ("LLM", "is no name of a namespace"),
        ("a.b", "is no name of a namespace"),
        ("a" * 64, "is no name of a namespace"),
        ("", "is no name of a namespace"),
        (7, "7 is no name of a namespace"),
        (["llm"], "is no name of a namespace"),
        ("llm", None),
        ("openshift-ingress", None),
        ("kubeflow", None),
    ],
)
def test_namespaces_of_kubernetes_are_refused(name: t.Any, problem: str | None) -> None:
    problems = Problems()
    check_namespace(name, problems)
    assert bool(problems.messages) is (problem is not None)
    assert problem is None or problem in problems.messages[0]
