# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bills of teams: they add up to the whole, say nothing of one another, and carry attributes everywhere."""

from __future__ import annotations

import csv
import json
import pathlib
import sys
import typing as t
from decimal import Decimal

import pytest
from sample_report import DAY, PEOPLE, START, options, report, usage

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import to_csv
from ansible_collections.kuadrant.llm.plugins.module_utils._report.focus import to_focus
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_statement
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.part import Part
from ansible_collections.kuadrant.llm.plugins.module_utils._report.pdf import require_pdf, write_pdf
from ansible_collections.kuadrant.llm.plugins.module_utils._report.split import write_parts
from ansible_collections.kuadrant.llm.plugins.module_utils._report.statement import Statement

ATTRIBUTES = {
    "groups": {"research": {"cost_center": "4711", "project": "=apollo"}, "support": {"cost_center": "4712"}},
    "users": {"chen": {"cost_center": "4712"}},
}
INVOICE = {
    "number": "N-9",
    "issuer": {"name": "Example Ltd", "address": "1 High Street\nLondon", "tax_id": "GB 0"},
    "recipients": {"4711": {"name": "Research & Co", "address": ["2 Low Street"]}},
    "taxes": [{"name": "VAT", "percent": "19"}],
}
ADJUSTMENTS = [
    {"name": "half", "kind": "discount", "percent": "33.3", "reason": "Agreement"},
    {"name": "sorry", "kind": "credit", "amount": "3", "on": "2026-11-02", "reason": "Outage", "attributes": {"cost_center": "4711"}},
    {"name": "everybody", "kind": "credit", "amount": "1", "on": "2026-11-02", "reason": "New year"},
]
PEOPLE_AND_NOBODY = (*PEOPLE, (None, None, None))


class Writer:
    check_mode = False

    def __init__(self, folder: pathlib.Path) -> None:
        self.tmpdir = str(folder)

    def atomic_move(self, source: str, target: str) -> None:
        pathlib.Path(source).rename(target)


def statement(days: int = 3, **more: t.Any) -> Statement:
    source = Source(START, START + days * DAY, "measure usage", lambda since, until: usage(since, until, PEOPLE_AND_NOBODY))
    given = {"attributes": ATTRIBUTES, "adjustments": ADJUSTMENTS, "invoice": INVOICE, **more}
    return make_statement(source, options(**given), "day")


def write(one: Statement, by: str, folder: pathlib.Path) -> tuple[list[dict[str, t.Any]], list[dict[str, str]]]:
    writers: dict[str, t.Callable[[t.Mapping[str, t.Any]], str]] = {".csv": to_csv, ".html": lambda found: to_html(found, "ACME")}
    return write_parts(t.cast("t.Any", Writer(folder)), one, by, str(folder), writers, pdf=None, provider="ACME", locale=None)


