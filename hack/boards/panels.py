# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Panels, variables and boards: what all dashboards have in common."""

from __future__ import annotations

import dataclasses
import typing as t

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
# What a panel shows that is empty when all is well. The others have data as soon as there is traffic.
NONE = "none"
ESTIMATE = "An estimate from counters and prices. The report bills: it has the exact cost, what is included, and fees."
SHARE = "percentunit"


@dataclasses.dataclass(frozen=True)
class Query:
    expression: str
    legend: str = ""


Panel = Builder[models.Panel]
AnyPanel = t.TypeVar("AnyPanel", bargauge.Panel, stat.Panel, table.Panel, timeseries.Panel)


def _framed(panel: AnyPanel, title: str, text_: str, width: int, height: int, empty: str) -> AnyPanel:
    panel.title(title).datasource(SOURCE).span(width).height(height)
    if text_:
        panel.description(text_)
    if empty:
        panel.no_value(empty)
    return panel


def _targets(queries: t.Sequence[Query], *, instant: bool, rows: bool = False) -> t.Iterator[prometheus.Dataquery]:
    for number, query in enumerate(queries):
        target = prometheus.Dataquery().datasource(SOURCE).expr(query.expression).ref_id(chr(ord("A") + number)).legend_format(query.legend)
        if instant:
            target.instant().format(PromQueryFormat.TABLE if rows else PromQueryFormat.TIME_SERIES)
        yield target


def figure(
    title: str, expression: str, unit: str = "short", about: str = "", *, width: int = 4, empty: str = "", limits: t.Sequence[float] = ()
) -> Panel:
    """One number. ``limits`` are where it turns yellow, then red."""
    panel = _framed(stat.Panel(), title, about, width, 4, empty).unit(unit)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    for target in _targets([Query(expression)], instant=True):
        panel.with_target(target)
    steps = [
        models.Threshold(color="green"),
        *(models.Threshold(limit, color) for limit, color in zip(limits, ("yellow", "red"), strict=False)),
    ]
    if len(limits) == 1:
        steps[-1].color = "red"
    return panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)).graph_mode(
        kinds.BigValueGraphMode.NONE
    )


def plot(
    title: str, *queries: Query, unit: str = "short", about: str = "", width: int = 12, empty: str = "", stacked: bool = False
) -> Panel:
    """Figures over time."""
    panel = _framed(timeseries.Panel(), title, about, width, 8, empty).unit(unit).min(0).fill_opacity(30 if stacked else 10)
    panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL if stacked else kinds.StackingMode.NONE))
    panel.legend(
        common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).placement(kinds.LegendPlacement.BOTTOM).show_legend(True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    for target in _targets(queries, instant=False):
        panel.with_target(target)
    return panel


def bars(
    title: str, query: Query, unit: str = "short", about: str = "", *, width: int = 12, empty: str = "", limits: t.Sequence[float] = ()
) -> Panel:
    """One bar for each series."""
    panel = _framed(bargauge.Panel(), title, about, width, 8, empty).unit(unit).min(0)
    panel.orientation(kinds.VizOrientation.HORIZONTAL).display_mode(kinds.BarGaugeDisplayMode.GRADIENT)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if limits:
        colors = ("yellow", "orange", "red")
        steps = [models.Threshold(color="green"), *(models.Threshold(limit, color) for limit, color in zip(limits, colors, strict=True))]
        panel.max(1).thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    for target in _targets([query], instant=True):
        panel.with_target(target)
    return panel


def rows(
    title: str,
    about: str = "",
    *,
    width: int = 12,
    empty: str = "",
    columns: t.Mapping[str, str],
    units: t.Mapping[str, str] | None = None,
    **queries: str,
) -> Panel:
    """A table. ``columns`` names the labels and, by its name, each query; ``units`` are by title."""
    panel = _framed(table.Panel(), title, about, width, 8, empty)
    for target in _targets([Query(expression, name) for name, expression in queries.items()], instant=True, rows=True):
        panel.with_target(target)
    values = {f"Value #{chr(ord('A') + number)}" if len(queries) > 1 else "Value": name for number, name in enumerate(queries)}
    titles = {value: columns[name] for value, name in values.items()} | {
        name: title for name, title in columns.items() if name not in queries
    }
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(titles)}}))
    order = {name: number for number, name in enumerate(titles)}
    panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options={"renameByName": titles, "indexByName": order, "excludeByName": {}})
    )
    for column, unit in (units or {}).items():
        panel.override_by_name(column, [models.DynamicConfigValue("unit", unit)])
    return panel


def words(content: str) -> Panel:
    return text.Panel().title("").mode(TextMode.MARKDOWN).content(content).span(WIDTH).height(2).transparent(True)


def choice(name: str, title: str, query: str, *, several: bool = True) -> dashboard.QueryVariable:
    """A variable with the values of a label."""
    variable = dashboard.QueryVariable(name).label(title).datasource(SOURCE)
    variable.query({"query": query, "refId": f"{name}-values"}).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(models.VariableSort.ALPHABETICAL_ASC)
    if several:
        variable.multi(True).include_all(True).all_value(".*").current(models.VariableOption(text="All", value="$__all"))
    return variable


def board(
    uid: str, title: str, about: str, since: str, variables: t.Sequence[dashboard.QueryVariable], *sections: tuple[str, t.Sequence[Panel]]
) -> models.Dashboard:
    alerts = (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr('ALERTS{alertname=~"LLM.+", alertstate="firing"}')
    )
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["llm", "kuadrant.llm"])
        .editable()
        .refresh("1m")
        .time(since, "now")
        .timezone("utc")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .annotations([alerts])
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in variables:
        made.with_variable(variable)
    for name, panels in sections:
        if name:
            made.with_row(dashboard.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made.build()
