# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Codes of currencies that users write, and how many decimals an amount has that can be paid.

Both are ISO 4217's. Libraries for formats such as babel have the decimals of CLDR, which are those of prices in shops: none for IQD, LBP,
RSD and eleven others, whose invoices have decimals.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

# ISO 4217, list one: currencies and funds, without metals, test codes and units of account.
CURRENCIES: t.Final = frozenset(
    re.findall(
        r"\w+",
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
        "CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
        "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT "
        "MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR "
        "SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED "
        "VES VND VUV WST XAF XCD XDR XOF XPF YER ZAR ZMW ZWL",
    )
)
# Decimals of the minor unit where they are not two. XDR has none in the standard, because it is no means of payment.
_WITH_DECIMALS: t.Final[dict[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DECIMALS: t.Final = {currency: decimals for decimals, listed in _WITH_DECIMALS.items() for currency in listed.split()}


def minor_unit(currency: str) -> int:
    """Decimals of the smallest amount that can be paid."""
    return _DECIMALS.get(currency, 2)


def parse_currency(code: t.Any) -> str:
    """Raises GatewayError without naming the option."""
    if not isinstance(code, str) or code not in CURRENCIES:
        raise GatewayError(f"{code!r} is not a currency code of ISO 4217, such as USD or EUR")
    return code
