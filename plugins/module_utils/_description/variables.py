# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The variables by which users describe a gateway: names that are written wrongly, and namespaces that are not for it. Pure."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import Problems

PREFIX: t.Final = "llm_gateway_"

#: All variables of the collection as a whole: those that users set, and those that its playbooks publish to one another.
PUBLIC: t.Final = (
    "llm_gateway_adjustments",
    "llm_gateway_attributes",
    "llm_gateway_backend",
    "llm_gateway_base_models",
    "llm_gateway_budgets",
    "llm_gateway_ca_path",
    "llm_gateway_class",
    "llm_gateway_controllers",
    "llm_gateway_cors_origins",
    "llm_gateway_demo_tiers",
    "llm_gateway_deny_by_default",
    "llm_gateway_digests",
    "llm_gateway_exists",
    "llm_gateway_extra_paths",
    "llm_gateway_failure_mode",
    "llm_gateway_hostname",
    "llm_gateway_hosts",
    "llm_gateway_https_port",
    "llm_gateway_identities",
    "llm_gateway_identity_headers",
    "llm_gateway_key_labels",
    "llm_gateway_key_prefixes",
    "llm_gateway_keys",
    "llm_gateway_kuadrant_namespace",
    "llm_gateway_kubeconfig",
    "llm_gateway_kubectl",
    "llm_gateway_limitador_url",
    "llm_gateway_managed",
    "llm_gateway_mirror",
    "llm_gateway_model",
    "llm_gateway_monitor_labels",
    "llm_gateway_name",
    "llm_gateway_namespace",
    "llm_gateway_openai_errors",
    "llm_gateway_paths",
    "llm_gateway_platform",
    "llm_gateway_price_book",
    "llm_gateway_prometheus_namespace",
    "llm_gateway_prometheus_service",
    "llm_gateway_prometheus_url",
    "llm_gateway_render_dir",
    "llm_gateway_rollback",
    "llm_gateway_route_names",
    "llm_gateway_route_namespace",
    "llm_gateway_rule_labels",
    "llm_gateway_service",
    "llm_gateway_status_page_port",
    "llm_gateway_tiers",
    "llm_gateway_tls",
    "llm_gateway_url",
    "llm_gateway_usage",
    "llm_gateway_usage_labels",
    "llm_gateway_versions",
)

# A variable of a role that looks like a known one is a slip; one that looks like none may be the user's own.
_SLIP, _GUESS = 0.9, 0.6

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def check_variables(names: t.Iterable[str], problems: Problems) -> None:
    """Name every variable with the collection's prefix that it does not know, with the one that was probably meant."""
    for name in sorted(name for name in names if name.startswith(PREFIX) and name not in PUBLIC):
        meant = difflib.get_close_matches(name, PUBLIC, 1, _GUESS)
        problems.add(name, f"is not a variable of this collection{f'; {meant[0]} is' if meant else ''}. Correct its name, or remove it")


def likely_slips(names: t.Iterable[str], known: t.Collection[str]) -> list[str]:
    """Sentences about variables that are nearly called like a known one of a role, and so without effect."""
    found = []
    for name in sorted(set(names).difference(known)):
        meant = difflib.get_close_matches(name, known, 1, _SLIP)
        if meant:
            found.append(f"{name} is not a variable of this collection, and has no effect on it; {meant[0]} is one.")
    return found


def check_namespace(name: t.Any, problems: Problems, where: str = f"{PREFIX}namespace") -> None:
    """A namespace for gateway, policies and keys. Those that begin with kube- belong to Kubernetes, which clears them as it sees fit."""
    if not isinstance(name, str) or not _NAMESPACE.fullmatch(name):
        problems.add(where, f"{name!r} is no name of a namespace: lower-case letters, digits and '-', at most 63 characters")
    elif name.startswith("kube-"):
        problems.add(where, f"{name!r} belongs to Kubernetes itself; give the gateway a namespace of its own, such as llm")
