# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page in a browser, on a screen and on a phone, light and dark: nothing on the console, nothing that axe objects to, live.

With LLM_SCREENSHOT=1 pictures of all are kept in build/screenshots, and that of docs/status-page.md is renewed.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import typing as t

import pytest
from status_parts import TOKEN, FakeParts, serving

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
ROOT = pathlib.Path(__file__).resolve().parents[5]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
WHO = {"operator": TOKEN, "user": "key-of-ivan-laptop"}
SCHEMES = {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 29)"}
PAGE_IS_WIDER = "document.documentElement.scrollWidth > window.innerWidth"


@pytest.fixture
def parts() -> FakeParts:
    return FakeParts()


class Opened(t.NamedTuple):
    page: t.Any
    messages: list[str]
    foreign: list[str]


@pytest.fixture
def opened(browser: t.Any, parts: FakeParts) -> t.Iterator[t.Callable[..., Opened]]:
    """Open the page as a role, by its form; what the browser says is kept, and what it asks of others."""
    with serving(parts) as url:
        contexts = []

        def open_page(role: str | None, **options: t.Any) -> Opened:
            context = browser.new_context(**options)
            contexts.append(context)
            page = context.new_page()
            messages: list[str] = []
            foreign: list[str] = []
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith((url, "data:,")) else None)
            page.goto(url)
            if role is not None:
                page.fill(f"#{role}", WHO[role])
                page.press(f"#{role}", "Enter")
                sync_api.expect(page.locator("#live")).to_have_text("live", timeout=30_000)
            return Opened(page, messages, foreign)

        yield open_page
        for context in contexts:
            context.close()


def objections(page: t.Any) -> list[str]:
    """What axe finds, however serious."""
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']} ({one['impact']}): {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("role", [None, "operator", "user"])
def test_page_is_fit_to_look_at(opened: t.Callable[..., Opened], role: str | None) -> None:
    page, messages, foreign = opened(role)
    for (size, viewport), (scheme, background) in itertools.product(SIZES.items(), SCHEMES.items()):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)
        if "LLM_SCREENSHOT" in os.environ:
            page.screenshot(path=ROOT / f"build/screenshots/status-{role or 'sign-in'}-{size}-{scheme}.png", full_page=True)
            if (role, size, scheme) == ("operator", "desktop", "light"):
                page.screenshot(path=ROOT / "docs/images/status-page.png")
        assert not page.evaluate(PAGE_IS_WIDER)
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == background
        assert objections(page) == []
    assert (messages, foreign) == ([], [])


def test_what_changes_is_on_the_page_without_a_reload(opened: t.Callable[..., Opened], parts: FakeParts) -> None:
    page = opened("user", viewport=SIZES["phone"]).page
    page.evaluate("window.loadedOnce = true")
    assert "87 s" in page.text_content("#limits")
    (mine,) = [one for one in parts.found if "ivan" in one["set_variables"].values()]
    mine["expires_in_seconds"] = 41
    sync_api.expect(page.locator("#limits")).to_contain_text("41 s", timeout=30_000)
    assert page.evaluate("window.loadedOnce")
    # Once the key is gone the page says so by itself.
    del parts.stored["ivan-laptop"]
    page.wait_for_selector("#user")
    assert "ivan" not in page.content()


def test_page_runs_nothing_that_a_name_says(opened: t.Callable[..., Opened], parts: FakeParts) -> None:
    parts.found[0]["set_variables"]['descriptors[0]["auth.identity.userid"]'] = "<img src=x onerror=alert(1)>"
    parts.settings["title"] = "</title><script>alert(2)</script>"
    page, messages, foreign = opened("operator", viewport=SIZES["desktop"])
    assert (messages, foreign) == ([], [])
    assert page.evaluate("document.querySelectorAll('script:not([src]), img').length") == 0
    assert "<img src=x" in page.text_content("#left")


def test_a_refused_key_is_said_in_words(opened: t.Callable[..., Opened]) -> None:
    page = opened(None).page
    page.fill("#user", "no-such-key")
    page.press("#user", "Enter")
    page.wait_for_selector("[role=alert]")
    assert "not let in" in page.text_content("[role=alert]")
    assert page.evaluate("document.styleSheets.length") == 1
