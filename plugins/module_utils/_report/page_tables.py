# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The tables of the page. A cost leads to its charges, a charge to its price, and a bound to the note that says why."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import FEE
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import Child, ReportPart, h, table
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_invoice import KINDS
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers, day, moment, or_else
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import named

# More rows than these are of no use on a page; what is left out is summed up, and is in the other files.
_ROWS = 2_000
_METERS = {
    meters.REQUESTS: "requests",
    meters.LIMITED_REQUESTS: "limited requests",
    meters.UNMETERED_REQUESTS: "requests without usage",
    meters.PROMPT_TOKENS: "prompt tokens",
    meters.COMPLETION_TOKENS: "completion tokens",
    meters.CACHED_TOKENS: "cached tokens",
    meters.UNSPLIT_TOKENS: "unsplit tokens",
    FEE: "monthly fee",
    **KINDS,
}
_FIGURES = (
    ("authorized", "Requests"),
    ("limited", "Limited"),
    ("prompt", "Prompt tokens"),
    ("cached", "of which cached"),
    ("completion", "Completion tokens"),
    ("unsplit", "Unsplit tokens"),
    ("unmetered", "Without usage"),
)

_QUALITY_LEAD = (
    "What is proved is in the figures; what is not is in their upper bounds. Nothing is estimated. A figure that is marked as assumed is "
    "an upper one where none is proved: it takes counters to have been no faster, in the times that no scrape saw, than at their fastest."
)


