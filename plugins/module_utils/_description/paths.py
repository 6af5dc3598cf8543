# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The paths that users write in ``llm_gateway_paths``: what of a model server a route leads to. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems

PATHS = "llm_gateway_paths"
ORIGINS = "llm_gateway_cors_origins"

# What a route of Gateway API 1.4 can hold (HTTPRoute: rules, matches, and the rule over all of its matches).
MATCHES_OF_RULE = 64
# Two are left for GET /v1/usage, the usage of users, and for what a browser asks about that.
MATCHES_OF_ROUTE = 126

# The most that it takes as the value of a header.
HEADER_VALUE = 4096

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
ANY = "ANY"
EVERYTHING = "/*"

# No percent sign: what a model server makes of %2f and %2e is its own affair, and a path must mean the same to it and to the gateway.
_SEGMENT = re.compile(r"[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*")
_PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
# What a browser calls the origin of a page: no path, not even a slash.
_ORIGIN = re.compile(r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:@%\[\]-]+")
# One segment that a client chooses. It begins with none of the dots that lead elsewhere.
_ANY_SEGMENT = "[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*"


@dataclasses.dataclass(frozen=True)
class Path:
    """A path as it is written, and the methods that it is answered to; none: all methods."""

    text: str
    methods: tuple[str, ...]

    def matches(self, origins: t.Sequence[str] = ()) -> list[dict[str, t.Any]]:
        """As matches of an HTTPRoute. Exact ones wherever nothing is left to the client: no slash, dot or escape leads past those.

        :param origins: of web pages that may ask what they may send. Such a preflight request, which the gateway answers by itself,
            matches; any other one with OPTIONS does so only if that is one of the methods.
        """
        path = {"type": "Exact", "value": self.text}
        if self.text == EVERYTHING:
            path = {"type": "PathPrefix", "value": "/"}
        elif _PLACEHOLDER.search(self.text) or self.text.endswith("/*"):
            segments = ["*" if one == "*" else _pattern(one) for one in self.text.removeprefix("/").split("/")]
            more = f"(/{_ANY_SEGMENT})+" if segments[-1] == "*" else ""
            path = {"type": "RegularExpression", "value": "".join(f"/{one}" for one in segments if one != "*") + more}
        found: list[dict[str, t.Any]] = [{"path": path, "method": method} for method in self.methods] or [{"path": path}]
        if origins and self.methods and "OPTIONS" not in self.methods:
            found.append({"path": path, "method": "OPTIONS", "headers": _preflight(origins)})
        return found


def parse_paths(raw: t.Any, problems: Problems | None = None, origins: t.Sequence[str] = ()) -> list[Path]:
    """Read ``[{path: /v1/models, methods: [GET]}]``; methods are ``[POST]`` if they are left out, ``[ANY]`` means all.

    A segment ``{name}`` is one that the client chooses, and ``/*`` at the end is one or more of them; ``/*`` alone is every path.

    :param problems: where to add what is wrong.
    :param origins: of web pages that may call the gateway, as in ``llm_gateway_cors_origins``; their questions take room in the route.
    :raises GatewayError: listing what is wrong, if there are no ``problems`` to add it to.
    """
    found: dict[str, Path] = {}
    collected = Problems() if problems is None else problems
    for index, entry in collected.entries(PATHS, raw):
        at = collected.at(f"{PATHS}[{index}]")
        at.only_fields(entry, ("path", "methods"))
        text = at.text(entry, "path")
        methods = _read_methods(entry.get("methods"), at)
        wrong = _problem(text) if text else None
        if wrong:
            at.add("path", f"{text!r} {wrong}")
        elif text and methods is not None:
            before = found.get(text)
            if before:
                methods = () if not methods or not before.methods else tuple(dict.fromkeys((*before.methods, *methods)))
            found[text] = Path(text, methods)
    pages = _checked(origins, collected)
    count = sum(len(path.matches(pages)) for path in found.values())
    if count > MATCHES_OF_ROUTE:
        collected.add(PATHS, f"has {count} pairs of path and method, and a route holds {MATCHES_OF_ROUTE}; join some by a segment {{name}}")
    if problems is None:
        collected.raise_if_any()
    return list(found.values())


def route_rules(paths: t.Sequence[Path], rule: t.Mapping[str, t.Any], origins: t.Sequence[str] = ()) -> list[dict[str, t.Any]]:
    """Rules of an HTTPRoute that lead ``paths`` where ``rule`` (filters, backendRefs) says: one, or more where one cannot hold them.

    :param origins: of web pages that may call the gateway.
    """
    matches = [match for path in paths for match in path.matches(origins)]
    chunks = [matches[start : start + MATCHES_OF_RULE] for start in range(0, len(matches), MATCHES_OF_RULE)]
    return [{"matches": chunk, **rule} for chunk in chunks]


def _preflight(origins: t.Sequence[str]) -> list[dict[str, str]]:
    """What a preflight request has that Envoy's CORS filter answers: so none that matches goes any further.

    No backslash: Kuadrant's operator puts the value into an expression as it is, where that would begin an escape.
    """
    origin = ".+" if "*" in origins else "|".join(re.sub(r"[^A-Za-z0-9:/_~@%-]", r"[\g<0>]", one) for one in origins)
    told = {"access-control-request-method": ".+", "origin": origin}
    return [{"name": name, "type": "RegularExpression", "value": value} for name, value in told.items()]


def _checked(origins: t.Sequence[str], problems: Problems) -> t.Sequence[str]:
    """``origins``, or none if something is wrong with them."""
    for one in origins:
        if not isinstance(one, str) or not _ORIGIN.fullmatch(one):
            problems.add(ORIGINS, f"{one!r} must be an origin as browsers send it, such as https://chat.example.com, without a path, or *")
            return ()
    size = max((len(header["value"]) for header in _preflight(origins)), default=0)
    if size > HEADER_VALUE:
        problems.add(ORIGINS, f"is {size} characters long as one pattern, and a route holds {HEADER_VALUE}; name fewer, or *")
    return origins


def _pattern(segment: str) -> str:
    return _ANY_SEGMENT if _PLACEHOLDER.fullmatch(segment) else segment.replace(".", "[.]")


def _problem(text: str) -> str | None:
    if text == EVERYTHING:
        return None
    if not text.startswith("/"):
        return "must start with a slash"
    segments = text.removeprefix("/").split("/")
    if segments[-1] == "*":
        segments.pop()
    for segment in segments:
        if not segment:
            return "has an empty segment: write no slash at the end and no two in a row"
        if not _SEGMENT.fullmatch(segment) and not _PLACEHOLDER.fullmatch(segment):
            allowed = "letters, digits and . _ ~ : @ - are understood, not a dot first, or {name} for any one, or /* last"
            return f"has the segment {segment!r}: {allowed}"
    return None


def _read_methods(value: t.Any, at: At) -> tuple[str, ...] | None:
    if value is None:
        return ("POST",)
    if not isinstance(value, list) or not value:
        at.add("methods", f"{value!r} must be a list of methods, such as [GET, POST], or [ANY]")
        return None
    unknown = [one for one in value if one not in (*METHODS, ANY)]
    if unknown:
        at.add("methods", f"{unknown[0]!r} is none of {', '.join(METHODS)} and {ANY}")
        return None
    return () if ANY in value else tuple(dict.fromkeys(value))
