# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kuadrant's CEL as the CEL that a stock Envoy evaluates, by rewriting the text in place.

What is accepted here was established by loading and evaluating each construct in Envoy 1.40 (``envoy.rate_limit_descriptors.expr``):
comprehensions and the string extensions do not load at all, string and list concatenation load but fail on every request, and one
expression that does not load would make Envoy reject the whole route configuration. So everything outside the table is refused.
"""

from __future__ import annotations

import re
import typing as t

import lark
import re2  # type: ignore[import-untyped]

from .cel_tree import arguments, literal_string, only, parse

AUTH_NAMESPACE = "envoy.filters.http.ext_authz"
# Where filters put the values that requestBodyJSON() and responseBodyJSON() read; the key is the JSON pointer.
REQUEST_BODY_NAMESPACE = "kuadrant.llm.request_body"
RESPONSE_BODY_NAMESPACE = "kuadrant.llm.response_body"
_AUTH = f"metadata.filter_metadata['{AUTH_NAMESPACE}']"
_HAS_AUTH = f"('{AUTH_NAMESPACE}' in metadata.filter_metadata && "

# Attributes with a value when the request is decided; others (request.duration, response.code, ...) exist only later.
_ATTRIBUTES: dict[str, frozenset[str]] = {
    "request": frozenset(
        ("path", "url_path", "host", "scheme", "method", "headers", "referer", "useragent", "time", "id", "protocol", "query", "size")
    ),
    "source": frozenset(("address", "port")),
    "destination": frozenset(("address", "port")),
    "connection": frozenset(
        (
            "id",
            "mtls",
            "requested_server_name",
            "tls_version",
            "subject_local_certificate",
            "subject_peer_certificate",
            "dns_san_local_certificate",
            "dns_san_peer_certificate",
            "uri_san_local_certificate",
            "uri_san_peer_certificate",
            "sha256_peer_certificate_digest",
        )
    ),
}
_FUNCTIONS = frozenset(("has", "size", "matches", "int", "uint", "double", "bool", "dyn", "timestamp", "duration"))
_METHODS = frozenset(
    (
        "startsWith",
        "endsWith",
        "contains",
        "matches",
        "size",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    )
)
_COMPREHENSIONS = frozenset(("all", "exists", "exists_one", "map", "filter"))
_BODIES = {"requestBodyJSON": REQUEST_BODY_NAMESPACE, "responseBodyJSON": RESPONSE_BODY_NAMESPACE}
# Names of object members: Envoy's filter has no positions in arrays.
_POINTER = re.compile(r"(/(?![0-9]+(/|$))[A-Za-z0-9_.-]+)+")
# Envoy compiles literal patterns when it loads the configuration and rejects larger programs.
_REGEX_PROGRAM_SIZE = 100

_Edit = tuple[int, int, str]


class UntranslatableError(ValueError):
    """The expression says something that a stock Envoy cannot evaluate; the message says what."""


def to_envoy(text: str) -> str:
    """Return ``text`` with every ``auth`` reference pointing at ext_authz's dynamic metadata.

    :raises UntranslatableError: naming the first construct that stock Envoy lacks.
    """
    try:
        tree = parse(text)
    except ValueError as exc:
        raise UntranslatableError(str(exc)) from exc
    rewriter = _Rewriter()
    rewriter.visit(tree)
    return rewriter.apply(text)


def body_pointers(text: str, function: str) -> list[str]:
    """The JSON pointers that a (translatable) expression gives to ``requestBodyJSON`` or ``responseBodyJSON``."""
    tree = parse(text)
    calls = [node for node in tree.find_data("ident_arg") if str(node.children[0]) == function]
    return sorted({pointer for node in calls if (pointer := literal_string(arguments(node)[0])) is not None})


def body_value(namespace: str, pointer: str) -> str:
    """What the function call becomes; null if the body has no such member, as with Kuadrant's filter."""
    return f"metadata.filter_metadata['{namespace}']['{pointer}']"


def mentions_auth(text: str) -> bool:
    """Whether a (valid) expression reads ``auth``."""
    tree = parse(text)
    return any(str(node.children[0]) == "auth" for node in tree.find_data("ident"))


def grouped(text: str) -> str:
    """The expression in parentheses, safe to combine with others even if it ends in a comment."""
    return f"({text}\n)" if "//" in text else f"({text})"


