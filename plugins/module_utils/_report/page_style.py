# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""How the page looks: on a light and on a dark screen, and on paper. Colours of the series keep their contrast in both."""

from __future__ import annotations

_STYLE = """
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #1a2230; --muted: #5b6678; --rule: #dfe3ea; --accent: #1f4e8c;
  --c0: #2f6db5; --c1: #d98324; --c2: #7a8798; --good: #1e7a4c; --warn: #a15c00; --bad: #b3261e; --mark: #fff6d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161d; --card: #1a202a; --ink: #e6eaf0; --muted: #9aa6b6; --rule: #2c3542; --accent: #8ab8f0;
    --c0: #5b9be6; --c1: #eaa04b; --c2: #8b97a8; --good: #5cc591; --warn: #e0a64f; --bad: #f0857d; --mark: #3a3418;
  }
}
* { box-sizing: border-box; }
html { background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
body { margin: 0 auto; max-width: 1180px; padding: 2rem 1.5rem 4rem; }
header { border-bottom: 2px solid var(--ink); margin-bottom: 1.5rem; padding-bottom: .75rem; }
h1 { font-size: 1.9rem; letter-spacing: -.01em; line-height: 1.2; margin: 0; }
h2 { font-size: 1.05rem; margin: 0; }
h3 { font-size: .95rem; margin: 1rem 0 0; }
p { margin: 0; }
a { color: var(--accent); text-underline-offset: 2px; }
.provider { color: var(--muted); font-size: .8rem; letter-spacing: .08em; overflow-wrap: anywhere; text-transform: uppercase; }
.period { color: var(--muted); font-variant-numeric: tabular-nums; }
.badge { border: 1px solid currentColor; border-radius: 1em; font-size: .78rem; padding: .05em .7em; white-space: nowrap; }
.good { color: var(--good); } .warn { color: var(--warn); }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; margin-bottom: 1.25rem; padding: 1.1rem 1.25rem; }
section > h2 { font-size: 1.2rem; }
.lead { color: var(--muted); margin-bottom: .6rem; max-width: 78ch; }
.part { font-size: 1.05rem; font-weight: 600; overflow-wrap: anywhere; }
.parties { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
.parties h2 { color: var(--muted); font-size: .8rem; letter-spacing: .04em; text-transform: uppercase; }
.parties p, .parties dd { overflow-wrap: anywhere; } .parties .name { font-weight: 600; }
dl { display: grid; gap: .1rem .9rem; grid-template-columns: max-content 1fr; margin: 0; } dt { color: var(--muted); } dd { margin: 0; }
.pay td:first-child { white-space: nowrap; } .scroll + .note { margin-top: .6rem; }
.tiles { background: none; border: 0; display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
  padding: 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-left: 3px solid var(--accent); border-radius: 6px;
  padding: .8rem 1rem; }
.tile h2 { color: var(--muted); font-size: .8rem; font-weight: 600; letter-spacing: .04em; text-transform: uppercase; }
.tile p { color: var(--muted); font-size: .82rem; overflow-wrap: anywhere; }
.tile .figure { color: var(--ink); font-size: 1.55rem; font-variant-numeric: tabular-nums; font-weight: 650; line-height: 1.35; }
.plots { background: none; border: 0; display: grid; gap: 1.1rem; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr));
  padding: 0; }
figure { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; margin: 0; padding: .9rem 1rem .6rem; }
.wide { grid-column: 1 / -1; }
figcaption p { color: var(--muted); font-size: .82rem; margin-bottom: .3rem; }
.key { display: inline-block; margin-right: .8em; white-space: nowrap; }
.key::before { background: var(--c0); border-radius: 2px; content: ""; display: inline-block; height: .7em; margin-right: .4em;
  width: .7em; }
.key-1::before { background: var(--c1); } .key-2::before { background: var(--c2); }
svg.plot { display: block; height: auto; width: 100%; }
svg text { fill: var(--muted); font: 11px system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; font-variant-numeric: tabular-nums;
  stroke: none; }
svg .background { fill: none; }
svg .axis .line { fill: none; stroke: var(--rule); stroke-width: 1; }
svg .axis.x text { text-anchor: middle; } svg .axis.y text { text-anchor: end; }
svg .vertical .axis.x .guide, svg .vertical .axis.x .line, svg .horizontal .axis.y .guide, svg .horizontal .axis.y .line { stroke: none; }
svg .color-0 { fill: var(--c0); } svg .color-1 { fill: var(--c1); } svg .color-2 { fill: var(--c2); }
svg .reactive:hover { filter: brightness(1.15); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; }
th, td { border-bottom: 1px solid var(--rule); max-width: 22em; overflow-wrap: break-word; padding: .38rem .5rem; text-align: left;
  vertical-align: top; }
code { font-size: .85em; overflow-wrap: anywhere; }
td .more { color: var(--muted); display: block; font-size: .92em; }
th { color: var(--muted); font-size: .76rem; font-weight: 600; letter-spacing: .03em; vertical-align: bottom; }
.number { font-variant-numeric: tabular-nums; overflow-wrap: normal; text-align: right; white-space: nowrap; }
tbody tr:hover { background: color-mix(in srgb, var(--accent) 7%, transparent); }
tr:target, li:target { background: var(--mark); }
tfoot td { border-bottom: 0; border-top: 2px solid var(--ink); font-weight: 600; }
ul, ol { margin: .5rem 0; overflow-wrap: anywhere; padding-left: 1.6rem; }
.notes, .plain { color: var(--muted); font-size: .86rem; }
progress { accent-color: var(--good); height: .8rem; vertical-align: middle; width: 9rem; }
progress.near { accent-color: var(--warn); } progress.over { accent-color: var(--bad); }
@media screen and (max-width: 900px) {
  .plots { grid-template-columns: 1fr; }
CARDS_OF_WIDE
}
@media screen and (max-width: 700px) {
  body { padding: 1rem .75rem 3rem; } h1 { font-size: 1.5rem; }
  section { padding: .9rem .8rem; } .tiles { gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); padding: 0; }
  .tile { padding: .7rem .75rem; } .tile .figure { font-size: 1.2rem; }
CARDS_OF_ALL
}
@media print {
  :root {
    --page: #ffffff; --card: #ffffff; --ink: #000000; --muted: #444444; --rule: #bbbbbb; --accent: #000000;
    --c0: #2f6db5; --c1: #d98324; --c2: #7a8798; --mark: #ffffff;
  }
  @page { margin: 14mm; size: A4; }
  html { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; }
  a { text-decoration: none; }
  section { border: 0; padding: .6rem 0; } .tiles { grid-template-columns: repeat(5, 1fr); } .plots { grid-template-columns: 1fr 1fr; }
  .tile { padding: .4rem .6rem; } .tile .figure { font-size: 1.1rem; }
  figure, tr, .tile { break-inside: avoid; } thead { display: table-header-group; }
  tfoot { display: table-row-group; } .scroll { overflow: visible; }
  h2, .lead { break-after: avoid; }
  table { font-size: 7pt; } th, td { max-width: 16em; padding: .15rem .25rem; } th { font-size: 6.5pt; }
}
"""
# On a narrow screen a row is a card: its first cell is the title, the others stand below each other behind the heads of their columns.
_CARDS = """
  TABLE { display: block; } TABLE tbody, TABLE tfoot { display: block; } TABLE thead { display: none; }
  TABLE tr { border-bottom: 1px solid var(--rule); display: block; padding: .55rem 0; } TABLE tfoot tr { border-top: 2px solid var(--ink); }
  TABLE td { border: 0; display: flex; gap: 1rem; justify-content: space-between; max-width: none; min-width: 0; overflow-wrap: anywhere;
    padding: .1rem 0; text-align: right; white-space: normal; }
  TABLE td::before { color: var(--muted); content: attr(data-label); flex: none; font-weight: 400; max-width: 45%; text-align: left; }
  TABLE td > * { min-width: 0; overflow-wrap: anywhere; }
  TABLE td:first-child { font-weight: 600; justify-content: flex-start; text-align: left; }
  TABLE td:first-child::before { content: none; } TABLE td:first-child .more { font-weight: 400; }
  TABLE td.empty { display: none; } TABLE progress { width: 100%; }
"""
STYLE = _STYLE.replace("CARDS_OF_WIDE", _CARDS.replace("TABLE", "table.wide").strip("\n")).replace(
    "CARDS_OF_ALL", _CARDS.replace("TABLE", "table").strip("\n")
)
# For WeasyPrint, which lays out no grid as a browser does ...
PDF_STYLE = """
.parties { display: table; width: 100%; } .parties > div { display: table-cell; padding-right: 4mm; }
.tiles { display: flex; flex-wrap: wrap; gap: 4mm; } .tiles > .tile { flex: 1 1 30mm; padding: 1.5mm 2mm; }
.tile .figure { font-size: 11pt; } .plots { display: block; font-size: 0; orphans: 1; widows: 1; }
figure { display: inline-block; margin: 0 0 2mm; padding: 2mm; vertical-align: top; width: 90mm; }
figure:nth-child(odd) { margin-right: 2mm; } figure.wide { margin-right: 0; width: 182mm; }
figcaption h2 { font-size: 9.5pt; } .lead, .period, .parties { font-size: 9pt; }
"""
# ... and gives drawings no style of the page around them: the rules of svg above, with the colours of paper.
SVG_STYLE = (
    "text { fill: #444444; font: 11px DejaVu Sans, Arial, sans-serif; stroke: none; } .background { fill: none; } "
    ".axis .line { fill: none; stroke: #bbbbbb; } .axis.x text { text-anchor: middle; } .axis.y text { text-anchor: end; } "
    ".guide { fill: none; stroke: #dddddd; } .vertical .axis.x .guide, .vertical .axis.x .line, .horizontal .axis.y .guide, "
    ".horizontal .axis.y .line { stroke: none; } .color-0 { fill: #2f6db5; } .color-1 { fill: #d98324; } .color-2 { fill: #7a8798; }"
)
