# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page in a browser: no message on the console, nothing loaded, every plot drawn, in light, in dark and on paper.

With LLM_SCREENSHOT=1 the picture of docs/chargeback.md is renewed.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from sample_report import full_report, report

from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html

sync_api = pytest.importorskip("playwright.sync_api")
ROOT = pathlib.Path(__file__).resolve().parents[5]
PLOTS = {"requests", "tokens", "tenants", "models", "users", "limited", "served"}
# Every shape of a plot with its size on the screen, and whether the page is wider than the window.
MEASURE = """() => [...document.querySelectorAll('svg.plot')].map(svg => ({
  name: svg.getAttribute('class').match(/plot-(\\w+)/)[1],
  width: svg.getBoundingClientRect().width,
  height: svg.getBoundingClientRect().height,
  bars: [...svg.querySelectorAll('rect.reactive')].filter(bar => {
    const box = bar.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(bar).fill !== 'rgb(0, 0, 0)';
  }).length,
}))"""


class Opened(t.NamedTuple):
    page: t.Any
    messages: list[str]
    requests: list[str]


@pytest.fixture
def opened(browser: t.Any, tmp_path: pathlib.Path) -> t.Iterator[t.Callable[..., Opened]]:
    """Open a report offline; all that the browser says and asks for is kept."""
    contexts = []

    def open_page(content: dict[str, t.Any], **options: t.Any) -> Opened:
        path = tmp_path / "page.html"
        path.write_text(to_html(content, "Example Corp LLM gateway"), encoding="utf-8")
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        messages: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: messages.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return Opened(page, messages, [url for url in requests if url != path.as_uri()])

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_draws_every_plot_offline_and_says_nothing_on_the_console(opened: t.Callable[..., Opened], scheme: str) -> None:
    page, messages, requests = opened(full_report(), color_scheme=scheme, viewport={"width": 1280, "height": 1000})
    plots = page.evaluate(MEASURE)
    assert {plot["name"] for plot in plots} == PLOTS
    assert [plot for plot in plots if plot["width"] < 300 or plot["height"] < 60 or plot["bars"] < 2] == []
    assert (messages, requests) == ([], [])
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert (
        page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        == {
            "light": "rgb(246, 247, 249)",
            "dark": "rgb(18, 22, 29)",
        }[scheme]
    )


# Words that a cell or a tile breaks, and cells that stand out of their table, in the order of the page.
BROKEN = """() => {
  const broken = [];
  for (const cell of document.querySelectorAll('td, th, .tile .figure')) {
    if (!cell.offsetParent) continue;
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (const word of node.data.matchAll(/[\\w,.]+/g)) {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) broken.push(word[0]);
      }
    }
    const box = cell.getBoundingClientRect();
    if (box.right > window.innerWidth) broken.push('outside: ' + cell.textContent);
  }
  return broken;
}"""


@pytest.mark.parametrize(("width", "media"), [(390, "screen"), (768, "screen"), (1280, "screen"), (688, "print")])
def test_tables_break_no_word_and_lose_no_column(opened: t.Callable[..., Opened], width: int, media: str) -> None:
    """On a phone, a tablet, a screen, and on A4 with its margins."""
    page = opened(full_report(), viewport={"width": width, "height": 1000}).page
    page.emulate_media(media=media)
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    costs = page.evaluate("[...document.querySelectorAll('#charges td[data-label^=Cost]')].filter(cell => cell.offsetParent).length")
    assert costs == len(full_report()["lines"])


def test_names_without_an_end_push_no_figure_out_of_sight(opened: t.Callable[..., Opened]) -> None:
    page = opened(report([("x" * 300, "y" * 300, "free")]), viewport={"width": 390, "height": 1000}).page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate(BROKEN.replace("broken.push(word[0])", "0")) == []


def test_every_link_of_the_page_leads_somewhere(opened: t.Callable[..., Opened]) -> None:
    page = opened(full_report()).page
    links = page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    missing = page.evaluate("links => links.filter(link => !document.getElementById(link.slice(1)))", links)
    assert len(links) > 100
    assert missing == []


def test_page_runs_nothing_that_a_name_says(opened: t.Callable[..., Opened]) -> None:
    names = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(2)>',
        "</style><script>alert(3)</script>",
        "javascript:alert(4)",
        "x" * 300,
    ]
    page, messages, requests = opened(report([(name, name, "free") for name in names]), viewport={"width": 1280, "height": 1000})
    assert (messages, requests) == ([], [])
    assert page.evaluate("document.querySelectorAll('script, img, iframe, object, link').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_page_can_be_printed(opened: t.Callable[..., Opened]) -> None:
    page = opened(full_report(), color_scheme="dark").page
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.skipif("LLM_SCREENSHOT" not in os.environ, reason="only with LLM_SCREENSHOT=1: renews docs/images/chargeback.png")
def test_screenshot_for_the_documentation(opened: t.Callable[..., Opened]) -> None:
    page = opened(full_report(), color_scheme="light", viewport={"width": 1280, "height": 1560}).page
    path = ROOT / "docs/images/chargeback.png"
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path)
    assert path.stat().st_size > 0
