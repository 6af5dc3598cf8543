# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What makes an invoice of a bill: its number, who issues and who receives it, dates, and taxes. As users write it, checked."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import read_amount
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of

INVOICE = "invoice"
_FIELDS = ("number", "issuer", "recipient", "recipients", "issued_on", "due_on", "reference", "note", "taxes")
_PARTY_FIELDS = ("name", "address", "tax_id", "contact")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclasses.dataclass(frozen=True)
class Tax:
    """``percent`` of the net amount; ``note`` is for what the law wants to be said, such as why there is none."""

    name: str
    percent: Decimal
    note: str = ""

    @property
    def share(self) -> Decimal:
        return self.percent.scaleb(-2)


@dataclasses.dataclass(frozen=True)
class Party:
    """Who issues or receives an invoice; ``address`` has one line each."""

    name: str
    address: tuple[str, ...] = ()
    tax_id: str | None = None
    contact: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        return {"name": self.name, "address": list(self.address), "tax_id": self.tax_id, "contact": self.contact}


@dataclasses.dataclass(frozen=True)
class Invoice:
    """Dates are text such as 2026-12-01. ``recipients`` are those of the parts of a bill that is split, by the name of the part."""

    number: str
    issuer: Party
    recipient: Party | None = None
    recipients: t.Mapping[str, Party] = dataclasses.field(default_factory=dict)
    issued_on: str | None = None
    due_on: str | None = None
    reference: str | None = None
    note: str | None = None
    taxes: tuple[Tax, ...] = ()

    def of_part(self, name: str | None, title: str, slug: str) -> Invoice:
        """The invoice of one part: a number of its own, and its own recipient, who is named after the part if none is given."""
        recipient = self.recipients.get(name) if name is not None else None
        return dataclasses.replace(self, number=f"{self.number}-{slug.lstrip('_')}", recipient=recipient or Party(title))

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "number": self.number,
            "issuer": self.issuer.as_dict(),
            "recipient": None if self.recipient is None else self.recipient.as_dict(),
            "issued_on": self.issued_on,
            "due_on": self.due_on,
            "reference": self.reference,
            "note": self.note,
        }


def parse_invoice(raw: t.Any) -> Invoice | None:
    """Raises GatewayError that lists every problem, each with the field, as in ``invoice: issuer.name: is required``."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise GatewayError(f"{INVOICE}: must be a dictionary such as {{number: N-42, issuer: {{name: ...}}}}, not {kind_of(raw)}")
    problems = Problems()
    at = problems.at(INVOICE)
    at.only_fields(raw, _FIELDS)
    number = at.text(raw, "number")
    issuer = _read_party(raw.get("issuer"), "issuer", at, required=True)
    recipient = _read_party(raw.get("recipient"), "recipient", at)
    recipients = _read_recipients(raw.get("recipients"), at)
    dates = {field: _read_date(raw.get(field), field, at) for field in ("issued_on", "due_on")}
    if dates["issued_on"] and dates["due_on"] and dates["due_on"] < dates["issued_on"]:
        at.add("due_on", f"{dates['due_on']} is before issued_on, {dates['issued_on']}")
    more = {field: at.text(raw, field, required=False) for field in ("reference", "note")}
    taxes = _read_taxes(raw.get("taxes"), at)
    problems.raise_if_any()
    return Invoice(t.cast("str", number), t.cast("Party", issuer), recipient, recipients, **dates, **more, taxes=taxes)


def _read_party(raw: t.Any, field: str, at: At, *, required: bool = False) -> Party | None:
    if raw is None:
        if required:
            at.add(field, "is required, such as {name: Example Ltd, address: [1 High Street, London]}")
        return None
    if not isinstance(raw, dict):
        at.add(field, f"must be a dictionary with a name, not {kind_of(raw)}")
        return None
    inner = at.under(field)
    inner.only_fields(raw, _PARTY_FIELDS)
    name, tax_id, contact = inner.text(raw, "name"), *(inner.text(raw, one, required=False) for one in ("tax_id", "contact"))
    address = raw.get("address")
    lines = address.splitlines() if isinstance(address, str) else [] if address is None else address
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        inner.add("address", "must be text, or a list of lines of text")
        return None
    return None if name is None else Party(name, tuple(lines), tax_id, contact)


def _read_recipients(raw: t.Any, at: At) -> dict[str, Party]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        at.add("recipients", f"must be a dictionary of parts such as {{research: {{name: ...}}}}, not {kind_of(raw)}")
        return {}
    found = {str(name): _read_party(party, str(name), at.under("recipients"), required=True) for name, party in raw.items()}
    return {name: party for name, party in found.items() if party is not None}


def _read_date(raw: t.Any, field: str, at: At) -> str | None:
    if raw is None:
        return None
    # YAML reads an unquoted date as one; a time is none.
    text = raw.isoformat() if isinstance(raw, datetime.date) and not isinstance(raw, datetime.datetime) else raw
    try:
        if isinstance(text, str) and _DATE.fullmatch(text):
            return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    at.add(field, f"{text!r} is not a date such as 2026-12-01")
    return None


def _read_taxes(raw: t.Any, at: At) -> tuple[Tax, ...]:
    taxes: list[Tax] = []
    for index, item in at.entries("taxes", raw):
        inner = at.under(f"taxes[{index}]")
        inner.only_fields(item, ("name", "percent", "note"))
        name, percent = inner.text(item, "name"), read_percent(item.get("percent"), inner)
        note = inner.text(item, "note", required=False)
        if name is not None and percent is not None:
            if any(tax.name == name for tax in taxes):
                inner.add("name", f"{name!r} is there already; each tax is one line")
            taxes.append(Tax(name, percent, note or ""))
    return tuple(taxes)


def read_percent(value: t.Any, at: At) -> Decimal | None:
    """From 0 to 100; what is wrong goes to ``at``."""
    percent = read_amount(value, "percent", at, required=True)
    if percent is None:
        return None
    if percent > 100:
        at.add("percent", f"{value!r} is more than 100")
        return None
    return percent
