# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The report as one HTML page: no script, nothing from elsewhere, everything escaped, because it is built as a tree and never as text.

The same report gives the same bytes. Every cost leads to the charges that it is the sum of, every charge to its price, and every bound to
the note that says why.
"""

from __future__ import annotations

import decimal
import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import FEE
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import visible
from ansible_collections.kuadrant.llm.plugins.module_utils._report import plots
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_style import STYLE
from ansible_collections.kuadrant.llm.plugins.module_utils._report.plots import require_plots
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import named

__all__ = ["require_plots", "to_html"]

_TOP = 10
# More rows than these help nobody on a page; what is left out is summed up, and is in the other files.
_ROWS = 2_000
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_METERS = {
    meters.REQUESTS: "requests",
    meters.LIMITED_REQUESTS: "limited requests",
    meters.UNMETERED_REQUESTS: "requests without usage",
    meters.PROMPT_TOKENS: "prompt tokens",
    meters.COMPLETION_TOKENS: "completion tokens",
    meters.CACHED_TOKENS: "cached tokens",
    meters.UNSPLIT_TOKENS: "unsplit tokens",
    FEE: "monthly fee",
}
_Child: t.TypeAlias = "ET.Element | str | None"
_Row = t.Mapping[str, t.Any]


def to_html(report: _Row, provider: str) -> str:
    title = f"{provider}: usage and cost from {_day(report['start'])} until {_day(report['end'])}"
    page = _Page(report)
    root = h(
        "html",
        {"lang": "en"},
        h(
            "head",
            {},
            h("meta", {"charset": "utf-8"}),
            h("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
            h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            h("meta", {"name": "color-scheme", "content": "light dark"}),
            h("title", {}, title),
            h("style", {}, STYLE),
        ),
        h("body", {}, page.header(provider), h("main", {}, *page.sections())),
    )
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def h(tag: str, attributes: t.Mapping[str, str], *children: _Child) -> ET.Element:
    """One element; text is made visible, and escaped when the tree is written."""
    element = ET.Element(tag, dict(attributes))
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, str):
            text = child if tag == "style" else visible(child)
            if last is None:
                element.text = (element.text or "") + text
            else:
                last.tail = (last.tail or "") + text
        elif child is not None:
            element.append(child)
            last = child
    return element


class _Page:
    def __init__(self, report: _Row) -> None:
        self.report = report
        self.currency = report["currency"]
        notes = {note for line in report["lines"] for note in line["notes"]} | set(report["data_quality"]["notes"])
        self.notes = {note: number for number, note in enumerate(sorted(notes), 1)}
        self.entries = {entry["name"]: number for number, entry in enumerate(report["price_book"]["entries"], 1)}
        self.total = report["totals"]["overall"]

    def header(self, provider: str) -> ET.Element:
        report = self.report
        exact = report["data_quality"]["exact"]
        badge = h(
            "span", {"class": "badge good" if exact else "badge warn"}, "every figure is exact" if exact else "some figures are bounded"
        )
        return h(
            "header",
            {},
            h("p", {"class": "provider"}, provider),
            h("h1", {}, "Usage and cost"),
            h("p", {"class": "period"}, f"{report['start']} \u2013 {report['end']} \u00b7 {self.currency} \u00b7 ", badge),
        )

    def sections(self) -> t.Iterator[ET.Element]:
        yield self._tiles()
        yield from self._plots()
        if self.report["budgets"]:
            yield self._budgets()
        yield self._summary()
        yield self._reconciliation()
        if self.report["what_if"] is not None:
            yield self._what_if()
        yield self._charges()
        yield self._price_book()
        yield self._quality()

    # Figures at the top

    def _tiles(self) -> ET.Element:
        total = self.total
        requests, limited = total["authorized"], total["limited"]
        tokens = total["prompt"] + total["completion"] + total["unsplit"]
        unattributed = self.report["reconciliation"]["overall"]["unattributed"]
        upper = total["cost_upper"]
        at_most = "no upper bound is proved" if upper is None else "" if upper == total["cost"] else f"at most {self._money(upper)}"
        tiles = [
            ("Total cost", f"{_rounded(total['cost'])} {self.currency}", at_most or f"exactly {_amount(total['cost'])}"),
            ("Requests", _number(requests), "let through"),
            ("Limited", _share(limited, requests + limited), f"{_number(limited)} requests refused"),
            ("Tokens", _number(tokens), f"{_number(total['prompt'])} prompt, {_number(total['completion'])} completion"),
            ("Unattributed", "unknown" if unattributed is None else _number(unattributed["total"]), "tokens served and billed to nobody"),
        ]
        return h(
            "section",
            {"class": "tiles", "aria-label": "Totals"},
            *(
                h("div", {"class": "tile"}, h("h2", {}, name), h("p", {"class": "figure"}, figure), h("p", {}, more))
                for name, figure, more in tiles
            ),
        )

    # Plots

    def _plots(self) -> t.Iterator[ET.Element]:
        figures = []
        timeline = self.report["timeline"]
        if timeline:
            hourly = any(not bucket["start"].endswith("T00:00:00Z") for bucket in timeline[1:])
            labels = [bucket["start"][5:16].replace("T", " ") if hourly else bucket["start"][5:10] for bucket in timeline]
            unknown = sum(bucket["authorized"] is None for bucket in timeline)
            gap = f" In {unknown} of {len(timeline)} nothing was scraped: no bar does not mean no usage there." if unknown else ""
            unit = "per hour" if hourly else "per day"
            series = {title: self._bucket_values(name) for title, name in (("let through", "authorized"), ("limited", "limited"))}
            figures.append(_figure(f"Requests {unit}", f"In UTC.{gap}", plots.over_time(labels, series, "requests"), series))
            parts = [("prompt", "prompt"), ("completion", "completion"), ("unsplit", "unsplit")]
            series = {title: self._bucket_values(name) for title, name in parts if name != "unsplit" or self.total["unsplit"]}
            if self.total["prompt"] or self.total["completion"] or self.total["unsplit"]:
                figures.append(_figure(f"Tokens {unit}", f"In UTC.{gap}", plots.over_time(labels, series, "tokens"), series))
        totals = self.report["totals"]
        tenants = self._top([(_or(row["group"], "(no group)"), row["cost"]) for row in totals["group"]])
        figures.append(self._cost_figure("Cost by tenant", tenants, "tenants"))
        models = self._top([(_or(row["model"], "(requests and fees)"), row["cost"]) for row in totals["model"]])
        figures.append(self._cost_figure("Cost by model", models, "models"))
        tiers = [row for row in totals["tier"] if row["authorized"] + row["limited"]][:_TOP]
        if tiers:
            shares = [(_ratio(row) * 100, f"{_share(row['limited'], row['authorized'] + row['limited'])} of its requests") for row in tiers]
            labels = [_or(row["tier"], "(no tier)") for row in tiers]
            series_of: dict[str, list[plots.Value]] = {"limited": list(shares)}
            figures.append(
                _figure(
                    "Limited share by tier", "Percent of the requests that a limit refused.", plots.bars(labels, series_of, "limited"), {}
                )
            )
        served = [row for row in self.report["reconciliation"]["models"] if row["unattributed"] is not None]
        if served:
            labels = [_or(row["model"], "(no model)") for row in served[:_TOP]]
            both: dict[str, list[plots.Value]] = {
                "of users": [_count(row["users"]["total"]) for row in served[:_TOP]],
                "unattributed": [_count(max(0, row["unattributed"]["total"])) for row in served[:_TOP]],
            }
            figures.append(
                _figure(
                    "Tokens of users, and unattributed",
                    "Together they are what the model servers counted.",
                    plots.bars(labels, both, "served"),
                    both,
                )
            )
        users = self._top([(_or(row["user"], "(nobody, or all)"), row["cost"]) for row in totals["user"]])
        figures.append(self._cost_figure("Top users", users, "users", width=1320))
        yield h("section", {"class": "plots", "aria-label": "Plots"}, *figures)

    def _bucket_values(self, name: str) -> list[plots.Value]:
        return [
            None if bucket[name] is None else (float(bucket[name]), f"{_number(bucket[name])}, {bucket['start']} \u2013 {bucket['end']}")
            for bucket in self.report["timeline"]
        ]

    def _top(self, rows: t.Iterable[tuple[str, str]]) -> list[tuple[str, Decimal]]:
        """The most expensive ones, and the sum of the others."""
        ordered = sorted(((label, Decimal(cost)) for label, cost in rows), key=lambda row: (-row[1], row[0]))
        shown, rest = ordered[:_TOP], ordered[_TOP:]
        return [*shown, *([(f"{len(rest)} others", sum((cost for _label, cost in rest), Decimal(0)))] if rest else [])]

    def _cost_figure(self, title: str, rows: t.Sequence[tuple[str, Decimal]], name: str, **size: int) -> ET.Element:
        series: dict[str, list[plots.Value]] = {
            "cost": [(float(cost), f"{_amount(str(cost))} {self.currency}, {label}") for label, cost in rows]
        }
        return _figure(title, f"In {self.currency}.", plots.bars([label for label, _cost in rows], series, name, **size), {})

    # Tables

    def _summary(self) -> ET.Element:
        rows = self.report["summary"]
        first: dict[tuple[t.Any, ...], int] = {}
        for row_number, line in enumerate(self.report["lines"], 1):
            first.setdefault((line["user"], line["group"], line["tier"]), row_number)
        shown = [(name, title) for name, title in _FIGURES if self.total[name] or name in ("authorized", "limited")]
        bounded = any(row["cost_upper"] != row["cost"] for row in (*rows, self.total))
        heads = ["User", "Group", "Tier", *(title for _name, title in shown), f"Cost {self.currency}", *(["At most"] if bounded else [])]

        def figures(row: _Row, cost: _Child) -> list[_Child]:
            counts = [_bounded(row[name], row[f"{name}_upper"]) for name, _title in shown]
            upper = "unknown" if row["cost_upper"] is None else _amount(row["cost_upper"])
            return [*counts, cost, *([upper] if bounded else [])]

        body = []
        for row in rows[:_ROWS]:
            number = first.get((row["user"], row["group"], row["tier"]))
            amount = _amount(row["cost"])
            cost: _Child = (
                amount if number is None or number > _ROWS else h("a", {"href": f"#c{number}", "title": "Why this number?"}, amount)
            )
            body.append([named(row), _or(row["group"], "\u2013"), _or(row["tier"], "\u2013"), *figures(row, cost)])
        if len(rows) > _ROWS:
            rest = sum((Decimal(row["cost"]) for row in rows[_ROWS:]), Decimal(0))
            blanks: list[_Child] = ["" for _name in shown]
            body.append([f"{len(rows) - _ROWS} more", "", "", *blanks, _amount(str(rest)), *([""] if bounded else [])])
        foot = [["Total", "", "", *figures(self.total, h("strong", {}, _amount(self.total["cost"])))]]
        return h(
            "section",
            {},
            h("h2", {}, "Who pays"),
            h("p", {"class": "lead"}, "Every cost leads to the charges that it is the sum of."),
            _table(heads, body, text=3, foot=foot),
        )

    def _charges(self) -> ET.Element:
        lines = self.report["lines"]
        heads = ["User", "Group", "Tier", "Model", "What", "Quantity", "Included", f"Price {self.currency}", f"Cost {self.currency}"]
        heads += ["At most", "Price entry", "From", "Until", "Notes"]
        body: list[list[_Child]] = []
        for line in lines[:_ROWS]:
            price = (
                "not priced"
                if line["unit_price"] is None
                else _amount(line["unit_price"]) + ("" if line["per"] == 1 else f" / {_number(line['per'])}")
            )
            notes = h("span", {}, *self._footnotes(line["notes"]))
            entry: _Child = "\u2013"
            if line["price_entry"] is not None:
                entry = h("a", {"href": f"#p{self.entries[line['price_entry']]}"}, line["price_entry"])
            upper = "unknown" if line["cost_upper"] is None else "" if line["cost_upper"] == line["cost"] else _amount(line["cost_upper"])
            dash = [_or(line[name], "\u2013") for name in ("user", "group", "tier", "model")]
            quantity = _bounded(line["quantity"], line["quantity_upper"])
            figures = [quantity, _number(line["included"]) if line["included"] else "", price, _amount(line["cost"]), upper]
            body.append([*dash, _METERS[line["meter"]], *figures, entry, line["start"], line["end"], notes])
        lead = "Cost is what is not included of the quantity, times the price. Nothing is rounded, but fees to the cent."
        if len(lines) > _ROWS:
            rest = sum((Decimal(line["cost"]) for line in lines[_ROWS:]), Decimal(0))
            lead += f" {_number(len(lines) - _ROWS)} more charges of together {self._money(str(rest))} are in the CSV and JSON files."
        table = _table(heads, body, text=5, numbers=5, ids="c")
        return h("section", {"id": "charges"}, h("h2", {}, "Why these numbers: charges"), h("p", {"class": "lead"}, lead), table)

    def _footnotes(self, notes: t.Iterable[str]) -> t.Iterator[_Child]:
        for number in sorted({self.notes[note] for note in notes}):
            yield h("a", {"href": f"#n{number}"}, f"[{number}]")
            yield " "

    def _reconciliation(self) -> ET.Element:
        found = self.report["reconciliation"]
        rows = [*found["models"]]
        body: list[list[_Child]] = [
            [
                _or(row["model"], "(no model)"),
                *(self._part(row, of) for of in ("users", "unattributed", "served")),
                "yes" if row["exact"] else "no",
            ]
            for row in rows
        ]
        overall = found["overall"]
        foot: list[list[_Child]] = [
            ["Total", *(self._part(overall, of) for of in ("users", "unattributed", "served")), "yes" if overall["exact"] else "no"]
        ]
        if overall["served"] is None:
            lead = "Unattributed tokens are unknown, for there are no token counters of a model server."
        else:
            lead = "Tokens of users and unattributed ones add up to what the model servers counted themselves."
        causes = h("ul", {}, *(h("li", {}, f"Unattributed: {cause}.") for cause in found["causes"])) if found["causes"] else None
        table = _table(["Model", "Users", "Unattributed", "Model servers", "Exact"], body, text=1, foot=foot) if rows else None
        return h("section", {}, h("h2", {}, "Held against the model servers"), h("p", {"class": "lead"}, lead), table, causes)

    @staticmethod
    def _part(row: _Row, of: str) -> str:
        return "unknown" if row[of] is None else _number(row[of]["total"])

    def _budgets(self) -> ET.Element:
        body: list[list[_Child]] = []
        for budget in self.report["budgets"]:
            of = next(name for name in ("user", "group", "tier") if name in budget)
            percent = min(Decimal(100), Decimal(budget["spent_percent"]))
            state = "over" if 100 in budget["reached"] else "near" if budget["reached"] else "fine"
            meter = h("progress", {"class": state, "max": "100", "value": f"{percent:f}"}, f"{budget['spent_percent']} %")
            reached = ", ".join(f"{one} %" for one in budget["reached"]) or "\u2013"
            spent, forecast = (_from_to(budget[name], budget[f"{name}_upper"]) for name in ("spent", "forecast"))
            body.append([f"{of} {budget[of]}", meter, f"{budget['spent_percent']} %", spent, _amount(budget["amount"]), reached, forecast])
        one = self.report["budgets"][0]
        lead = (
            f"Spent from {_day(one['month_start'])} until {one['until']}. The forecast for {_day(one['month_end'])} takes the rest of the "
            "month to be like what was seen of it."
        )
        heads = ["Budget of", "", "Spent", f"Spent {self.currency}", f"Amount {self.currency}", "Reached", "Forecast"]
        return h("section", {}, h("h2", {}, "Budgets"), h("p", {"class": "lead"}, lead), _table(heads, body, text=2))

    def _what_if(self) -> ET.Element:
        found = self.report["what_if"]
        ordered = sorted(found["lines"], key=lambda row: -abs(Decimal(row["difference"])))
        body: list[list[_Child]] = [
            [_or(row["user"], "(all)"), _or(row["group"], "\u2013"), _or(row["tier"], "\u2013"), *_changes(row)] for row in ordered[:_ROWS]
        ]
        foot: list[list[_Child]] = [["Total", "", "", *_changes(found["overall"])]]
        heads = ["User", "Group", "Tier", f"Cost {self.currency}", "Other prices", "Difference"]
        lead = "The same usage under another price book, largest difference first."
        return h("section", {}, h("h2", {}, "What if"), h("p", {"class": "lead"}, lead), _table(heads, body, text=3, foot=foot))

    def _price_book(self) -> ET.Element:
        body: list[list[_Child]] = []
        for entry in self.report["price_book"]["entries"]:
            scope = ", ".join(f"{name} {entry[name]}" for name in ("user", "group", "tier", "model") if name in entry) or "everybody"
            what = [f"{amount} {field.replace('_', ' ')}" for field, amount in entry.get("price", {}).items()]
            if FEE in entry:
                what.append(f"{entry[FEE]} a month per {entry['per']}")
            included = ", ".join(f"{_number(units)} {_METERS[meter]}" for meter, units in entry.get("included", {}).items())
            included += f" a month per {entry['per']}" if included else "\u2013"
            body.append(
                [entry["name"], scope, "; ".join(what), included, entry.get("valid_from", "always"), entry.get("valid_until", "\u2013")]
            )
        heads = ["Entry", "For", f"Prices in {self.currency}", "Included", "From", "Until"]
        lead = "Of the entries that fit, the one that names the user applies, else the group, else the tier, else the model."
        return h("section", {}, h("h2", {}, "Price book"), h("p", {"class": "lead"}, lead), _table(heads, body, text=6, ids="p"))

    def _quality(self) -> ET.Element:
        quality = self.report["data_quality"]
        unpriced = [
            f"{_number(one['quantity'])} {_METERS[one['meter']]} are in nobody's cost: {one['reason']}." for one in quality["unpriced"]
        ]
        body: list[list[_Child]] = [
            [
                scrape["instance"],
                scrape["job"],
                _number(scrape["scrapes"]),
                "unknown" if scrape["interval_seconds"] is None else f"{scrape['interval_seconds']:g} s",
                _number(len(scrape["gaps"])),
                _number(len(scrape["restarts"])),
                _or(scrape["first"], "\u2013"),
                _or(scrape["last"], "\u2013"),
            ]
            for scrape in self.report["scrapes"]
        ]
        heads = ["Limiter", "Job", "Scrapes", "Interval", "Gaps", "Restarts", "First scrape", "Last scrape"]
        return h(
            "section",
            {"id": "quality"},
            h("h2", {}, "Data quality"),
            h("p", {"class": "lead"}, "What is proved is in the figures; what is not is in their upper bounds. Nothing is estimated."),
            h("ul", {"class": "plain"}, *(h("li", {}, text) for text in unpriced)) if unpriced else None,
            h("ol", {"class": "notes"}, *(h("li", {"id": f"n{number}"}, note) for note, number in self.notes.items()))
            if self.notes
            else None,
            _table(heads, body, text=2) if body else None,
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
        body: list[list[_Child]] = [
            [one["file"], one["start"], one["end"], "correction" if one["correction"] else "close", one["sha256"]] for one in closes
        ]
        yield _table(["File", "From", "Until", "Kind", "SHA-256"], body, text=5)

    def _money(self, amount: str) -> str:
        return f"{_amount(amount)} {self.currency}"


_FIGURES = (
    ("authorized", "Requests"),
    ("limited", "Limited"),
    ("prompt", "Prompt tokens"),
    ("cached", "of which cached"),
    ("completion", "Completion tokens"),
    ("unsplit", "Unsplit tokens"),
    ("unmetered", "Without usage"),
)


def _figure(title: str, lead: str, svg: ET.Element, series: t.Mapping[str, t.Any]) -> ET.Element:
    svg.set("aria-label", title)
    keys = [h("span", {"class": f"key key-{number}"}, name) for number, name in enumerate(series)] if len(series) > 1 else []
    return h(
        "figure",
        {"class": "wide"} if (svg.get("viewBox") or "").split()[2:3] == ["1320"] else {},
        h("figcaption", {}, h("h2", {}, title), h("p", {}, lead, " ", *keys)),
        svg,
    )


def _table(
    heads: t.Sequence[str],
    body: t.Iterable[t.Sequence[_Child]],
    *,
    text: int,
    numbers: int | None = None,
    foot: t.Iterable[t.Sequence[_Child]] = (),
    ids: str = "",
) -> ET.Element:
    """The first ``text`` columns go left, the following ``numbers``, or all, go right; rows get the ids ``<ids>1``, ``<ids>2``, ..."""
    right = range(text, len(heads) if numbers is None else text + numbers)

    def cell(tag: str, column: int, content: _Child) -> ET.Element:
        return h(tag, {"class": "number"} if column in right else {}, content)

    def row(tag: str, cells: t.Sequence[_Child], number: int = 0) -> ET.Element:
        return h(
            "tr", {"id": f"{ids}{number}"} if ids and number else {}, *(cell(tag, column, content) for column, content in enumerate(cells))
        )

    bottom = [row("td", cells) for cells in foot]
    table = h(
        "table",
        {},
        h("thead", {}, row("th", list(heads))),
        h("tbody", {}, *(row("td", cells, number) for number, cells in enumerate(body, 1))),
        h("tfoot", {}, *bottom) if bottom else None,
    )
    return h("div", {"class": "scroll"}, table)


def _changes(row: _Row) -> list[_Child]:
    difference = Decimal(row["difference"])
    return [_amount(row["cost"]), _amount(row["what_if"]), ("+" if difference > 0 else "") + _amount(row["difference"])]


def _count(number: int) -> plots.Value:
    return float(number), _number(number)


def _ratio(row: _Row) -> float:
    return float(row["limited"] / (row["authorized"] + row["limited"]))


def _share(part: int, whole: int) -> str:
    return f"{Decimal(100 * part) / whole:.1f} %" if whole else "\u2013"


def _number(number: int) -> str:
    return f"{number:,}"


def _bounded(lower: int, upper: int | None) -> str:
    return (
        _number(lower) if upper == lower else f"{_number(lower)} or more" if upper is None else f"{_number(lower)} \u2013 {_number(upper)}"
    )


def _from_to(lower: str, upper: str | None) -> str:
    return _amount(lower) + ("" if upper == lower else " or more" if upper is None else f" \u2013 {_amount(upper)}")


def _amount(text: str) -> str:
    """Exactly, with two decimals at least."""
    whole, _point, decimals = f"{Decimal(text):,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def _rounded(text: str) -> str:
    return f"{Decimal(text).quantize(Decimal('0.01'), rounding=decimal.ROUND_HALF_EVEN):,f}"


def _day(moment: str) -> str:
    return moment.removesuffix("T00:00:00Z")


def _or(value: str | None, otherwise: str) -> str:
    return otherwise if value is None else value
