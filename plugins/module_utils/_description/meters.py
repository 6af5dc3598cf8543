# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What usage is counted in. Lines, ledgers, price books and reports name and order meters so."""

from __future__ import annotations

REQUESTS = "requests"
LIMITED_REQUESTS = "limited_requests"
UNMETERED_REQUESTS = "unmetered_requests"
PROMPT_TOKENS = "prompt_tokens"
COMPLETION_TOKENS = "completion_tokens"
# A part of the prompt's.
CACHED_TOKENS = "cached_tokens"
# Of which only the sum is known.
UNSPLIT_TOKENS = "unsplit_tokens"
TOKENS = (PROMPT_TOKENS, COMPLETION_TOKENS, CACHED_TOKENS, UNSPLIT_TOKENS)
METERS = (REQUESTS, LIMITED_REQUESTS, UNMETERED_REQUESTS, *TOKENS)
