# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Syntax trees of CEL expressions, as the parser of celpy makes them."""

from __future__ import annotations

import ast
import typing as t

import lark
from celpy import celparser


def parse(text: str) -> lark.Tree[t.Any]:
    """:raises ValueError: if it is not valid CEL."""
    try:
        return t.cast("lark.Tree[t.Any]", celparser.CELParser().parse(text))
    except celparser.CELParseError as exc:
        raise ValueError("it is not valid CEL") from exc


def only(node: t.Any, *names: str) -> lark.Tree[t.Any] | None:
    """Descend through nodes with one child until one of ``names`` is met."""
    while isinstance(node, lark.Tree):
        if node.data in names:
            return node
        if len(node.children) != 1:
            return None
        node = node.children[0]
    return None


def arguments(node: lark.Tree[t.Any]) -> list[lark.Tree[t.Any]]:
    lists = [child for child in node.children if isinstance(child, lark.Tree) and child.data == "exprlist"]
    return [t.cast("lark.Tree[t.Any]", argument) for exprlist in lists for argument in exprlist.children]


def literal_string(node: lark.Tree[t.Any]) -> str | None:
    literal = only(node, "literal")
    if literal is None:
        return None
    token = t.cast("lark.Token", literal.children[0])
    if token.type != "STRING_LIT":
        return None
    try:
        return t.cast("str", ast.literal_eval(str(token)))
    except (SyntaxError, ValueError):
        return None
