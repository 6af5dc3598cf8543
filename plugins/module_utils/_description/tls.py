# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What users write in ``llm_gateway_tls``: where the certificate of a Gateway comes from. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import kind_of

TLS: t.Final = "llm_gateway_tls"

#: Where a certificate comes from: a Secret that is there, an issuer of cert-manager, or this collection.
SOURCES: t.Final = ("secret", "issuer", "self_signed")
ISSUER_KINDS: t.Final = ("Issuer", "ClusterIssuer")
HTTPS_PORT: t.Final = 443

_FIELDS = (*SOURCES, "hostnames", "port", "redirect")
# RFC 1123 with a wildcard as the first label, as certificates and listeners have it.
_HOSTNAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclasses.dataclass(frozen=True)
class Tls:
    """One source of SOURCES, the names that the certificate is for, the port of the listener, whether HTTP leads to it."""

    source: str
    hostnames: tuple[str, ...]
    port: int
    redirect: bool


def parse_tls(raw: t.Any, problems: Problems | None = None) -> Tls | None:
    """Read ``{secret: name}``, ``{issuer: {name, kind}}`` or ``{self_signed: true}``, each with ``hostnames``, ``port`` and ``redirect``.

    Nothing, or an empty dictionary, is no TLS.

    :param problems: where to add what is wrong.
    :raises GatewayError: listing what is wrong, if there are no ``problems`` to add it to.
    """
    collected = Problems() if problems is None else problems
    found = _read(raw, collected) if raw else None
    if problems is None:
        collected.raise_if_any()
    return found


def is_address(name: str) -> bool:
    """Whether a name of a certificate is an IP address, which stands in another place of it than a hostname."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _read(raw: t.Any, problems: Problems) -> Tls | None:
    if not isinstance(raw, dict):
        problems.add(TLS, f"must be a dictionary such as {{self_signed: true}}, not {kind_of(raw)}")
        return None
    before = len(problems.messages)
    at = problems.at(TLS)
    at.only_fields(raw, _FIELDS)
    given = [source for source in SOURCES if raw.get(source)]
    if len(given) != 1:
        problems.add(TLS, f"needs one of {', '.join(SOURCES)}, and {'has ' + ' and '.join(given) if given else 'has none'}")
    if raw.get("secret") is not None:
        at.text(raw, "secret")
    issuer = raw.get("issuer")
    if issuer is not None and not isinstance(issuer, dict):
        at.add("issuer", f"must be a dictionary such as {{name: letsencrypt, kind: ClusterIssuer}}, not {kind_of(issuer)}")
    elif issuer:
        inside = at.under("issuer")
        inside.only_fields(issuer, ("name", "kind", "group"))
        inside.text(issuer, "name")
        if not issuer.get("group") and (issuer.get("kind") or ISSUER_KINDS[0]) not in ISSUER_KINDS:
            inside.add("kind", f"{issuer['kind']!r} is none of {' and '.join(ISSUER_KINDS)}; an issuer of another kind needs its group")
    names = raw.get("hostnames") or []
    if not isinstance(names, (list, tuple)):
        at.add("hostnames", f"must be a list, not {kind_of(names)}")
        names = []
    for name in names:
        if not isinstance(name, str) or not (is_address(name) or _HOSTNAME.fullmatch(name)):
            at.add("hostnames", f"{name!r} is neither a hostname, such as llm.example.com or *.example.com, nor an IP address")
    if given == ["issuer"] and not names:
        at.add("hostnames", "is required with issuer: cert-manager makes no certificate without names")
    port = raw.get("port") or HTTPS_PORT
    if isinstance(port, bool) or not str(port).isdecimal() or not 1 <= int(port) <= 65535:
        at.add("port", f"{port!r} is no port: a number from 1 to 65535")
    if len(problems.messages) > before:
        return None
    return Tls(given[0], tuple(names), int(port), bool(raw.get("redirect", True)))
