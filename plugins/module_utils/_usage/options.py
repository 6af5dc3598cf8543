# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The options of every module that measures usage; their documentation is in doc_fragments/_usage.py."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import failing_to
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import check_namespaces, parse_question, read_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import REPLICA_LABELS

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage

# Where the counters are, for every module that reads them.
SOURCE_SPEC: dict[str, t.Any] = {
    "prometheus_url": {"type": "str", "required": True},
    "prometheus_token": {"type": "str", "no_log": True},
    "prometheus_ca_cert": {"type": "path"},
    "prometheus_validate_certs": {"type": "bool", "default": True},
    "prometheus_timeout": {"type": "int", "default": 60},
    "limitador_namespace": {"type": "list", "elements": "str", "default": []},
    "match_labels": {"type": "dict", "default": {}},
    "model_server_labels": {"type": "dict", "default": {}},
    "observer_labels": {"type": "list", "elements": "str", "default": list(REPLICA_LABELS)},
    "family": {"type": "str", "choices": ["auto", "upstream", "user_and_group"], "default": "auto"},
}
# And which period to measure.
ARGUMENT_SPEC: dict[str, t.Any] = {
    **SOURCE_SPEC,
    "start": {"type": "str"},
    "end": {"type": "str"},
    "period": {"type": "str"},
    "wait_for_scrape": {"type": "int", "default": 0},
}
MUTUALLY_EXCLUSIVE = [("start", "period")]
REQUIRED_ONE_OF = [("start", "period")]


def connect_prometheus(module: AnsibleModule) -> Prometheus:
    """A client for the Prometheus that the module's options name."""
    params = module.params
    return Prometheus(
        params["prometheus_url"],
        token=params["prometheus_token"],
        ca_cert=params["prometheus_ca_cert"],
        validate_certs=params["prometheus_validate_certs"],
        timeout=params["prometheus_timeout"],
    )


def pass_on_warnings(module: AnsibleModule, prometheus: Prometheus) -> None:
    """What Prometheus warned about becomes warnings of the module."""
    for warning in prometheus.warnings:
        module.warn(f"Prometheus at {prometheus.url}: {warning}")


def measure_usage(module: AnsibleModule) -> Usage:
    """The usage that the module's options ask for."""
    prometheus = connect_prometheus(module)
    with failing_to("measure usage"):
        question = parse_question(module.params, prometheus.now_ms())
        usage = read_usage(prometheus, question)
        check_namespaces(prometheus, question, usage)
    pass_on_warnings(module, prometheus)
    return usage
