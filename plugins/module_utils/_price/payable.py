# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""From exact costs to an amount that can be paid: net, taxes, and one rounding to the currency's minor unit, at the total.

Nothing before the total is rounded, so that bills of days add up to the bill of the month before their rounding, and parts of a bill to
the whole. A half goes away from zero, as invoices are rounded in commerce.
"""

from __future__ import annotations

import decimal
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import ADJUSTMENTS
from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import minor_unit
from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import Tax
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import EXACT, Cost, total

_NOTHING = Cost()
_ROUND = decimal.Context(prec=80, rounding=decimal.ROUND_HALF_UP)


def payable(charges: t.Iterable[Charge], taxes: t.Sequence[Tax], currency: str, missed: Cost = _NOTHING) -> dict[str, t.Any]:
    """What is to be paid, and how it comes about. Every amount is text.

    ``charges`` (usage and fees) + ``adjustments`` = ``net``; ``net`` + ``taxes`` = ``total``; ``total`` + ``rounding`` = ``amount``.
    ``amount_upper`` is the same of the upper bounds, None if there is none, and ``amount_assumed`` of those under an assumption.

    :param missed: the cost of usage that was missed and may be anybody's: none, or one without an upper bound.
    """
    charges = list(charges)
    used = total(charge.cost for charge in charges if charge.meter not in ADJUSTMENTS)
    adjusted = total(charge.cost for charge in charges if charge.meter in ADJUSTMENTS)
    net = used + adjusted + missed
    owed = [(tax, EXACT.multiply(net.lower, tax.share)) for tax in taxes]
    exact = sum((amount for _tax, amount in owed), net.lower)
    upper, likely = (
        None if most is None else sum((EXACT.multiply(most, tax.share) for tax in taxes), most) for most in (net.upper, net.likely)
    )
    amount = rounded(exact, currency)
    return {
        "currency": currency,
        "charges": plain(used.lower),
        "adjustments": plain(adjusted.lower),
        "net": plain(net.lower),
        "taxes": [
            {"name": tax.name, "percent": plain(tax.percent), "amount": plain(amount), "note": tax.note or None} for tax, amount in owed
        ],
        "total": plain(exact),
        "rounding": plain(EXACT.subtract(amount, exact)),
        "amount": f"{amount:f}",
        "amount_upper": None if upper is None else f"{rounded(upper, currency):f}",
        "amount_assumed": None if likely is None else f"{rounded(likely, currency):f}",
    }


def rounded(amount: Decimal, currency: str) -> Decimal:
    """To the minor unit. Zero has no sign."""
    return amount.quantize(Decimal(1).scaleb(-minor_unit(currency)), context=_ROUND) + 0
