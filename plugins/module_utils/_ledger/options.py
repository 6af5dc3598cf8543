# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Options of every module that reads or writes a ledger: where its head is noted, and who signs it. Documented in doc fragment _ledger."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import connect
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import Anchor, ConfigMapAnchor, FileAnchor
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import (
    Signer,
    Signers,
    may_sign,
    read_signer,
    read_signers,
    require_signature,
)

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Head
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger

TRUST_SPEC: dict[str, t.Any] = {
    "ledger_anchor": {"type": "path"},
    "ledger_anchor_configmap": {"type": "str"},
    "ledger_anchor_namespace": {"type": "str"},
    "ledger_signers": {"type": "dict"},
}
SIGNING_SPEC: dict[str, t.Any] = {
    # A path, no secret; the passphrase is one.
    "ledger_signing_key": {"type": "path", "no_log": False},
    "ledger_signing_passphrase": {"type": "str", "no_log": True},
    "sign_unsigned": {"type": "bool", "default": False},
}
REQUIRED_BY = {"ledger_anchor_configmap": ["ledger_anchor_namespace"], "ledger_signing_passphrase": ["ledger_signing_key"]}


@dataclasses.dataclass(frozen=True)
class Trust:
    """Where the head is noted, and whose signatures count; ``signers`` None: anybody's.

    ``sign_unsigned``: sign also what was added without a key.
    """

    anchors: tuple[Anchor, ...] = ()
    signers: Signers | None = None
    signer: Signer | None = None
    sign_unsigned: bool = False

    def sign_head(self, ledger: Ledger, entries: t.Sequence[LedgerEntry], head: Head, *, dry_run: bool) -> bool:
        """Sign what is there already, if it has to be; whether it had. Raises GatewayError if it must not be signed."""
        if self.signer is None:
            require_signature(ledger, entries, self.signers)
            return False
        if not may_sign(ledger, entries, self.signer, self.signers, unsigned=self.sign_unsigned):
            return False
        if not dry_run:
            ledger.sign(entries[-1], self.signer.sign(head))
        return True


def parse_trust(module: AnsibleModule) -> Trust:
    """Raises GatewayError naming the option. The API server is asked nothing yet."""
    params = module.params
    anchors: list[Anchor] = []
    if params["ledger_anchor"] is not None:
        anchors.append(FileAnchor(params["ledger_anchor"]))
    if params["ledger_anchor_configmap"] is not None:
        anchors.append(ConfigMapAnchor(connect(module), params["ledger_anchor_namespace"], params["ledger_anchor_configmap"]))
    path = params.get("ledger_signing_key")
    return Trust(
        tuple(anchors),
        read_signers(params["ledger_signers"]),
        None if path is None else read_signer(path, params["ledger_signing_passphrase"]),
        bool(params.get("sign_unsigned")),
    )
