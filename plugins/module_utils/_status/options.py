# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The settings of the page, with the names, types and defaults of the modules whose functions it uses."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import TRUST_SPEC
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import ARGUMENT_SPEC as USAGE_SPEC

#: Of modules api_key_info, tier_info, gateway_doctor, chargeback and usage_ledger_info. What is not given is not shown.
SPEC: dict[str, t.Any] = argument_spec(
    **USAGE_SPEC,
    **TRUST_SPEC,
    title={"type": "str", "default": "LLM gateway"},
    namespace={"type": "str", "default": "llm"},
    gateway={"type": "str", "default": "vllm-gateway"},
    kuadrant_namespace={"type": "str", "default": "kuadrant-system"},
    key_labels={"type": "dict", "default": {"app": "llm-gateway"}, "no_log": False},
    key_prefix={"type": "str", "default": "APIKEY", "no_log": False},
    kubectl={"type": "str", "default": "kubectl"},
    gateway_url={"type": "str", "required": True},
    ca_path={"type": "path"},
    hostname={"type": "str"},
    limitador_url={"type": "str"},
    ledger_dir={"type": "path"},
    tiers={"type": "list", "elements": "dict", "default": []},
    currency={"type": "str", "default": "USD"},
    price_book={"type": "dict"},
    budgets={"type": "list", "elements": "dict", "default": []},
    adjustments={"type": "list", "elements": "dict", "default": []},
    base_models={"type": "dict", "default": {}},
) | {"prometheus_url": {"type": "str"}}
_OF_A_BILL = ("what_if_price_book", "attributes", "keys", "invoice", "only", "split_by", "require_prices")


class Asker:
    """Stands where functions of modules expect their module: it has options, and it only reads."""

    check_mode = True

    def __init__(self, params: dict[str, t.Any]) -> None:
        self.params = params
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, msg: str, **details: t.Any) -> t.NoReturn:
        raise GatewayError(msg, **{name: value for name, value in details.items() if name != "exception"})


def parse_settings(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """All settings, checked. Raises GatewayError naming what is wrong."""
    result = ArgumentSpecValidator(SPEC).validate({"period": "24h", **given})
    if result.error_messages:
        raise GatewayError(f"The settings of the status page: {'; '.join(result.error_messages)}")
    settings: dict[str, t.Any] = {**dict.fromkeys(_OF_A_BILL), **result.validated_parameters}
    return {**settings, "keys": [], "require_prices": False}
