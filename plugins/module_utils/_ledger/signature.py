# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Signatures of heads: a file beside a close, by which the holder of an Ed25519 key vouches for its last line and everything before it.

They stand beside the chain and not in it, so that the same samples still give the same bytes, whoever closes. What is signed is the text

    kuadrant.llm usage ledger head
    <sequence number>
    <hash>

each line with its end (RFC 8032, pure Ed25519). Keys are named by their fingerprint as OpenSSH shows it (``ssh-keygen -l``).
A signature proves that whoever had the key signed that line. It proves neither when, nor that nothing was closed after it.
"""

from __future__ import annotations

import base64
import binascii
import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import stat
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Head

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError:
    _PRESENT = False
else:
    _PRESENT = True

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger

VERSION = 1
_SSH = b"ssh-ed25519"
_OTHERS = stat.S_IRWXO

# Name of whoever a public key belongs to, by its 32 bytes.
Signers: t.TypeAlias = "dict[bytes, str]"


@dataclasses.dataclass(frozen=True)
class Signature:
    """One that is right: by which key, of which head. ``signer``: whose key it is, if that is known."""

    entry: LedgerEntry
    head: Head
    key: bytes
    signer: str | None

    @property
    def who(self) -> str:
        return f"{self.signer} ({fingerprint(self.key)})" if self.signer else f"key {fingerprint(self.key)}"


class Signer:
    """Holds a private key and never tells it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, head: Head) -> bytes:
        """What the file of the signature has."""
        told = {
            "version": VERSION,
            "seq": head.seq,
            "sha256": head.sha256,
            "public_key": base64.b64encode(self.public).decode(),
            "signature": base64.b64encode(self._key.sign(text_of(head))).decode(),
        }
        return f"{json.dumps(told, sort_keys=True)}\n".encode()


def text_of(head: Head) -> bytes:
    return f"kuadrant.llm usage ledger head\n{head.seq}\n{head.sha256}\n".encode()


def fingerprint(public: bytes) -> str:
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (_SSH, public))
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def require_cryptography(option: str) -> None:
    if not _PRESENT:
        raise GatewayError(f"{option}: {missing_required_lib('cryptography', reason='for signatures of a ledger')}")


