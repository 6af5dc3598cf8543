# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The page: its sections as trees of elements, so that whatever they contain is escaped, in the style of the bill's page."""

from __future__ import annotations

import re
import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import Child, h, table
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_style import STYLE as BILL_STYLE
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers, moment
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import named
from ansible_collections.kuadrant.llm.plugins.module_utils._status.access import Entry, Limit, Person, limits_of, own
from ansible_collections.kuadrant.llm.plugins.module_utils._status.counters import Counter, amount
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import Known, Parts

#: By their id, in the order of the page.
Sections: t.TypeAlias = "dict[str, ET.Element]"

# A page with more rows is of no use, and its updates would be heavy; the modules list everything.
_ROWS = 200
_SEVERITIES = {"error": "bad", "warning": "warn", "info": "good"}

STYLE = (
    BILL_STYLE
    + """
.bad { color: var(--bad); } .bar { align-items: baseline; display: flex; flex-wrap: wrap; gap: .4rem 1rem; justify-content: space-between; }
form { margin: 0; } form.card { display: grid; gap: .5rem; max-width: 34rem; }
label { font-weight: 600; } input { background: var(--page); border: 1px solid var(--muted); border-radius: 4px; color: var(--ink);
  font: inherit; padding: .45rem .6rem; width: 100%; }
button { background: var(--accent); border: 0; border-radius: 4px; color: var(--card); cursor: pointer; font: inherit; font-weight: 600;
  justify-self: start; padding: .45rem 1rem; }
button.quiet { background: none; border: 1px solid var(--muted); color: var(--ink); font-weight: 400; padding: .15rem .7rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.problem { border-left: 3px solid var(--bad); padding-left: .7rem; }
meter { height: .8rem; vertical-align: -.1rem; width: 7rem; } code { overflow-wrap: anywhere; } .finding { overflow-wrap: anywhere; }
@media screen and (min-width: 701px) { .tiles { grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); }
  .tile .figure { font-size: 1.3rem; } }
"""
)


def document(title: str, *body: ET.Element, live: bool) -> str:
    """A whole page. Style and script are files of this server: nothing is in the page that a policy would have to let run."""
    head = h(
        "head",
        {},
        h("meta", {"charset": "utf-8"}),
        h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        h("meta", {"name": "color-scheme", "content": "light dark"}),
        h("title", {}, title),
        h("link", {"rel": "stylesheet", "href": "page.css"}),
        h("link", {"rel": "icon", "href": "data:,"}),
        h("script", {"src": "page.js", "defer": "defer"}) if live else None,
    )
    root = h("html", {"lang": "en"}, head, h("body", {}, *body))
    return "<!DOCTYPE html>\n" + text_of(root) + "\n"


