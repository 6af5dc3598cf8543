# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Fetch a published file over HTTP."""

from __future__ import annotations

from ansible.module_utils.urls import open_url

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

TIMEOUT = 60  # seconds


def download(url: str) -> bytes:
    """The content; raises GatewayError with what the server said."""
    try:
        with open_url(url, timeout=TIMEOUT, http_agent="kuadrant.llm") as response:
            return bytes(response.read())
    except OSError as exc:  # also urllib's errors
        raise GatewayError(
            f"Failed to download {url}: {exc}. Check the address and the version, or name the mirror to pull from (llm_gateway_mirror)."
        ) from exc