def read_signer(path: str, passphrase: str | None) -> Signer:
    """The private key of a file, as PEM (PKCS #8) or in OpenSSH's form. Messages never quote the file."""
    option = "ledger_signing_key"
    require_cryptography(option)
    try:
        if os.stat(path).st_mode & _OTHERS:
            raise GatewayError(f"{option}: everybody on this machine may read {path}. Take that away first: chmod o= {path}")
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as exc:
        raise GatewayError(f"{option}: cannot read {path}: {exc.strerror}.") from exc
    load = serialization.load_ssh_private_key if b"OPENSSH" in content[:64] else serialization.load_pem_private_key
    key: t.Any = None
    wrong = False
    try:
        key = load(content, None if passphrase is None else passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        wrong = True
    if wrong:
        # Without the cause: what a library says of the bytes of a key does not belong into a log.
        raise GatewayError(
            f"{option}: {path} is no private key in PEM that can be read"
            f"{' without a passphrase, see ledger_signing_passphrase' if passphrase is None else ' with this passphrase'}."
        )
    if not isinstance(key, Ed25519PrivateKey):
        raise GatewayError(f"{option}: {path} is no Ed25519 key. Make one: openssl genpkey -algorithm ed25519 -out {path}")
    return Signer(key)


def read_signers(raw: t.Mapping[str, t.Any] | None) -> Signers | None:
    """``{finance: "ssh-ed25519 AAAA..."}`` or with a public key in PEM; None if there are none."""
    if not raw:
        return None
    option = "ledger_signers"
    require_cryptography(option)
    found: Signers = {}
    for name, text in raw.items():
        content = str(text).strip().encode()
        key: t.Any = None
        with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
            key = (serialization.load_ssh_public_key if content.startswith(_SSH) else serialization.load_pem_public_key)(content)
        if not isinstance(key, Ed25519PublicKey):
            raise GatewayError(f"{option}: {name}: is no public Ed25519 key, in PEM or as ssh-ed25519 AAAA...")
        public = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        if public in found:
            raise GatewayError(f"{option}: {found[public]} and {name} have the same key, so that it would not tell who signed.")
        found[public] = str(name)
    return found


def signature_of(ledger: Ledger, entry: LedgerEntry, signers: Signers | None) -> Signature | None:
    """The signature of a close; None if there is none. Raises GatewayError if it is wrong, or by another key than those of ``signers``."""
    content, path = ledger.signature(entry), ledger.path(entry.signature_path)
    if content is None:
        return None
    require_cryptography("ledger_dir")
    try:
        told = json.loads(content)
        head = Head(int(told["seq"]), str(told["sha256"]))
        public, signature = (base64.b64decode(told[name], validate=True) for name in ("public_key", "signature"))
        key = Ed25519PublicKey.from_public_bytes(public)
    except (ValueError, KeyError, TypeError, binascii.Error) as exc:
        raise GatewayError(f"{path}: is no signature of a ledger. It was changed or cut off.") from exc
    last = ledger.last(entry)
    if head != last:
        raise GatewayError(
            f"{path}: is of line {head.seq}, {head.sha256}, and {ledger.path(entry.path)} ends with line {last.seq}, {last.sha256}: "
            "the close was written again after it was signed, or the signature is another one's. Restore both from a copy."
        )
    try:
        key.verify(signature, text_of(head))
    except InvalidSignature as exc:
        raise GatewayError(f"{path}: was not made with the key {fingerprint(public)} that it names.") from exc
    found = Signature(entry, head, public, (signers or {}).get(public))
    if signers is not None and found.signer is None:
        raise GatewayError(f"{path}: is by {found.who}, which belongs to none of the signers {', '.join(sorted(signers.values()))}.")
    return found


def require_signature(ledger: Ledger, entries: t.Sequence[LedgerEntry], signers: Signers | None) -> None:
    """Whether one of ``signers``, if there are any, has signed the last line of the ledger. Raises GatewayError if not."""
    if signers is None or not entries:
        return
    if signature_of(ledger, entries[-1], signers) is None:
        raise GatewayError(
            f"{ledger.path(entries[-1].path)}: has no signature, and ledger_signers says who signs. It was closed without a key, its "
            "signature was removed, or it was added by another person."
        )


def check_signatures(ledger: Ledger, entries: t.Sequence[LedgerEntry], signers: Signers | None) -> list[dict[str, t.Any]]:
    """Every signature of the ledger: who signed how many closes, and up to which line. Raises GatewayError if one is wrong."""
    require_signature(ledger, entries, signers)
    found = [signature for entry in entries if (signature := signature_of(ledger, entry, signers)) is not None]
    closes = collections.Counter(signature.key for signature in found)
    latest = {signature.key: signature for signature in found}
    return [
        {"signer": one.signer, "key": fingerprint(key), "signed": closes[key], "seq": one.head.seq, "file": one.entry.path}
        for key, one in latest.items()
    ]


def may_sign(ledger: Ledger, entries: t.Sequence[LedgerEntry], signer: Signer, signers: Signers | None, *, unsigned: bool) -> bool:
    """Whether the present head still has to be signed, before anything is added to it. Raises GatewayError if it must not be.

    A signature vouches for all that is before it. So it follows on one of a known key, or it is the first one of the ledger.

    :param unsigned: a person has looked at what was added without a signature.
    """
    if not entries:
        return False
    known = {signer.public: "ledger_signing_key", **(signers or {})}
    if signature_of(ledger, entries[-1], known) is not None:
        return False
    signed = [entry for entry in entries if ledger.signature(entry) is not None]
    if signed and not unsigned:
        raise GatewayError(
            f"{ledger.path(entries[-1].path)}: is not signed, and {ledger.path(signed[-1].path)} before it is: something was added "
            "without the key, or signatures were removed. To sign would vouch for it. Verify the ledger, and run once with "
            "sign_unsigned=true."
        )
    return True
