# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A certificate for trying: signed by an authority that exists only while it signs this one.

Clients trust the authority's certificate, and its key is forgotten, so nobody can sign another certificate that they would trust.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import traceback
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tls import is_address
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

IMPORT_ERROR: str | None = None
try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

# Clocks of clients may be behind.
_BEFORE = dt.timedelta(hours=1)
_AUTHORITY = "kuadrant.llm, an authority for one certificate"


@dataclasses.dataclass(frozen=True)
class Issued:
    """PEM texts: the key, the certificate, and the authority that signed it."""

    key: bytes = dataclasses.field(repr=False)
    certificate: bytes
    authority: bytes


def issue(names: t.Sequence[str], days: int, now: dt.datetime) -> Issued:
    """A new key with a certificate for ``names`` (hostnames and IP addresses), valid for so many days.

    The extensions are those that RFC 5280 asks for, as strict clients (Python 3.13) do.
    """
    if not names:
        raise GatewayError("A certificate without a name is of no use. Give at least one hostname or IP address.")
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _AUTHORITY)])
    until = now + dt.timedelta(days=days)
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(issuer, issuer, authority_key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kuadrant.llm")])
    certificate = (
        _builder(subject, issuer, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = serialization.Encoding.PEM
    return Issued(secret, certificate.public_bytes(pem), authority.public_bytes(pem))


def why_renew(certificate: bytes, names: t.Sequence[str], days: int, now: dt.datetime) -> str | None:
    """Why the certificate cannot stay: other names, or not so many days left; None if it can."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
        listed = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return "it cannot be read"
    has = {str(name.value) for name in listed}
    if has != {str(_name(name).value) for name in names}:
        return f"it is for {', '.join(sorted(has))}"
    if found.not_valid_after_utc < now + dt.timedelta(days=days):
        return f"it ends at {found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    return None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, until: dt.datetime
) -> x509.CertificateBuilder:
    named = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return named.serial_number(x509.random_serial_number()).not_valid_before(now - _BEFORE).not_valid_after(until)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name)
