# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A resolver for Envoy's STRICT_DNS clusters: everything under svc.cluster.local is this machine, everything else is refused at once."""

from __future__ import annotations

import dnslib  # type: ignore[import-untyped]
from dnslib import server

_ZONE = dnslib.DNSLabel("svc.cluster.local")
_ADDRESS = "127.0.0.1"
_TTL = 30


class _Resolver(server.BaseResolver):
    def resolve(self, request: dnslib.DNSRecord, handler: object) -> dnslib.DNSRecord:  # noqa: ARG002 - the signature is the base class'
        return answer(request)


def answer(request: dnslib.DNSRecord) -> dnslib.DNSRecord:
    """A: 127.0.0.1; other types of a name in the zone: no data; other names: REFUSED."""
    reply = request.reply()
    question = request.q
    if not question.qname.matchSuffix(_ZONE):
        reply.header.rcode = dnslib.RCODE.REFUSED
    elif question.qtype == dnslib.QTYPE.A:
        reply.add_answer(dnslib.RR(question.qname, dnslib.QTYPE.A, rdata=dnslib.A(_ADDRESS), ttl=_TTL))
    return reply


def serve(port: int) -> None:
    """Serve UDP on loopback in a daemon thread. :raises OSError: if the port is taken."""
    server.DNSServer(
        _Resolver(), port=port, address=_ADDRESS, logger=server.DNSLogger(log="-request,-reply,-truncated,-error")
    ).start_thread()