def text_of(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode", method="html")


def sign_in_page(title: str, problem: str | None, *, operators: bool) -> str:
    forms = [_form("user", "Your API key or token", "See my usage", "The gateway decides whether it is let in. It is not kept.")]
    if operators:
        forms.append(_form("operator", "Operator's token", "See everything", "The role status_page made it."))
    told = None if problem is None else h("p", {"class": "problem", "role": "alert"}, problem)
    main = h("main", {}, *([h("section", {"aria-label": "Problem"}, told)] if told is not None else []), *forms)
    return document(
        f"{title}: sign in",
        _header(title, "Status", h("p", {"class": "period"}, "Sign in to see usage, limits and keys.")),
        main,
        live=False,
    )


def _form(role: str, label: str, button: str, lead: str) -> ET.Element:
    secret = {
        "id": role,
        "name": "secret",
        "type": "password",
        "required": "required",
        "autocomplete": "off",
        "aria-describedby": f"{role}-lead",
    }
    return h(
        "section",
        {"aria-label": label},
        h(
            "form",
            {"class": "card", "method": "post", "action": f"sign-in-{role}"},
            h("label", {"for": role}, label),
            h("input", secret),
            h("p", {"class": "lead", "id": f"{role}-lead"}, lead),
            h("button", {}, button),
        ),
    )


def page(parts: Parts, person: Person) -> str:
    title = str(parts.settings["title"])
    who = "signed in as operator" if person.user is None else f"signed in as {person.user}"
    below = h(
        "div",
        {"class": "bar"},
        h("p", {"class": "period"}, f"{who} \u00b7 ", h("span", {"class": "badge", "id": "live", "role": "status"}, "as of loading")),
        h("form", {"method": "post", "action": "sign-out"}, h("button", {"class": "quiet"}, "Sign out")),
    )
    return document(f"{title}: status", _header(title, "Status", below), h("main", {}, *sections(parts, person).values()), live=True)


def _header(title: str, heading: str, below: ET.Element) -> ET.Element:
    return h("header", {}, h("p", {"class": "provider"}, title), h("h1", {}, heading), below)


def sections(parts: Parts, person: Person) -> Sections:
    """What this person sees now."""
    numbers = Numbers(str((parts.settings["price_book"] or parts.settings)["currency"]))
    if person.user is None:
        return _of_operator(parts, numbers)
    mine = own(parts, person.user, person.tier)
    return {
        "tiles": _tiles(mine.report, mine.keys, None, numbers),
        "limits": _section("limits", "What is left now", mine.limits, lambda limits: [_limits(limits)]),
        "usage": _section("usage", "Usage and cost", mine.report, lambda report: [_usage(report, numbers)]),
        "keys": _section("keys", "Keys", mine.keys, lambda keys: [_keys(keys)]),
    }


def _of_operator(parts: Parts, numbers: Numbers) -> Sections:
    statement, keys, counters, doctor, tiers = parts.statement(), parts.keys(), parts.counters(), parts.doctor(), parts.tiers()
    report: Known[Entry] = Known(None if statement.value is None else statement.value.report(), statement.trouble)
    return {
        "tiles": _tiles(report, keys, doctor, numbers),
        "doctor": _section("doctor", "Findings", doctor, lambda found: [_findings(found)]),
        "tiers": _section("tiers", "Tiers", tiers, lambda facts: [_tiers(facts, counters.value or [])]),
        "left": _section("left", "Limits in use", counters, lambda found: [_left(found, tiers.value)]),
        "limited": _section("limited", "Limited users", report, lambda found: [_limited(found, numbers)]),
        "ledger": _section("ledger", "Last closed period", parts.ledger(), lambda found: [_ledger(found)]),
        "usage": _section("usage", "Usage and cost", report, lambda found: [_usage(found, numbers)]),
        "keys": _section("keys", "Keys", keys, lambda found: [_keys(found)]),
    }


def _section(name: str, title: str, known: Known[t.Any], content: t.Callable[[t.Any], list[ET.Element]]) -> ET.Element:
    inside = [h("p", {"class": "lead"}, known.trouble)] if known.value is None else content(known.value)
    return h("section", {"id": name, "aria-labelledby": f"{name}-title"}, h("h2", {"id": f"{name}-title"}, title), *inside)


def _rows(heads: t.Sequence[str], rows: t.Sequence[t.Sequence[Child]], text: int, none: str, numbers: int | None = None) -> ET.Element:
    if not rows:
        return h("p", {"class": "lead"}, none)
    shown = table(heads, rows[:_ROWS], text=text, numbers=numbers)
    shown.set("tabindex", "0")  # what may be scrolled has to be reached by the keyboard, too
    shown.set("role", "group")
    shown.set("aria-label", ", ".join(head for head in heads if head))
    rest = len(rows) - _ROWS
    return h("div", {}, shown, h("p", {"class": "plain"}, f"and {rest:,} more") if rest > 0 else None)


def _tiles(report: Known[Entry], keys: Known[list[Entry]], doctor: Known[Entry] | None, numbers: Numbers) -> ET.Element:
    tiles: list[tuple[str, str, str]] = []
    if report.value is not None:
        total, owed, currency = report.value["totals"]["overall"], report.value["payable"], report.value["currency"]
        exact = owed["amount_upper"] == owed["amount"]
        said = f"exactly {numbers.amount(owed['total'])}" if exact else "or more; the bill tells the bounds"
        requests, limited = total["authorized"], total["limited"]
        tokens = total["prompt"] + total["completion"] + total["unsplit"]
        tiles = [
            ("Cost", f"{numbers.amount(owed['amount'])} {currency}", f"{said} since {_second(report.value['start'])}"),
            ("Requests", numbers.count(requests), "let through"),
            ("Limited", numbers.share(limited, requests + limited), f"{numbers.count(limited)} requests refused"),
            ("Tokens", numbers.count(tokens), f"{numbers.count(total['prompt'])} prompt, {numbers.count(total['completion'])} completion"),
        ]
    if keys.value is not None:
        counts = {state: sum(_state(key) == state for key in keys.value) for state in ("usable", "suspended", "expired", "revoked")}
        more = ", ".join(f"{count:,} {state}" for state, count in counts.items() if state != "usable" and count)
        tiles.append(("Keys", numbers.count(counts["usable"]), f"can be used{f'; {more}' if more else ''}"))
    if doctor is not None and doctor.value is not None:
        tiles.append(("Findings", str(sum(doctor.value["counts"].values())), doctor.value["summary"]))
    return h(
        "section",
        {"class": "tiles", "id": "tiles", "aria-label": "Totals"},
        *(
            h("div", {"class": "tile"}, h("h2", {}, name), h("p", {"class": "figure"}, figure), h("p", {}, more))
            for name, figure, more in tiles
        ),
    )


def _second(text: str) -> str:
    """A time without its fraction."""
    return moment(re.sub(r"\.\d+", "", text))


def _state(key: Entry) -> str:
    if key["state"] == "revoked":
        return "revoked"
    if key["expired"]:
        return "expired"
    return "suspended" if key.get("suspended_from") else "usable"


def _keys(keys: t.Sequence[Entry]) -> ET.Element:
    """What needs work comes first."""
    classes = {"usable": "good", "suspended": "warn", "expired": "bad", "revoked": "bad"}
    order = sorted(keys, key=lambda key: (not key["problems"], key["state"] == "revoked", key["expires_at"] or "~", key["name"]))
    rows: list[list[Child]] = [
        [
            key["name"],
            key["user"],
            key["tier"],
            ", ".join(key["groups"]),
            h("span", {"class": f"badge {classes[_state(key)]}"}, _state(key)),
            "never" if key["expires_at"] is None else moment(key["expires_at"]),
            "; ".join(key["problems"]),
        ]
        for key in order
    ]
    return _rows(["Key", "User", "Tier", "Groups", "State", "Expires", "Problems"], rows, 7, "There are no keys.")


def _rate(unit: str, maximum: Decimal, window: str, model: str | None) -> str:
    of = "" if unit == "money" else f" {unit}"
    return f"{amount(maximum)}{of} in {window}" + (f" of {model}" if model else "")


def _meter(remaining: Decimal, maximum: Decimal) -> ET.Element:
    share = float(remaining / maximum) if maximum else 0.0
    bounds = {"min": "0", "max": "1", "low": "0.1", "high": "0.3", "optimum": "1"}
    return h("span", {}, h("meter", {**bounds, "value": f"{share:.3f}", "aria-label": "left"}, f"{share:.0%}"), f" {amount(remaining)}")


def _limits(limits: t.Sequence[Limit]) -> ET.Element:
    rows: list[list[Child]] = [
        [
            limit.tier,
            _rate(limit.unit, limit.maximum, limit.window, limit.model),
            _meter(limit.counter.remaining if limit.counter else limit.maximum, limit.maximum),
            f"{limit.counter.resets:,} s" if limit.counter else "",
        ]
        for limit in limits
    ]
    return _rows(["Tier", "Limit", "Left", "All of it again in"], rows, 3, "Your tier has no limits of its own.", 1)


def _tiers(facts: Entry, counters: t.Sequence[Counter]) -> ET.Element:
    rows: list[list[Child]] = []
    for tier in facts["tiers"]:
        rates = [(unit, rate) for unit in ("requests", "tokens") for rate in tier[unit]]
        limits = [
            _rate(unit, Decimal(rate["limit"]), rate["window"], rate["model"])
            + ("" if rate["per"] == "user" else f" per {rate['per']}")
            + (" (in shadow)" if rate["shadow"] else "")
            for unit, rate in rates
        ]
        if tier.get("spend"):
            limits.append(f"{amount(Decimal(tier['spend']['limit']))} of money in a month")
        mine = [one for one in counters if one.tier == tier["name"]]
        spent = len({one.user or one.groups for one in mine if one.spent})
        rows.append([tier["name"], "; ".join(limits) or "none", f"{len({one.user or one.groups for one in mine}):,}", f"{spent:,}"])
    enforced = "good" if facts["enforced"] else "bad"
    said = "enforced" if facts["enforced"] else "not enforced wholly"
    lead = h("p", {"class": "lead"}, h("span", {"class": f"badge {enforced}"}, said), f" {facts['without_policy']}")
    return h("div", {}, lead, _rows(["Tier", "Limits", "Users now", "With nothing left"], rows, 2, "No policy has a limit of a tier."))


def _left(counters: t.Sequence[Counter], facts: Entry | None) -> ET.Element:
    """The emptiest first. What a limit counts, its tier tells."""
    rows: list[list[Child]] = [
        [
            one.user or f"group {one.groups}",
            one.tier,
            _limit_of(one, facts),
            _meter(one.remaining, one.maximum),
            f"{one.resets:,} s",
        ]
        for one in counters
    ]
    return _rows(["User", "Tier", "Limit", "Left", "All of it again in"], rows, 4, "No window of a limit is open.", 1)


def _limit_of(counter: Counter, facts: Entry | None) -> str:
    tier = next((one for one in (facts or {"tiers": ()})["tiers"] if one["name"] == counter.tier), None)
    limit = next((one for one in limits_of(tier, [counter]) if one.counter), None) if tier else None
    if limit is None:
        return f"{amount(counter.maximum)} in {counter.window:,} s" + (f" ({counter.limit})" if counter.limit else "")
    return _rate(limit.unit, limit.maximum, limit.window, limit.model)


def _limited(report: Entry, numbers: Numbers) -> ET.Element:
    found = sorted((row for row in report["summary"] if row["limited"]), key=lambda row: -row["limited"])
    rows: list[list[Child]] = [
        [named(row), row["tier"], numbers.count(row["limited"]), numbers.share(row["limited"], row["limited"] + row["authorized"])]
        for row in found
    ]
    return _rows(["User", "Tier", "Refused", "Of all"], rows, 2, "No request was refused by a limit.")


def _usage(report: Entry, numbers: Numbers) -> ET.Element:
    rows: list[list[Child]] = [
        [
            named(row),
            row["tier"],
            numbers.count(row["authorized"]),
            numbers.count(row["limited"]),
            numbers.count(row["prompt"] + row["completion"] + row["unsplit"]),
            numbers.from_to(row["cost"], row["cost_upper"], row["cost_assumed"]),
        ]
        for row in sorted(report["summary"], key=lambda row: -Decimal(row["cost"]))
    ]
    lead = h("p", {"class": "lead"}, f"From {_second(report['start'])} until {_second(report['end'])}, as the bill counts it.")
    heads = ["User", "Tier", "Requests", "Limited", "Tokens", f"Cost {report['currency']}"]
    return h("div", {}, lead, _rows(heads, rows, 2, "Nothing was used."))


def _findings(found: Entry) -> ET.Element:
    rows: list[list[Child]] = [
        [
            h("span", {"class": f"badge {_SEVERITIES[one['severity']]}"}, one["severity"]),
            one["object"],
            h("div", {"class": "finding"}, one["cause"], h("span", {"class": "more"}, one["consequence"])),
            h("code", {}, one["command"]),
        ]
        for one in found["findings"]
    ]
    return _rows(["Severity", "Object", "What is wrong", "What mends it"], rows, 4, "Nothing is wrong.")


def _ledger(found: Entry) -> ET.Element:
    close = found["close"]
    if close is None:
        return h("p", {"class": "lead"}, "No period is closed yet.")
    facts = [
        ("Period", f"{close['unit']} from {moment(close['start'])} until {moment(close['end'])}"),
        ("Signed by", close["signed_by"] or "no one"),
        ("Last line", f"{close['seq']}, {close['sha256']}"),
        ("File", close["file"]),
        ("Closed", f"{found['closes']:,} periods, {found['corrections']:,} times corrected"),
    ]
    return h("dl", {}, *(part for name, value in facts for part in (h("dt", {}, name), h("dd", {}, h("code", {}, value)))))
