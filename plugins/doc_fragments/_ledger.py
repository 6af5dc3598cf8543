# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """Where the head of a ledger is noted and who signs it; the argument spec is in module_utils/_ledger/options.py.

    Section signing is for modules that add to a ledger.
    """

    DOCUMENTATION = r"""
requirements:
  - cryptography for O(ledger_signers) and signatures
options:
  ledger_anchor:
    description:
      - A file elsewhere in which M(kuadrant.llm.usage_ledger) notes the head of the ledger after each close, such as in a folder that
        only this task may write. Its folder must exist.
      - A ledger that does not have the head that was noted is an error.
    type: path
  ledger_anchor_configmap:
    description:
      - Name of a ConfigMap in O(ledger_anchor_namespace) in which the head is noted as well, or instead. It is made with the first close.
        The other options say in which cluster.
      - A ledger that does not have the head that was noted is an error.
    type: str
  ledger_anchor_namespace:
    description:
      - Namespace of O(ledger_anchor_configmap).
    type: str
  ledger_signers:
    description:
      - Who signs the ledger, names with their public Ed25519 keys, in PEM or as C(ssh-ed25519 AAAA...).
      - The last line of the ledger must be signed by one of them, and no signature that is looked at by anybody else. Not given means that
        it need not be signed.
    type: dict
"""

    SIGNING = r"""
options:
  ledger_signing_key:
    description:
      - A file with a private Ed25519 key, as PEM (PKCS #8) or in OpenSSH's form. Each head is signed with it, in a file beside the close.
      - The file must not be readable by everybody. The key is in no result, log or file of the ledger; its public half is.
      - The first signature of a ledger vouches for all that was closed before.
    type: path
  ledger_signing_passphrase:
    description:
      - Passphrase of O(ledger_signing_key), if it has one.
    type: str
  sign_unsigned:
    description:
      - Go on where the end of the ledger is not signed although something before it is, and so vouch for it.
      - V(false) fails instead, so that a person looks who added it.
    type: bool
    default: false
"""
