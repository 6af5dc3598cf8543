# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credits, discounts, minimums, taxes and the one rounding: exact, and additive over days and over parts."""

from __future__ import annotations

import typing as t
from decimal import ROUND_HALF_UP, Decimal

import pytest
from sample_report import DAY, END, PEOPLE, START, report

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import parse_adjustments
from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import CURRENCIES, minor_unit
from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import parse_invoice
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.payable import rounded

CREDIT = {"name": "outage", "kind": "credit", "amount": "25.00", "on": "2026-11-03", "reason": "Outage of 3 November"}
DISCOUNT = {"name": "partner", "kind": "discount", "percent": "12.5", "group": "research", "reason": "Partner agreement"}
MINIMUM = {"name": "commitment", "kind": "minimum", "group": "trial", "amount": "40000"}
ISSUER = {"number": "7", "issuer": {"name": "Example Ltd"}}


def lines(found: dict[str, t.Any], kind: str) -> list[dict[str, t.Any]]:
    return [line for line in found["lines"] if line["meter"] == kind]


def amounts(found: dict[str, t.Any], *names: str) -> list[Decimal]:
    return [Decimal(found["payable"][name]) for name in names]


def test_a_credit_is_a_negative_line_in_the_bill_of_its_day() -> None:
    day = report(start=START + 2 * DAY, end=START + 3 * DAY, adjustments=[CREDIT])
    (line,) = lines(day, "credit")
    assert (Decimal(line["cost"]), line["notes"], line["price_entry"]) == (-25, ["Outage of 3 November"], "outage")
    assert amounts(day, "adjustments") == [Decimal(-25)]
    charges, net = amounts(day, "charges", "net")
    assert net == charges - 25 == Decimal(day["totals"]["overall"]["cost"])
    for other in (1, 3):
        assert not lines(report(start=START + other * DAY, end=START + (other + 1) * DAY, adjustments=[CREDIT]), "credit")


def test_a_discount_is_a_share_of_what_its_users_pay() -> None:
    plain, found = report(), report(adjustments=[DISCOUNT])
    research = sum(Decimal(line["cost"]) for line in plain["lines"] if line["group"] == "research")
    assert sum(Decimal(line["cost"]) for line in lines(found, "discount")) == -research * Decimal("0.125")
    assert {(line["user"], line["group"]) for line in lines(found, "discount")} == {
        (user, group) for user, group, _tier in PEOPLE if group == "research"
    }


def test_a_discount_that_begins_within_the_period_is_of_what_comes_after() -> None:
    found = report(adjustments=[{**DISCOUNT, "valid_from": "2026-11-10"}])
    later = report(start=START + 9 * DAY)
    research = sum(Decimal(line["cost"]) for line in later["lines"] if line["group"] == "research")
    assert sum(Decimal(line["cost"]) for line in lines(found, "discount")) == -research * Decimal("0.125")
    assert Decimal(found["payable"]["charges"]) == Decimal(report()["payable"]["charges"])


