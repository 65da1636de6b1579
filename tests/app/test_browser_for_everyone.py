"""The page in a real Chromium: on a phone, with a keyboard, to a screen reader, in every colour."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app.browsing import TABS, browser, images, opened, page, picture, served, use
from tests.chromium import CONTRAST, NEEDS_CHROMIUM

__all__ = ["browser", "images", "page", "served"]  # fixtures

pytestmark = NEEDS_CHROMIUM


def test_on_a_phone_the_output_stands_above_the_sliders(browser: Browser, served: str) -> None:
    with opened(browser, served, width=390) as page:
        for tab, output in {"Write": "#chosen", "Instruct": "#base", "Look inside": "#attention"}.items():
            use(page, tab)
            box, sliders = page.locator(output).bounding_box(), page.get_by_role("slider").locator("visible=true").all()
            assert sliders
            assert min(slider.bounding_box()["y"] for slider in sliders) >= box["y"] + box["height"]
            assert box["width"] > 300


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, served: str, images: Path, dark: bool) -> None:
    with opened(browser, served, width=390, dark=dark) as page:
        for tab in TABS:
            use(page, tab)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
            too_wide = page.evaluate(
                """() => [...document.querySelectorAll('main *')].filter(e => e.checkVisibility()
                    && !e.parentElement.closest('.scrolling, svg, .visually-hidden')
                    && e.getBoundingClientRect().right > 391)
                    .map(e => e.outerHTML.slice(0, 80))"""
            )
            assert too_wide == [], tab
        if not dark:
            use(page, "Write")
            picture(page, images / "app-phone.png", 1800)


CONTROLS = {
    "button",
    "checkbox",
    "combobox",
    "image",
    "list",
    "region",
    "slider",
    "spinbutton",
    "tab",
    "table",
    "textbox",
}


def test_a_screen_reader_finds_a_name_for_everything(page: Page) -> None:
    assert page.evaluate("document.documentElement.lang") == "en"
    browser = page.context.new_cdp_session(page)
    for tab in TABS:
        use(page, tab)
        nodes = [node for node in browser.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        found = [(node["role"]["value"].lower(), node.get("name", {}).get("value", "")) for node in nodes]
        controls = [(role, name) for role, name in found if role in CONTROLS]
        assert len(controls) >= 8
        # Icons beside a label's own words are decoration.
        nameless = [role for role, name in controls if not name.strip() and role != "image"]
        assert nameless == [], tab
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3')].filter(e => e.checkVisibility()).map(e => e.tagName)"
        )
        assert levels[:2] == ["H1", "H2"], tab
        assert levels.count("H1") == 1
    assert page.locator("main img:not([alt])").count() == 0


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast(browser: Browser, served: str, dark: bool) -> None:
    with opened(browser, served, width=1200, dark=dark) as page:
        for tab in TABS:
            use(page, tab)
            page.wait_for_timeout(800)
            assert page.evaluate(CONTRAST) == [], tab


def test_a_keyboard_is_enough(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "tab"
    for tab in ("Classify", "Instruct", "Look inside"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent.trim()") == tab
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Look inside")).to_have_attribute("aria-selected", "true")
    order = []
    for _ in range(12):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent.trim()"))
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style == "solid", order  # one sees where one is
        if order[-1] == "Look inside":
            break
    assert len(order) == 3
    page.keyboard.press("Enter")
    page.locator("#looks table").wait_for()
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent.trim()"))
    assert any("Layer" in name for name in order[3:])
    assert any("Head" in name for name in order[3:])
