# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Elements of the page: trees, so that whatever they contain is escaped when they are written."""

from __future__ import annotations

import html
import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import visible

Child: t.TypeAlias = "ET.Element | str | None"
#: The report, or one entry of it.
ReportPart: t.TypeAlias = "t.Mapping[str, t.Any]"


# Elements that have no end, and one whose text is none of HTML.
_VOID, _RAW = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "wbr"}), "style"
# A table of more columns than these is too wide for a tablet.
_MANY = 7


def html_text(root: ET.Element) -> str:
    """The tree as ElementTree writes HTML, but in a third of the time: the page has no namespaces, which it looks for in each element."""
    written: list[str] = []
    _write(root, written.append)
    return "".join(written)


def _write(element: ET.Element, write: t.Callable[[str], t.Any]) -> None:
    tag, text, attributes = element.tag, element.text, element.attrib
    if attributes:
        listed = "".join([f' {name}="{_quoted(value)}"' for name, value in attributes.items()])
        write(f"<{tag}{listed}>")
    else:
        write(f"<{tag}>")
    if text:
        write(text if tag == _RAW else html.escape(text, quote=False))
    for child in element:
        _write(child, write)
    if tag not in _VOID:
        write(f"</{tag}>")
    if element.tail:
        write(html.escape(element.tail, quote=False))


def _quoted(value: str) -> str:
    return value.replace("&", "&amp;").replace(">", "&gt;").replace('"', "&quot;")


def h(tag: str, attributes: dict[str, str], *children: Child) -> ET.Element:
    """One element; text is made visible, and escaped when the tree is written."""
    element = ET.Element(tag, attributes)
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, str):
            text = child if tag == "style" else visible(child)
            if last is None:
                element.text = (element.text or "") + text
            else:
                last.tail = (last.tail or "") + text
        elif child is not None:
            element.append(child)
            last = child
    return element


def figure(title: str, lead: str, svg: ET.Element, series: t.Mapping[str, t.Any]) -> ET.Element:
    svg.set("aria-label", title)
    keys = [h("span", {"class": f"key key-{number}"}, name) for number, name in enumerate(series)] if len(series) > 1 else []
    return h(
        "figure",
        {"class": "wide"} if (svg.get("viewBox") or "").split()[2:3] == ["1320"] else {},
        h("figcaption", {}, h("h2", {}, title), h("p", {}, lead, " ", *keys)),
        svg,
    )


def table(
    heads: t.Sequence[str],
    body: t.Iterable[t.Sequence[Child]],
    *,
    text: int,
    numbers: int | None = None,
    foot: t.Iterable[t.Sequence[Child]] = (),
    ids: str = "",
) -> ET.Element:
    """The first ``text`` columns go left, the following ``numbers``, or all, go right; rows get the ids ``<ids>1``, ``<ids>2``, ...

    Each cell has the head of its column as ``data-label``: a narrow screen shows each row as a card, where the heads are far away.
    """
    right = range(text, len(heads) if numbers is None else text + numbers)

    def cell(tag: str, column: int, content: Child) -> ET.Element:
        attributes = {"class": "number"} if column in right else {}
        if tag == "td" and heads[column]:
            attributes["data-label"] = heads[column]
        # In a card, what is empty needs no line.
        if tag == "td" and (content is None or content == ""):
            attributes["class"] = f"{attributes.get('class', '')} empty".strip()
        return h(tag, attributes, content)

    def row(tag: str, cells: t.Sequence[Child], number: int = 0) -> ET.Element:
        return h(
            "tr", {"id": f"{ids}{number}"} if ids and number else {}, *(cell(tag, column, content) for column, content in enumerate(cells))
        )

    bottom = [row("td", cells) for cells in foot]
    element = h(
        "table",
        {"class": "wide"} if len(heads) > _MANY else {},
        h("thead", {}, row("th", list(heads))),
        h("tbody", {}, *(row("td", cells, number) for number, cells in enumerate(body, 1))),
        h("tfoot", {}, *bottom) if bottom else None,
    )
    return h("div", {"class": "scroll"}, element)
