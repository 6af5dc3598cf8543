# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""FOCUS, the FinOps Open Cost and Usage Specification 1.2 (https://focus.finops.org), dataset Cost and Usage: one row per priced charge.

- The tenant (group) is the sub account, the model the resource. User, group and tier are tags too, and columns of our own (``x_``).
- A price is that of one unit, so that quantity times unit price is the cost, exactly. What is included was consumed, and is not priced.
- The figures are those that the samples prove; ``x_BilledCostUpper`` is the upper bound, null if there is none, and ``x_BilledCostAssumed``
  the one under an assumption.
- List, contracted, effective and billed cost are the same: a discount is a row of its own, of the category Credit as credits are.
- What is missing to a minimum is an Adjustment. An invoice also has its taxes, and its rounding as an Adjustment, so that its rows add up
  to what is to be paid.
- Attributes of users, groups and tiers are tags under their own names.
- A fee is the usage of one pro-rata month, for a purchase would be one of future usage.
- What FOCUS limits to ASCII is escaped; the columns of our own have the text as it is. Every decimal has a point, also a whole number.
"""

from __future__ import annotations

import json
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import ADJUSTMENTS, CORRECTION, CREDIT, DISCOUNT
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import FEE
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price, plain
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_of
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import EXACT
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import csv_text, harmless
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_time

_TAG = "kuadrant.llm/"
_NAMES = {
    meters.REQUESTS: "Requests",
    meters.LIMITED_REQUESTS: "Refused requests",
    meters.UNMETERED_REQUESTS: "Unmetered requests",
    meters.PROMPT_TOKENS: "Prompt tokens",
    meters.COMPLETION_TOKENS: "Completion tokens",
    meters.CACHED_TOKENS: "Cached prompt tokens",
    meters.UNSPLIT_TOKENS: "Tokens",
    FEE: "Monthly fee",
}
_COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingCurrencyEffectiveCost")
_UNIT_PRICES = ("ContractedUnitPrice", "ListUnitPrice", "PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice")
# What a provider without regions, commitments, capacity reservations and a second currency has to and may give.
FOCUS_COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency"),
    *("BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *(
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "CommitmentDiscountStatus",
        "ConsumedQuantity",
        "ConsumedUnit",
        "ContractedCost",
        "ContractedUnitPrice",
    ),
    *("EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency"),
    *(
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "PricingQuantity",
        "PricingUnit",
    ),
    *("ProviderName", "PublisherName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName"),
    *(
        "ServiceSubcategory",
        "SkuId",
        "SkuMeter",
        "SkuPriceDetails",
        "SkuPriceId",
        "SubAccountId",
        "SubAccountName",
        "SubAccountType",
        "Tags",
    ),
    *("x_User", "x_Group", "x_Tier", "x_Model", "x_BilledCostUpper", "x_ConsumedQuantityUpper", "x_IncludedQuantity", "x_Notes"),
    *("x_BilledCostAssumed", "x_ConsumedQuantityAssumed"),
)


def to_focus(report: t.Mapping[str, t.Any], account: str, provider: str) -> str:
    """As CSV. Null is an empty field, never text.

    :param account: identifier and name of the billing account, which pays the whole bill.
    :param provider: who runs the gateway and issues the bill.
    """
    start, end = (parse_time(report[name], name) for name in ("start", "end"))
    invoice = report["invoice"]
    first, following = month_of(start)
    # A bill within a month is of that month; a longer one is its own period.
    period = (first, following) if end <= following else (start, end)
    common = {
        "BillingAccountId": _ascii(account),
        "BillingAccountName": _ascii(account),
        "BillingAccountType": "Billing account",
        "BillingCurrency": report["currency"],
        "BillingPeriodStart": _time(period[0]),
        "BillingPeriodEnd": _time(period[1]),
        **dict.fromkeys(("ChargeClass", "CommitmentDiscountStatus")),
        "InvoiceId": _ascii(f"{account}/{report['start']}/{report['end']}" if invoice is None else invoice["number"]),
        # An issuer of another name than the provider's would be a third party, to which nothing may be billed here.
        **dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName"), _ascii(provider)),
        "PricingCategory": "Standard",
        "PricingCurrency": report["currency"],
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
        "ServiceName": "LLM inference",
    }
    priced = (line for line in report["lines"] if line["price_entry"] is not None)
    rows = (_adjusted(line, common, (start, end)) if line["meter"] in ADJUSTMENTS else _row(line, common) for line in priced)
    return csv_text(FOCUS_COLUMNS, (*rows, *_ends(report, common, (start, end))))


def _adjusted(line: t.Mapping[str, t.Any], common: t.Mapping[str, t.Any], period: tuple[int, int]) -> dict[str, t.Any]:
    """A credit, a discount or what is missing to a minimum: nothing was consumed, and nothing has a price."""
    times = tuple(parse_time(line[name], name) for name in ("start", "end"))
    category = "Credit" if line["meter"] in (CREDIT, DISCOUNT) else "Adjustment"
    named = f"{line['meter'].capitalize()} {line['price_entry']}"
    row = _without_price(common, category, named, Decimal(line["cost"]), times if times[0] < times[1] else period)
    upper = None if line["cost_upper"] is None else _decimal(Decimal(line["cost_upper"]))
    bounds = {"x_BilledCostUpper": upper, "x_BilledCostAssumed": _assumed_cost(line)}
    row["ChargeClass"] = "Correction" if line["meter"] == CORRECTION else None
    return {**row, **_whose(line), **bounds, "x_Notes": harmless("; ".join(line["notes"])) or None}


def _ends(report: t.Mapping[str, t.Any], common: t.Mapping[str, t.Any], period: tuple[int, int]) -> t.Iterator[dict[str, t.Any]]:
    """Taxes and rounding of an invoice."""
    if report["invoice"] is None:
        return
    owed = report["payable"]
    for tax in owed["taxes"]:
        named = f"{tax['name']} {tax['percent']} %"
        row = _without_price(common, "Tax", named, Decimal(tax["amount"]), period)
        yield {**row, "x_Notes": harmless(tax["note"]) or None}
    if Decimal(owed["rounding"]):
        yield _without_price(common, "Adjustment", "Rounding of the total", Decimal(owed["rounding"]), period)


def _without_price(
    common: t.Mapping[str, t.Any], category: str, description: str, cost: Decimal, period: tuple[int, ...]
) -> dict[str, t.Any]:
    return {
        **dict.fromkeys(FOCUS_COLUMNS),
        **common,
        **dict.fromkeys(_COSTS, _decimal(cost)),
        "ChargeCategory": category,
        "ChargeDescription": _ascii(description),
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": _time(period[0]),
        "ChargePeriodEnd": _time(period[1]),
        "PricingCategory": None,
        "Tags": "{}",
        "x_BilledCostUpper": _decimal(cost),
        "x_BilledCostAssumed": _decimal(cost),
    }


def _whose(line: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Sub account, tags and our own columns: whom a row is about."""
    group = _ascii(line["group"])
    tags = {f"{_TAG}{name}": line[name] for name in ("user", "group", "tier") if line[name] is not None}
    return {
        "SubAccountId": group,
        "SubAccountName": group,
        "SubAccountType": None if group is None else "Group",
        "Tags": json.dumps({**tags, **line["attributes"]}),
        **{f"x_{name.capitalize()}": harmless(line[name]) or None for name in ("user", "group", "tier", "model")},
    }