class _Rewriter:
    def __init__(self) -> None:
        self._edits: list[_Edit] = []

    def apply(self, text: str) -> str:
        for start, end, replacement in sorted(self._edits, reverse=True):
            text = text[:start] + replacement + text[end:]
        return text

    def visit(self, node: lark.Tree[t.Any]) -> None:
        handler = getattr(self, f"_{node.data}", None)
        if handler is None:
            self._children(node)
        else:
            handler(node)

    def _children(self, node: lark.Tree[t.Any]) -> None:
        for child in node.children:
            if isinstance(child, lark.Tree):
                self.visit(child)

    # --- names

    def _ident(self, node: lark.Tree[t.Any]) -> None:
        name = str(node.children[0])
        if name in _ATTRIBUTES or name == "auth":
            raise UntranslatableError(f"{name!r} is used as a whole; name one of its fields")
        raise UntranslatableError(f"{name!r} is not an attribute of the data plane")

    def _member_dot(self, node: lark.Tree[t.Any]) -> None:
        operand, field = t.cast("lark.Tree[t.Any]", node.children[0]), str(node.children[1])
        _check_no_body(operand)
        root = _root_of(operand)
        if root is None:
            self.visit(operand)
        else:
            self._attribute(root, field)

    def _member_index(self, node: lark.Tree[t.Any]) -> None:
        operand, index = (t.cast("lark.Tree[t.Any]", child) for child in node.children)
        _check_no_body(operand)
        root = _root_of(operand)
        if root is None:
            self.visit(operand)
        else:
            field = literal_string(index)
            if field is None:
                raise UntranslatableError(f"{str(root)!r} is indexed by something that is not a literal")
            self._attribute(root, field)
        self.visit(index)

    def _attribute(self, root: lark.Token, field: str) -> None:
        name = str(root)
        if name == "auth":
            self._edits.append((_start(root), _start(root) + len(name), _AUTH))
        elif name not in _ATTRIBUTES:
            raise UntranslatableError(f"{name!r} is not an attribute of the data plane")
        elif field not in _ATTRIBUTES[name]:
            raise UntranslatableError(f"stock Envoy has no '{name}.{field}' when a request is decided")

    def _dot_ident(self, _node: lark.Tree[t.Any]) -> None:
        raise UntranslatableError("names with a leading dot are not supported")

    _dot_ident_arg = _dot_ident

    def _member_object(self, _node: lark.Tree[t.Any]) -> None:
        raise UntranslatableError("message construction is not supported")

    # --- functions

    def _ident_arg(self, node: lark.Tree[t.Any]) -> None:
        name = str(node.children[0])
        if name in _BODIES:
            self._body(node, name)
            return
        if name not in _FUNCTIONS:
            raise UntranslatableError(f"stock Envoy has no function {name}()")
        given = arguments(node)
        if name == "has":
            self._has(node, given)
            return
        if name == "matches":
            _check_pattern(given[1] if len(given) == 2 else None)
        self._children(node)

    def _member_dot_arg(self, node: lark.Tree[t.Any]) -> None:
        name = str(node.children[1])
        if name in _COMPREHENSIONS:
            raise UntranslatableError(f"stock Envoy switches comprehensions off, so there is no .{name}()")
        if name not in _METHODS:
            raise UntranslatableError(f"stock Envoy has no method .{name}()")
        if name == "matches":
            given = arguments(node)
            _check_pattern(given[0] if len(given) == 1 else None)
        self._children(node)

    def _body(self, node: lark.Tree[t.Any], name: str) -> None:
        given = arguments(node)
        pointer = literal_string(given[0]) if len(given) == 1 else None
        if pointer is None or not _POINTER.fullmatch(pointer):
            raise UntranslatableError(f"{name}() takes one JSON pointer to an object's member, such as '/model'; not into a list")
        self._edits.append((node.meta.start_pos, node.meta.end_pos, body_value(_BODIES[name], pointer)))

    def _has(self, node: lark.Tree[t.Any], given: list[lark.Tree[t.Any]]) -> None:
        if len(given) != 1 or (select := only(given[0], "member_dot")) is None:
            raise UntranslatableError("has() takes one field selection")
        before = len(self._edits)
        self.visit(select)
        if len(self._edits) > before:
            # Without an authenticated request the namespace itself is missing, which would be an error and not 'false'.
            self._edits.append((node.meta.start_pos, node.meta.start_pos, _HAS_AUTH))
            self._edits.append((node.meta.end_pos, node.meta.end_pos, ")"))

    # --- operators and literals

    def _addition_add(self, _node: lark.Tree[t.Any]) -> None:
        raise UntranslatableError("stock Envoy switches concatenation off, so there is no +")

    def _literal(self, node: lark.Tree[t.Any]) -> None:
        token = t.cast("lark.Token", node.children[0])
        if token.type == "BYTES_LIT":
            raise UntranslatableError("bytes literals are not supported")
        if token.type in ("STRING_LIT", "MLSTRING_LIT") and token[0] in "rR" and ("\\'" in token or '\\"' in token):
            # Two CEL parsers may disagree on where such a literal ends.
            raise UntranslatableError("raw strings with an escaped quote are not supported")


def _start(token: lark.Token) -> int:
    return t.cast("int", token.start_pos)


def _root_of(operand: lark.Tree[t.Any]) -> lark.Token | None:
    """The identifier that ``operand`` consists of, or None."""
    ident = None if only(operand, "paren_expr") else only(operand, "ident")
    return None if ident is None else t.cast("lark.Token", ident.children[0])


def _check_no_body(operand: lark.Tree[t.Any]) -> None:
    call = only(operand, "ident_arg")
    if call is not None and str(call.children[0]) in _BODIES:
        raise UntranslatableError(f"{call.children[0]}() gives texts, numbers and truth values only; put the whole path into its pointer")


def _check_pattern(argument: lark.Tree[t.Any] | None) -> None:
    pattern = None if argument is None else literal_string(argument)
    if pattern is None:
        raise UntranslatableError("the pattern of matches() must be one string literal")
    try:
        size = re2.compile(pattern).programsize
    except re2.error as exc:
        raise UntranslatableError(f"the pattern {pattern!r} is not a valid RE2 regular expression") from exc
    if size > _REGEX_PROGRAM_SIZE:
        raise UntranslatableError(f"the pattern {pattern!r} is too large (RE2 program size {size}, Envoy allows {_REGEX_PROGRAM_SIZE})")
