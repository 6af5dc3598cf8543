# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits that a stock Envoy cannot evaluate are evaluated by the limiter, with the engine and the rules of Kuadrant's filter. Pure.

The request's descriptor then has the limits as Kuadrant's filter would read them (the program), and an entry for each input that they read.
The limiter's side is ``src/program.rs`` of the custom Limitador.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

import lark

from . import cel, envoy
from .cel_tree import arguments, literal_string, only, parse
from .refusals import UNTRANSLATABLE_EXPRESSION, RefusedError

if t.TYPE_CHECKING:
    from .conditionals import Conditional

PROGRAM = "kuadrant.llm/program"
_INPUT = "kuadrant.llm/in/"

# Attributes that stock Envoy and Kuadrant's filter (wasm-shim 0.14.1) both have when a request is decided.
_ATTRIBUTES = {
    "request": frozenset(
        ("path", "url_path", "host", "scheme", "method", "headers", "referer", "useragent", "time", "id", "protocol", "query", "size")
    ),
    "source": frozenset(("address", "port")),
    "destination": frozenset(("address", "port")),
}
_FUNCTIONS = frozenset(("has", "size", "string", "bytes", "double", "int", "uint", "timestamp", "duration", "requestBodyJSON"))
_MACROS = frozenset(("all", "exists", "exists_one", "map", "filter"))
# CEL's own, and what the filter adds.
# CEL's own, those of times, and what the filter adds.
_METHODS = frozenset(
    (
        *("startsWith", "endsWith", "contains", "matches", "size"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
        *("charAt", "indexOf", "join", "lastIndexOf", "lowerAscii", "upperAscii", "trim", "replace", "split", "substring"),
    )
)
_REMEDY = "Write it with what Kuadrant's filter has, or let the AuthPolicy compute a property (response.success.filters) and compare that."
_POINTER = re.compile(r"(/(?![0-9]+(/|$))[A-Za-z0-9_.-]+)+")


@dataclasses.dataclass(frozen=True)
class Action:
    """One call to the limiter as Kuadrant's filter would make it; ``deny``: refuse the request where it cannot be evaluated."""

    predicates: tuple[str, ...]
    conditionals: tuple[Conditional, ...]
    deny: bool


def entries(actions: t.Sequence[Action]) -> list[dict[str, t.Any]]:
    """The entries of a descriptor that let the limiter evaluate ``actions``.

    :raises RefusedError: naming the limit and the expression that it could not evaluate either.
    """
    inputs: set[str] = set()
    for action in actions:
        for conditional in action.conditionals:
            for text, where in conditional.texts:
                try:
                    inputs |= inputs_of(text)
                except cel.UntranslatableError as exc:
                    raise RefusedError(UNTRANSLATABLE_EXPRESSION, f"{where} is {text!r}: {exc}. {_REMEDY}", conditional.action) from exc
    attributes = sorted(name for name in inputs if "." in name)
    program = {"actions": [_action(action) for action in actions], "attributes": attributes}
    found = [envoy.constant_entry(PROGRAM, json.dumps(program, separators=(",", ":")))]
    found += [envoy.entry(f"{_INPUT}{name}", _attribute(name)) for name in attributes]
    found += [envoy.entry(f"{_INPUT}{name}", f"filter_state['{envoy.STATES[name]}']") for name in ("auth", "body") if name in inputs]
    return found


def inputs_of(text: str) -> set[str]:
    """What an expression reads: ``auth``, ``body``, attributes such as ``request.method``, and headers as ``request.headers/x-team``.

    :raises cel.UntranslatableError: naming the first construct that the limiter, too, cannot evaluate.
    """
    try:
        tree = parse(text)
    except ValueError as exc:
        raise cel.UntranslatableError(str(exc)) from exc
    reader = _Reader()
    reader.visit(tree, frozenset())
    return reader.inputs


def guards_of(text: str) -> set[str]:
    """The headers that a (valid) expression asks for with ``in`` or ``has()``, named as by :func:`inputs_of`."""
    tree = parse(text)
    found = set()
    for call in tree.find_data("ident_arg"):
        if str(call.children[0]) == "has" and (path := _path(arguments(call)[0])) and path[:2] == ["request", "headers"]:
            found.add("request.headers/" + path[-1])
    for relation in tree.find_data("relation"):
        if name := _asked_header(relation):
            found.add(f"request.headers/{name}")
    return found


def _action(action: Action) -> dict[str, t.Any]:
    items = [{"when": list(c.predicates), "data": [list(pair) for pair in c.data]} for c in action.conditionals]
    return {"when": list(action.predicates), "items": items, "deny": action.deny}


def _attribute(name: str) -> str:
    path, _slash, header = name.partition("/")
    return f"{path}[{json.dumps(header)}]" if header else path


class _Reader:
    def __init__(self) -> None:
        self.inputs: set[str] = set()

    def visit(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        handler = getattr(self, f"_{node.data}", self._children)
        handler(node, bound)

    def _children(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        for child in node.children:
            if isinstance(child, lark.Tree):
                self.visit(child, bound)

    def _ident(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        self._read([str(node.children[0])], bound)

    def _member_dot(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        path = _path(node)
        if path is None:
            self._children(node, bound)
        else:
            self._read(path, bound)

    def _member_index(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        path = _path(node)
        if path is None:
            self._children(node, bound)
        else:
            self._read(path, bound)

    def _read(self, path: list[str], bound: frozenset[str]) -> None:
        root = path[0]
        if root in bound:
            return
        if root == "auth":
            self.inputs.add("auth")
            return
        if root not in _ATTRIBUTES:
            raise cel.UntranslatableError(f"Kuadrant's filter has no {root!r} when a request is decided")
        if len(path) == 1:
            raise cel.UntranslatableError(f"{root!r} is used as a whole; name one of its fields")
        if path[1] not in _ATTRIBUTES[root]:
            raise cel.UntranslatableError(f"there is no '{root}.{path[1]}' when a request is decided")
        if path[:2] != ["request", "headers"]:
            self.inputs.add(f"{root}.{path[1]}")
        elif len(path) == 2:
            raise cel.UntranslatableError("'request.headers' is used as a whole; name single headers")
        else:
            self.inputs.add(f"request.headers/{path[2]}")

    def _relation(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        if name := _asked_header(node):
            self.inputs.add(f"request.headers/{name}")
        else:
            self._children(node, bound)

    def _ident_arg(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        name = str(node.children[0])
        if name not in _FUNCTIONS:
            raise cel.UntranslatableError(f"Kuadrant's filter has no function {name}()")
        if name == "requestBodyJSON":
            given = arguments(node)
            pointer = literal_string(given[0]) if len(given) == 1 else None
            if pointer is None or not _POINTER.fullmatch(pointer):
                raise cel.UntranslatableError(f"{name}() takes one JSON pointer to an object's member, such as '/model'; not into a list")
            self.inputs.add("body")
        self._children(node, bound)

    def _member_dot_arg(self, node: lark.Tree[t.Any], bound: frozenset[str]) -> None:
        name = str(node.children[1])
        if name in _MACROS:
            variable, *rest = arguments(node)
            ident = only(variable, "ident")
            if ident is None:
                raise cel.UntranslatableError(f".{name}() takes the name of a variable first")
            self.visit(t.cast("lark.Tree[t.Any]", node.children[0]), bound)
            for argument in rest:
                self.visit(argument, bound | {str(ident.children[0])})
            return
        if name not in _METHODS:
            raise cel.UntranslatableError(f"Kuadrant's filter has no method .{name}()")
        self._children(node, bound)

    def _dot_ident(self, _node: lark.Tree[t.Any], _bound: frozenset[str]) -> None:
        raise cel.UntranslatableError("names with a leading dot are not supported")

    _dot_ident_arg = _dot_ident

    def _member_object(self, _node: lark.Tree[t.Any], _bound: frozenset[str]) -> None:
        raise cel.UntranslatableError("message construction is not supported")


def _asked_header(relation: lark.Tree[t.Any]) -> str | None:
    """``x-team`` for ``"x-team" in request.headers``, None for anything else."""
    membership = relation.children[0]
    if not isinstance(membership, lark.Tree) or membership.data != "relation_in" or len(relation.children) != 2:
        return None
    if _path(t.cast("lark.Tree[t.Any]", relation.children[1])) != ["request", "headers"]:
        return None
    return literal_string(t.cast("lark.Tree[t.Any]", membership.children[0]))


def _path(node: lark.Tree[t.Any]) -> list[str] | None:
    """``["request", "headers", "x-team"]`` for a chain of fields and literal indices on a name; None for anything else."""
    found = only(node, "member_dot", "member_index", "ident")
    if found is None:
        return None
    if found.data == "ident":
        return [str(found.children[0])]
    operand, last = found.children
    path = _path(t.cast("lark.Tree[t.Any]", operand))
    field = literal_string(t.cast("lark.Tree[t.Any]", last)) if found.data == "member_index" else str(last)
    return None if path is None or field is None else [*path, field]