def _row(line: t.Mapping[str, t.Any], common: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    meter, fee = line["meter"], line["meter"] == FEE
    unit = Price(Decimal(line["unit_price"]), line["per"]).unit
    cost = _decimal(EXACT.multiply(unit, line["billable"]))
    # A fee is bounded by its time, not by a quantity.
    most = line["cost_upper"] if fee else None if line["billable_upper"] is None else EXACT.multiply(unit, line["billable_upper"])
    upper = None if most is None else _decimal(Decimal(most))
    units = "Months" if fee else "Tokens" if meter in meters.TOKENS else "Requests"
    who = " and ".join(f"{name} {line[name]}" for name in ("user", "model") if line[name] is not None) or f"tier {line['tier']}"
    model = _ascii(line["model"])
    return {
        **common,
        **dict.fromkeys(_COSTS, cost),
        **dict.fromkeys(_UNIT_PRICES, _decimal(unit)),
        "ChargeCategory": "Usage",
        "ChargeDescription": _ascii(f"{_NAMES[meter]} of {who}"),
        "ChargeFrequency": "Recurring" if fee else "Usage-Based",
        "ChargePeriodStart": _time(parse_time(line["start"], "start")),
        "ChargePeriodEnd": _time(parse_time(line["end"], "end")),
        "ConsumedQuantity": _decimal(line["quantity"]),
        "ConsumedUnit": units,
        "PricingQuantity": _decimal(line["billable"]),
        "PricingUnit": units,
        "ResourceId": model,
        "ResourceName": model,
        "ResourceType": None if model is None else "Large language model",
        "SkuId": f"llm-inference/{meter}",
        "SkuMeter": _NAMES[meter],
        "SkuPriceId": _ascii(f"{line['price_entry']}/{meter}"),
        "SkuPriceDetails": json.dumps({"x_PriceEntry": line["price_entry"], "x_UnitPrice": line["unit_price"], "x_Per": line["per"]}),
        **_whose(line),
        "x_BilledCostUpper": upper,
        "x_ConsumedQuantityUpper": None if line["quantity_upper"] is None else _decimal(line["quantity_upper"]),
        "x_IncludedQuantity": _decimal(line["included"]),
        "x_BilledCostAssumed": _assumed_cost(line),
        "x_ConsumedQuantityAssumed": None if line["quantity_assumed"] is None else _decimal(line["quantity_assumed"]),
        "x_Notes": harmless("; ".join(line["notes"])) or None,
    }


def _assumed_cost(line: t.Mapping[str, t.Any]) -> str | None:
    return None if line["cost_assumed"] is None else _decimal(Decimal(line["cost_assumed"]))


def _time(ms: int) -> str:
    """FOCUS has whole seconds."""
    return format_time(ms - ms % 1000)


def _decimal(number: Decimal | int) -> str:
    text = plain(Decimal(number))
    return text if "." in text else f"{text}.0"


def _ascii(text: str | None) -> str | None:
    r"""Printable ASCII: all else as ``\n``, ``\xe9``, ``\u20ac``."""
    if not text:
        return None
    return harmless("".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text))