def test_a_minimum_adds_what_is_missing_at_the_end_of_the_month() -> None:
    plain = report()
    trial = sum(Decimal(line["cost"]) for line in plain["lines"] if line["group"] == "trial")
    (line,) = lines(report(adjustments=[MINIMUM]), "minimum")
    assert Decimal(line["cost"]) == 40000 - trial > 0
    assert (line["group"], line["user"], line["start"], line["end"]) == ("trial", None, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert not lines(report(adjustments=[{**MINIMUM, "amount": "1"}]), "minimum")
    # The last day's bill has it, of the whole month; the other days have none.
    last = report(start=END - DAY, adjustments=[MINIMUM])
    assert [line["cost"].rstrip("0").rstrip(".") for line in lines(last, "minimum")] == [f"{40000 - trial:f}".rstrip("0").rstrip(".")]
    assert not lines(report(end=END - DAY, adjustments=[MINIMUM]), "minimum")


@pytest.mark.parametrize("currency", ["JPY", "EUR", "BHD"])
def test_days_add_up_to_the_month_before_the_one_rounding(currency: str) -> None:
    """By an oracle that only adds and rounds: in three currencies, with a price change, a fee, included units, credit, discount and tax."""
    entries = [
        {"name": "list", "price": {"request": "0.0007", "prompt_per_1k": "0.15", "completion_per_1k": "0.61", "cached_per_1k": "0.01"}},
        {"name": "later", "valid_from": "2026-11-16", "price": {"completion_per_1k": "0.53"}},
        {"name": "seat", "tier": "enterprise", "monthly_fee": "50.00"},
        {"name": "trial", "group": "trial", "price": {"request": "0.01"}, "included": {"requests": 900}, "per": "group"},
    ]
    more: dict[str, t.Any] = {
        "price_book": {"currency": currency, "entries": entries},
        "adjustments": [CREDIT, DISCOUNT, MINIMUM],
        "invoice": {**ISSUER, "taxes": [{"name": "VAT", "percent": "19"}, {"name": "Levy", "percent": "0.3"}]},
        "timeline": "none",
    }
    month = report(**more)
    days = [report(start=start, end=start + DAY, **more) for start in range(START, END, DAY)]
    assert sum(Decimal(day["payable"]["total"]) for day in days) == Decimal(month["payable"]["total"])
    net = sum(Decimal(line["cost"]) for day in days for line in day["lines"])
    total = net + net * Decimal("0.19") + net * Decimal("0.003")
    unit = {"JPY": Decimal(1), "EUR": Decimal("0.01"), "BHD": Decimal("0.001")}[currency]
    assert Decimal(month["payable"]["amount"]) == total.quantize(unit, ROUND_HALF_UP)
    assert month["payable"]["amount"] == month["payable"]["amount_upper"]
    exact, rounding, amount = amounts(month, "total", "rounding", "amount")
    assert exact + rounding == amount
    assert abs(rounding) <= unit / 2


@pytest.mark.parametrize(
    ("amount", "currency", "wanted"),
    [
        ("0.005", "USD", "0.01"),
        ("0.0049", "USD", "0.00"),
        ("-0.005", "USD", "-0.01"),
        ("-0.001", "USD", "0.00"),
        ("1234.5", "JPY", "1235"),
        ("1.0005", "BHD", "1.001"),
        ("1.00005", "CLF", "1.0001"),
        ("12345678901234567890.125", "EUR", "12345678901234567890.13"),
    ],
)
def test_amounts_are_rounded_to_the_minor_unit(amount: str, currency: str, wanted: str) -> None:
    assert f"{rounded(Decimal(amount), currency):f}" == wanted


def test_minor_units_are_those_of_the_standard() -> None:
    """CLDR, which libraries have, gives the decimals of prices in shops; where it differs, it has fewer."""
    numbers = pytest.importorskip("babel.numbers")
    other = {currency for currency in CURRENCIES if numbers.get_currency_precision(currency) != minor_unit(currency)}
    assert other <= {"AFN", "ALL", "IQD", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SLL", "SOS", "SYP", "YER"}
    assert all(numbers.get_currency_precision(currency) == 0 for currency in other)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "credit"}, "name: is required"),
        ({"name": "a"}, "kind: is required"),
        ({"name": "a", "kind": "gift"}, "kind: 'gift' is not one of credit, discount, minimum"),
        ({**CREDIT, "amount": "-5"}, "amount: '-5' must be a decimal number that is not negative"),
        ({**CREDIT, "amount": "0"}, "amount: must be more than 0"),
        ({**CREDIT, "amount": "1_0"}, "amount: '1_0' is not a decimal number"),
        ({**CREDIT, "on": "3 November"}, "on: '3 November' is neither a date"),
        ({name: value for name, value in CREDIT.items() if name != "on"}, "on: is required for a credit"),
        ({name: value for name, value in CREDIT.items() if name != "reason"}, "reason: is required for a credit"),
        ({**CREDIT, "percent": "5"}, "percent: a credit has none"),
        ({**CREDIT, "tier": "gold"}, "tier: 'gold' is not one of the tiers free"),
        ({**CREDIT, "attributes": {"project": "x"}}, "attributes.project: no user, group or tier has this attribute"),
        ({**DISCOUNT, "percent": "101"}, "percent: '101' is more than 100"),
        ({**DISCOUNT, "percent": 0.1}, "percent: 0.1 is a binary fraction"),
        ({**DISCOUNT, "amount": "5"}, "amount: a discount has none"),
        ({**DISCOUNT, "valid_from": "2026-11-02", "valid_until": "2026-11-01"}, "valid_until: 2026-11-01T00:00:00Z is not after"),
        ({**MINIMUM, "on": "2026-11-03"}, "on: a minimum has none"),
        ({**MINIMUM, "until": "2026-11-03"}, "until: is not a known field"),
    ],
)
def test_bad_adjustments_are_named(entry: dict[str, t.Any], message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_adjustments([entry], ("free",))
    assert any(problem.partition("]")[2].partition(": ")[2].startswith(message) for problem in caught.value.details["problems"])


def test_two_adjustments_of_one_name_are_refused() -> None:
    with pytest.raises(GatewayError, match=r"llm_gateway_adjustments\[1\] \(outage\): name: another entry has this name"):
        parse_adjustments([CREDIT, CREDIT])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "must be a dictionary"),
        ({"issuer": {"name": "a"}}, "number: is required"),
        ({"number": "1"}, "issuer: is required"),
        ({"number": "1", "issuer": {"address": "x"}}, "issuer.name: is required"),
        ({"number": "1", "issuer": {"name": "a", "address": 5}}, "issuer.address: must be text, or a list"),
        ({**ISSUER, "issued_on": "1.12.2026"}, "issued_on: '1.12.2026' is not a date"),
        ({**ISSUER, "issued_on": "2026-02-30"}, "issued_on: '2026-02-30' is not a date"),
        ({**ISSUER, "issued_on": "2026-12-02", "due_on": "2026-12-01"}, "due_on: 2026-12-01 is before issued_on"),
        ({**ISSUER, "taxes": [{"name": "VAT"}]}, "taxes[0].percent: is required"),
        ({**ISSUER, "taxes": [{"name": "VAT", "percent": "-1"}]}, "taxes[0].percent: '-1' must be"),
        ({**ISSUER, "taxes": [{"name": "VAT", "percent": "1"}, {"name": "VAT", "percent": "2"}]}, "taxes[1].name: 'VAT' is there already"),
        ({**ISSUER, "recipients": {"a": None}}, "recipients.a: is required"),
        ({**ISSUER, "vat": "1"}, "vat: is not a known field"),
    ],
)
def test_bad_invoices_are_named(raw: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_invoice(raw)
    assert caught.value.message.startswith(f"invoice: {message}")