def records(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("by", ["user", "group", "tier", "cost_center", "project"])
def test_parts_add_up_to_the_whole(by: str, tmp_path: pathlib.Path) -> None:
    one = statement()
    rows, _diffs = write(one, by, tmp_path)
    whole = one.report()
    assert rows[-1]["name"] is None, "what belongs to nobody is a part"
    files = [records(tmp_path / next(name for name in row["files"] if name.endswith(".csv"))) for row in rows]
    lines = [line for part in files for line in part if line["meter"] not in ("tax", "rounding")]
    assert len(lines) == len(whole["lines"])
    assert sum(Decimal(line["cost"]) for line in lines) == Decimal(whole["payable"]["net"])
    for row, part in zip(rows, files, strict=True):
        assert sum(Decimal(line["cost"]) for line in part) == Decimal(row["amount"]), "each file adds up to what is to be paid"
    *_parts, last = records(tmp_path / "index.csv")
    assert Decimal(last["total"]) == Decimal(whole["payable"]["total"])
    assert Decimal(last["amount"]) == sum(Decimal(row["amount"]) for row in rows)
    assert Decimal(last["total"]) + Decimal(last["rounding"]) == Decimal(last["amount"])


def test_a_part_shows_nothing_of_others(tmp_path: pathlib.Path) -> None:
    prices = {
        "currency": "EUR",
        "entries": [
            {"name": "list", "price": {"request": "0.0005", "prompt_per_1k": "0.15", "completion_per_1k": "0.60"}},
            {"name": "secret deal", "group": "support", "price": {"request": "0.0001"}},
        ],
    }
    budgets = [{"group": "support", "amount": "777"}, {"tier": "enterprise", "amount": "888"}, {"user": "chen", "amount": "999"}]
    write(statement(price_book=prices, budgets=budgets), "group", tmp_path)
    page = (tmp_path / "research.html").read_text()
    others = [user for user, group, _tier in PEOPLE if group != "research"]
    assert not [name for name in (*others, "secret deal", "777", "support") if name in page]
    assert "888" in page
    assert "999" in page
    assert "secret deal" in (tmp_path / "support.html").read_text()


def test_budgets_of_several_parts_are_in_none() -> None:
    one = statement(budgets=[{"tier": "enterprise", "amount": "888"}])
    assert {part.name: len(found.budgets) for part, found in one.split("user") if found.budgets} == {}
    assert [part.name for part, found in one.split("tier") if found.budgets] == ["enterprise"]


def test_a_bill_of_one_team_is_that_of_the_split() -> None:
    both = {part.name: found.report() for part, found in statement().split("cost_center")}
    alone = statement(only={"cost_center": "4711"}).report()
    assert alone["lines"] == both["4711"]["lines"]
    assert alone["payable"] == both["4711"]["payable"]
    assert alone["timeline"] == both["4711"]["timeline"]
    assert alone["part"] == {"of": [{"by": "cost_center", "value": "4711"}], "title": "cost_center 4711"}
    assert {line["user"] for line in alone["lines"]} == {"amara", "bjorn", "daria", "eduardo", None}


def test_timelines_of_parts_add_up() -> None:
    one = statement()
    parts = [found.report()["timeline"] for _part, found in one.split("cost_center")]
    for number, bucket in enumerate(one.report()["timeline"]):
        assert sum(part[number]["prompt"] for part in parts) == bucket["prompt"] > 0


def test_the_same_bill_again_changes_nothing_and_check_mode_writes_nothing(tmp_path: pathlib.Path) -> None:
    _rows, first = write(statement(), "group", tmp_path)
    assert len(first) == 4 * 2 + 2
    assert max(len(diff["after"]) for diff in first) < 100, "the content of hundreds of files is no diff"
    _rows, second = write(statement(), "group", tmp_path)
    assert second == []


def test_names_of_files_are_safe_and_different() -> None:
    names = ["a", "A", "../../etc/passwd", "", "index", "x" * 300, "\u00e4", "a/b", "a\nb", "_without-group", ".hidden", "con:"]
    slugs = [Part((("group", name),)).slug for name in names]
    assert len({slug.lower() for slug in slugs}) == len(names)
    assert not [slug for slug in slugs if "/" in slug or slug.startswith(".") or len(slug) > 80]
    assert Part((("group", None),)).slug not in slugs
    assert Part((("group", "research-1.x"),)).slug == "research-1.x"
    assert Part((("group", "index"),)).slug != "index"


def test_an_invoice_says_who_and_what(tmp_path: pathlib.Path) -> None:
    write(statement(), "cost_center", tmp_path)
    page = (tmp_path / "4711.html").read_text()
    for text in ("Invoice N-9-4711", "Example Ltd", "Research &amp; Co", "2 Low Street", "GB 0", "VAT 19 %", "Rounding", "To pay"):
        assert text in page, text
    assert "Invoice N-9-without-cost_center" in (tmp_path / "_without-cost_center.html").read_text()
    index = records(tmp_path / "index.csv")
    assert [row["invoice"] for row in index[:2]] == ["N-9-4711", "N-9-4712"]


def test_attributes_are_in_every_export() -> None:
    found = statement().report()
    line = next(line for line in found["lines"] if line["user"] == "amara")
    assert line["attributes"] == {"cost_center": "4711", "project": "=apollo"}
    row = next(row for row in csv.DictReader(to_csv(found).splitlines(keepends=True)) if row["user"] == "amara")
    assert (row["cost_center"], row["project"]) == ("4711", "'=apollo")
    focus = next(row for row in csv.DictReader(to_focus(found, "a", "b").splitlines(keepends=True)) if row["x_User"] == "amara")
    assert json.loads(focus["Tags"]) == {
        "kuadrant.llm/user": "amara",
        "kuadrant.llm/group": "research",
        "kuadrant.llm/tier": "enterprise",
        "cost_center": "4711",
        "project": "=apollo",
    }
    assert "cost_center 4711, project =apollo" in to_html(found, "a")


def test_focus_rows_of_an_invoice_add_up_to_what_is_to_be_paid() -> None:
    found = statement().report()
    rows = list(csv.DictReader(to_focus(found, "a", "b").splitlines(keepends=True)))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(found["payable"]["amount"])
    assert {row["InvoiceId"] for row in rows} == {"N-9"}
    assert {row["InvoiceIssuerName"] for row in rows} == {"b"} == {row["ProviderName"] for row in rows}
    assert {row["ChargeCategory"] for row in rows} == {"Usage", "Credit", "Tax", "Adjustment"}
    # Without an invoice nothing is added to what was used.
    plain = report(end=START + DAY)
    assert {row["ChargeCategory"] for row in csv.DictReader(to_focus(plain, "a", "b").splitlines(keepends=True))} == {"Usage"}


def test_numbers_are_written_as_in_the_locale() -> None:
    pytest.importorskip("babel")
    found = statement().report()
    amount = found["payable"]["amount"]
    whole, cents = f"{Decimal(amount):,.2f}".split(".")
    assert f">{whole.replace(',', '.')},{cents} EUR<" in to_html(found, "a", "de_DE")
    assert f">{whole}.{cents} EUR<" in to_html(found, "a")
    with pytest.raises(GatewayError, match=r"locale: 'xx_YY' is not a locale such as de_DE or en_US"):
        to_html(found, "a", "xx_YY")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"split_by": "team"}, r"split_by: 'team' is none of user, group and tier, and not the attributes cost_center, project"),
        ({"only": {"team": "x"}}, r"only\.team: 'team' is none of"),
        ({"only": {"cost_center": 4711}}, r"only\.cost_center: must be text that is not empty, not int"),
    ],
)
def test_what_does_not_exist_is_refused(more: dict[str, t.Any], message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        statement(**more)


def test_a_pdf_is_of_the_page_and_is_not_made_again(tmp_path: pathlib.Path) -> None:
    try:
        require_pdf()
    except GatewayError as exc:  # Pango is the system's, and nothing here installs it
        pytest.skip(exc.message)
    page, path = to_html(statement(only={"user": "amara"}).report(), "ACME"), tmp_path / "bill.pdf"
    writer = t.cast("t.Any", Writer(tmp_path))
    assert write_pdf(writer, str(path), page) is not None
    made = path.read_bytes()
    assert made.startswith(b"%PDF-")
    assert write_pdf(writer, str(path), page) is None
    assert write_pdf(writer, str(path), page.replace("ACME", "EMCA")) is not None
    assert path.read_bytes() != made


def test_a_missing_library_for_pdf_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(GatewayError, match=r"PDF: Failed to import the required Python library \(weasyprint\)"):
        write_pdf(t.cast("t.Any", Writer(tmp_path)), str(tmp_path / "bill.pdf"), "<p>")
