# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Plots as SVG, drawn by pygal and dressed by the page: they have no script, style or colour of their own, so that the page decides."""

from __future__ import annotations

import traceback
import typing as t
import xml.etree.ElementTree as ET

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import visible

try:
    import pygal
except ImportError:
    pygal = None
    PYGAL_ERROR = traceback.format_exc()
else:
    PYGAL_ERROR = ""

_SVG = "{http://www.w3.org/2000/svg}"
_LABEL = 28
# A value and how it is written; None: unknown, which is no zero.
Value: t.TypeAlias = "tuple[float, str] | None"
# How a number beside the axis is written.
Axis: t.TypeAlias = "t.Callable[[float], str]"


def require_plots() -> None:
    """Raises GatewayError that says what to install."""
    if pygal is None:
        raise GatewayError(f"output_html: {missing_required_lib('pygal')}", exception=PYGAL_ERROR)


def over_time(labels: t.Sequence[str], series: t.Mapping[str, t.Sequence[Value]], name: str, axis: Axis) -> ET.Element:
    """Stacked bars, one per label; as many labels are written as fit."""
    every = max(1, -(-len(labels) // 8))
    chart = pygal.StackedBar(
        **_options(name, axis), width=640, height=240, x_labels_major_every=every, show_minor_x_labels=False, max_scale=6
    )
    chart.x_labels = list(labels)
    return _draw(chart, series)


def bars(labels: t.Sequence[str], series: t.Mapping[str, t.Sequence[Value]], name: str, axis: Axis, width: int = 640) -> ET.Element:
    """Horizontal bars, the first label on top; several series stand on one another."""
    chart = pygal.HorizontalStackedBar(**_options(name, axis), width=width, height=60 + 26 * len(labels), max_scale=6)
    chart.x_labels = [_short(label) for label in reversed(labels)]
    return _draw(chart, {title: list(reversed(values)) for title, values in series.items()})


def _options(name: str, axis: Axis) -> dict[str, t.Any]:
    return {
        "title": None,
        "js": [],
        "css": [],
        "no_prefix": True,
        "show_legend": False,
        "disable_xml_declaration": True,
        "print_values": False,
        "truncate_label": -1,
        "margin": 4,
        "margin_right": 16,
        "spacing": 6,
        "value_formatter": axis,
        "classes": ["plot", f"plot-{name}"],
    }


def _short(label: str) -> str:
    text = visible(label)
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}\u2026"


def _draw(chart: t.Any, series: t.Mapping[str, t.Sequence[Value]]) -> ET.Element:
    for title, values in series.items():
        chart.add(title, [None if value is None else {"value": value[0], "label": f"{title}: {visible(value[1])}"} for value in values])
    root: t.Any = chart.render_tree()
    if not isinstance(root, ET.Element):  # where lxml is installed, pygal draws with it
        root = ET.fromstring(chart.render(is_unicode=True))  # noqa: S314 - pygal drew it just now
    for comment in [child for child in root if child.tag is ET.Comment]:
        root.remove(comment)
    _clean(root)
    root.attrib.pop("id", None)
    root.set("role", "img")
    return t.cast("ET.Element", root)


def _clean(element: ET.Element) -> None:
    """Only shapes and text, without namespaces, which HTML does not know; what a bar stands for becomes its tooltip."""
    element.tag = element.tag.removeprefix(_SVG)
    for attribute in list(element.attrib):
        if attribute.startswith(("{", "data-", "on", "style", "xmlns")):
            del element.attrib[attribute]
    label = next((child.text for child in element if child.tag.removeprefix(_SVG) == "desc" and child.get("class") == "label"), None)
    for child in list(element):
        tag = child.tag.removeprefix(_SVG)
        if tag in ("defs", "desc", "script", "style", "title") or "tooltip" in (child.get("class") or "").split():
            element.remove(child)
        else:
            _clean(child)
    if label:
        title = ET.Element("title")
        title.text = label
        element.insert(0, title)
