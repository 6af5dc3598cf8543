# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Encrypt the value of a key to whoever asked for it, in the format of age (https://age-encryption.org/v1).

age takes the SSH keys that people have already (``ssh-ed25519``, ``ssh-rsa``) beside its own (``age1…``), and its files cannot be altered
unnoticed. CMS of ``cryptography`` would need a certificate of each requester, of RSA, and leaves that to a signature.
"""

from __future__ import annotations

import re
import traceback
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

IMPORT_ERROR: str | None = None
try:
    import pyrage
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

_PRIVATE = re.compile(r"PRIVATE KEY|AGE-SECRET-KEY-", re.IGNORECASE)


def read_recipient(text: str) -> t.Any:
    """What pyrage encrypts to. Raises GatewayError, which never repeats a private key."""
    if _PRIVATE.search(text):
        raise GatewayError(
            "recipient: is a private key, which is for its owner only. Make a new pair, for this one was shown, and give the public key."
        )
    words = text.split()
    kind = words[0] if words else ""
    try:
        if kind.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(" ".join(words[:2]))
        return pyrage.x25519.Recipient.from_str(kind)
    except pyrage.RecipientError as exc:
        raise GatewayError(
            "recipient: is no public key that age encrypts to. Give the one line of ~/.ssh/id_ed25519.pub or id_rsa.pub "
            "(ssh-ed25519 or ssh-rsa), or one that age-keygen made (age1…)."
        ) from exc


def encrypt(value: str, recipient: str) -> str:
    """The value, with a line end, as an armored age file: text that only ``recipient`` can read."""
    return str(pyrage.encrypt(f"{value}\n".encode(), [read_recipient(recipient)], armored=True).decode())
