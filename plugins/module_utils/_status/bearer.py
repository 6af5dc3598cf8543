# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Tokens of an issuer, beside keys. Pure: whether one is good, the gateway says."""

from __future__ import annotations

import base64
import binascii
import json


def end_of(secret: str) -> float | None:
    """When a JSON Web Token (RFC 7519) ends by its claim ``exp``, in seconds since the epoch; None for what is none, or has no end.

    The signature is not looked at: this is only of use for a token that the gateway has let in.
    """
    parts = secret.split(".")
    if len(parts) != 3 or not all(parts):
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, (int, float)) and not isinstance(end, bool) else None