class Tables:
    """The sections of one report; ``total`` is its sum over all users."""

    def __init__(self, report: ReportPart, numbers: Numbers) -> None:
        self.report = report
        self.numbers = numbers
        self.currency = report["currency"]
        notes = {note for line in report["lines"] for note in line["notes"]} | set(report["data_quality"]["notes"])
        self.notes = {note: number for number, note in enumerate(sorted(notes), 1)}
        self.entries = {entry["name"]: number for number, entry in enumerate(report["price_book"]["entries"], 1)}
        self.total = report["totals"]["overall"]

    def summary(self) -> ET.Element:
        rows = self.report["summary"]
        first: dict[tuple[t.Any, ...], int] = {}
        for row_number, line in enumerate(self.report["lines"], 1):
            first.setdefault((line["user"], line["group"], line["tier"]), row_number)
        shown = [(name, title) for name, title in _FIGURES if self.total[name] or name in ("authorized", "limited")]
        any_bounds = any(row["cost_upper"] != row["cost"] for row in (*rows, self.total))
        heads = ["User", "Group", "Tier", *(title for _name, title in shown), f"Cost {self.currency}", *(["At most"] if any_bounds else [])]

        def figures(row: ReportPart, cost: Child) -> list[Child]:
            counts = [self.numbers.bounded(row[name], row[f"{name}_upper"], row[f"{name}_assumed"]) for name, _title in shown]
            upper = self.numbers.at_most(row["cost_upper"], row["cost_assumed"])
            return [*counts, cost, *([upper] if any_bounds else [])]

        body = []
        for row in rows[:_ROWS]:
            number = first.get((row["user"], row["group"], row["tier"]))
            owed = self.numbers.amount(row["cost"])
            cost: Child = owed if number is None or number > _ROWS else h("a", {"href": f"#c{number}", "title": "Why this number?"}, owed)
            tags = _more(row, ())
            who = h("span", {}, named(row), h("span", {"class": "more"}, tags)) if tags else named(row)
            body.append([who, or_else(row["group"], "\u2013"), or_else(row["tier"], "\u2013"), *figures(row, cost)])
        if len(rows) > _ROWS:
            rest = sum((Decimal(row["cost"]) for row in rows[_ROWS:]), Decimal(0))
            blanks: list[Child] = ["" for _name in shown]
            body.append([f"{len(rows) - _ROWS} more", "", "", *blanks, self.numbers.amount(str(rest)), *([""] if any_bounds else [])])
        foot = [["Total", "", "", *figures(self.total, h("strong", {}, self.numbers.amount(self.total["cost"])))]]
        return h(
            "section",
            {},
            h("h2", {}, "Who pays"),
            h("p", {"class": "lead"}, "Every cost leads to the charges that it is the sum of."),
            table(heads, body, text=3, foot=foot),
        )

    def charges(self) -> ET.Element:
        lines = self.report["lines"]
        any_upper = any(line["cost_upper"] != line["cost"] for line in lines[:_ROWS])
        any_included = any(line["included"] for line in lines[:_ROWS])
        heads = ["User", "Model", "What", "Quantity", *(["Included"] if any_included else []), f"Price {self.currency}"]
        heads += [f"Cost {self.currency}", *(["At most"] if any_upper else []), "Price entry", "From and until", "Notes"]
        body: list[list[Child]] = []
        for line in lines[:_ROWS]:
            price = (
                "not priced"
                if line["unit_price"] is None
                else self.numbers.amount(line["unit_price"]) + ("" if line["per"] == 1 else f" / {self.numbers.count(line['per'])}")
            )
            notes = h("span", {}, *self._footnotes(line["notes"])) if line["notes"] else None
            entry: Child = "\u2013"
            if line["meter"] in KINDS:
                entry, price = line["price_entry"], ""
            elif line["price_entry"] is not None:
                entry = h("a", {"href": f"#p{self.entries[line['price_entry']]}"}, line["price_entry"])
            upper = "" if line["cost_upper"] == line["cost"] else self.numbers.at_most(line["cost_upper"], line["cost_assumed"])
            of = _more(line, ("group", "tier"))
            who = h("span", {}, or_else(line["user"], "\u2013"), h("span", {"class": "more"}, of) if of else None)
            figures: list[Child] = [self.numbers.bounded(line["quantity"], line["quantity_upper"], line["quantity_assumed"])]
            figures += [self.numbers.count(line["included"]) if line["included"] else ""] if any_included else []
            figures += [price, self.numbers.amount(line["cost"]), *([upper] if any_upper else [])]
            span = h("span", {}, moment(line["start"]), h("span", {"class": "more"}, moment(line["end"])))
            model = "" if line["model"] is None else line["model"]
            body.append([who, model, _METERS[line["meter"]], *figures, entry, span, notes])
        lead = "Cost is what is not included of the quantity, times the price. Nothing is rounded here, but fees to the cent."
        if len(lines) > _ROWS:
            rest = sum((Decimal(line["cost"]) for line in lines[_ROWS:]), Decimal(0))
            more = self.numbers.count(len(lines) - _ROWS)
            lead += f" {more} more charges of together {self._money(str(rest))} are in the CSV and JSON files."
        charges = table(heads, body, text=3, numbers=3 + any_included + any_upper, ids="c")
        return h("section", {"id": "charges"}, h("h2", {}, "Why these numbers: charges"), h("p", {"class": "lead"}, lead), charges)

    def _footnotes(self, notes: t.Iterable[str]) -> t.Iterator[Child]:
        for number in sorted({self.notes[note] for note in notes}):
            yield h("a", {"href": f"#n{number}"}, f"[{number}]")
            yield " "

    def reconciliation(self) -> ET.Element:
        found = self.report["reconciliation"]
        rows = [*found["models"]]
        body: list[list[Child]] = [
            [
                or_else(row["model"], "(no model)"),
                *(self._part(row, of) for of in ("users", "unattributed", "served")),
                "yes" if row["exact"] else "no",
            ]
            for row in rows
        ]
        overall = found["overall"]
        foot: list[list[Child]] = [
            ["Total", *(self._part(overall, of) for of in ("users", "unattributed", "served")), "yes" if overall["exact"] else "no"]
        ]
        if overall["served"] is None:
            lead = "Unattributed tokens are unknown, for there are no token counters of a model server."
        else:
            lead = "Tokens of users and unattributed ones add up to what the model servers counted themselves."
        causes = h("ul", {}, *(h("li", {}, f"Unattributed: {cause}.") for cause in found["causes"])) if found["causes"] else None
        by_model = table(["Model", "Users", "Unattributed", "Model servers", "Exact"], body, text=1, foot=foot) if rows else None
        return h("section", {}, h("h2", {}, "Held against the model servers"), h("p", {"class": "lead"}, lead), by_model, causes)

    def _part(self, row: ReportPart, of: str) -> str:
        return "unknown" if row[of] is None else self.numbers.count(row[of]["total"])

    def budgets(self) -> ET.Element:
        body: list[list[Child]] = []
        for budget in self.report["budgets"]:
            of = next(name for name in ("user", "group", "tier") if name in budget)
            percent = min(Decimal(100), Decimal(budget["spent_percent"]))
            state = "over" if 100 in budget["reached"] else "near" if budget["reached"] else "fine"
            meter = h("progress", {"class": state, "max": "100", "value": f"{percent:f}"}, f"{budget['spent_percent']} %")
            reached = ", ".join(f"{one} %" for one in budget["reached"]) or "\u2013"
            spent = self.numbers.from_to(budget["spent"], budget["spent_upper"], budget["spent_assumed"])
            forecast = self.numbers.from_to(budget["forecast"], budget["forecast_upper"])
            body.append(
                [
                    f"{of} {budget[of]}",
                    meter,
                    f"{budget['spent_percent']} %",
                    spent,
                    self.numbers.amount(budget["amount"]),
                    reached,
                    forecast,
                ]
            )
        one = self.report["budgets"][0]
        lead = (
            f"Spent from {day(one['month_start'])} until {one['until']}. The forecast for {day(one['month_end'])} takes the rest of the "
            "month to be like what was seen of it."
        )
        heads = ["Budget of", "", "Spent", f"Spent {self.currency}", f"Amount {self.currency}", "Reached", "Forecast"]
        return h("section", {}, h("h2", {}, "Budgets"), h("p", {"class": "lead"}, lead), table(heads, body, text=2))

    def what_if(self) -> ET.Element:
        found = self.report["what_if"]
        ordered = sorted(found["lines"], key=lambda row: -abs(Decimal(row["difference"])))
        body: list[list[Child]] = [
            [or_else(row["user"], "(all)"), or_else(row["group"], "\u2013"), or_else(row["tier"], "\u2013"), *self._changes(row)]
            for row in ordered[:_ROWS]
        ]
        foot: list[list[Child]] = [["Total", "", "", *self._changes(found["overall"])]]
        heads = ["User", "Group", "Tier", f"Cost {self.currency}", "Other prices", "Difference"]
        lead = "The same usage under another price book, largest difference first."
        return h("section", {}, h("h2", {}, "What if"), h("p", {"class": "lead"}, lead), table(heads, body, text=3, foot=foot))

    def price_book(self) -> ET.Element:
        body: list[list[Child]] = []
        for entry in self.report["price_book"]["entries"]:
            scope = ", ".join(f"{name} {entry[name]}" for name in ("user", "group", "tier", "model") if name in entry) or "everybody"
            what = [f"{price} {field.replace('_', ' ')}" for field, price in entry.get("price", {}).items()]
            for meter, steps in entry.get("volume", {}).items():
                what += [f"{step['price']} for {_METERS[meter]} above {self.numbers.count(step['above'])} a month" for step in steps]
            if FEE in entry:
                what.append(f"{entry[FEE]} a month per {entry['per']}")
            included = ", ".join(f"{self.numbers.count(units)} {_METERS[meter]}" for meter, units in entry.get("included", {}).items())
            included += f" a month per {entry['per']}" if included else "\u2013"
            body.append(
                [
                    entry["name"],
                    scope,
                    "; ".join(what),
                    included,
                    moment(entry.get("valid_from", "always")),
                    moment(entry.get("valid_until", "\u2013")),
                ]
            )
        heads = ["Entry", "For", f"Prices in {self.currency}", "Included", "From", "Until"]
        lead = "Of the entries that fit, the one that names the user applies, else the group, else the tier, else the model."
        prices = {field for entry in self.report["price_book"]["entries"] for field in entry.get("price", {})}
        if any(field.startswith(("prompt", "completion")) for field in prices):
            lead += " Tokens of which only the sum is known cost the price of unsplit ones, or else the higher of the other two."
        return h("section", {}, h("h2", {}, "Price book"), h("p", {"class": "lead"}, lead), table(heads, body, text=6, ids="p"))

    def quality(self) -> ET.Element:
        quality = self.report["data_quality"]
        unpriced = [
            f"{self.numbers.count(one['quantity'])} {_METERS[one['meter']]} are in no user's cost: {one['reason']}."
            for one in quality["unpriced"]
        ]
        body: list[list[Child]] = [
            [
                scrape["instance"],
                scrape["job"],
                self.numbers.count(scrape["scrapes"]),
                "unknown" if scrape["interval_seconds"] is None else f"{scrape['interval_seconds']:g} s",
                self.numbers.count(len(scrape["gaps"])),
                self.numbers.count(len(scrape["restarts"])),
                moment(or_else(scrape["first"], "\u2013")),
                moment(or_else(scrape["last"], "\u2013")),
            ]
            for scrape in self.report["scrapes"]
        ]
        heads = ["Limiter", "Job", "Scrapes", "Interval", "Gaps", "Restarts", "First scrape", "Last scrape"]
        return h(
            "section",
            {"id": "quality"},
            h("h2", {}, "Data quality"),
            h("p", {"class": "lead"}, _QUALITY_LEAD),
            h("ul", {"class": "plain"}, *(h("li", {}, text) for text in unpriced)) if unpriced else None,
            h("ol", {"class": "notes"}, *(h("li", {"id": f"n{number}"}, note) for note, number in self.notes.items()))
            if self.notes
            else None,
            table(heads, body, text=2) if body else None,
            *self._closes(),
        )

    def _closes(self) -> t.Iterator[ET.Element]:
        """What of the ledger the figures are the sum of: a charge comes from the closes between its two times."""
        closes = self.report["closes"]
        if not closes:
            return
        yield h("h3", {}, "From the ledger")
        lead = "A charge is the sum of the lines of these files between its two times. The hash is that of a file's first line."
        yield h("p", {"class": "lead"}, lead)
        body: list[list[Child]] = [
            [
                one["file"],
                moment(one["start"]),
                moment(one["end"]),
                "correction" if one["correction"] else "close",
                h("code", {}, one["sha256"]),
            ]
            for one in closes
        ]
        yield table(["File", "From", "Until", "Kind", "SHA-256"], body, text=5)

    def _money(self, text: str) -> str:
        return f"{self.numbers.amount(text)} {self.currency}"

    def _changes(self, row: ReportPart) -> list[Child]:
        shown = [self.numbers.amount(row[name]) for name in ("cost", "what_if", "difference")]
        return [*shown[:2], ("+" if Decimal(row["difference"]) > 0 else "") + shown[2]]


def _more(row: ReportPart, names: t.Sequence[str]) -> str:
    """What else is known of whom a row is about: what they belong to, and their attributes."""
    known = {**{name: row[name] for name in names}, **row["attributes"]}
    return ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
