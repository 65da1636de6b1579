"""The page in a real Chromium, for the tests that look at it.

`APP_MODELS` names a folder of trained models to use in place of tiny random ones, and `APP_IMAGES` a folder for the
pictures; those in docs/images were made so, over the profile quick.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import chromium

TABS = {
    "Write": ("Write", "#written [role=status]:has-text('written')"),
    "Classify": ("Classify", "#mattered li"),
    "Instruct": ("Answer", "#answer [role=status]:has-text('ended')"),
    "Look inside": ("Look inside", "#looks table"),
}


@pytest.fixture(scope="module")
def served(serve, models: Path) -> Iterator[str]:
    with serve(Path(os.environ.get("APP_MODELS") or models)) as address:
        yield address


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("APP_IMAGES") or tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, served: str) -> Iterator[Page]:
    with opened(browser, served, width=1200) as page:
        yield page


class opened:
    """The page in a window of its own; in the end nothing was asked of another host, and no script has failed."""

    def __init__(self, browser: Browser, address: str, width: int, dark: bool = False) -> None:
        self.address = address
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        self.asked: list[str] = []
        self.failed: list[str] = []
        self.context.on("request", lambda request: self.asked.append(request.url))

    def __enter__(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.failed.append(str(error)))
        page.on("console", lambda message: self.failed.append(message.text) if message.type == "error" else None)
        page.goto(self.address)
        expect(page.get_by_role("heading", name="GPT From Scratch")).to_be_visible(timeout=60_000)
        # Gradio puts the tabs and what is in them in place only after the heading.
        page.get_by_role("tab", name="Look inside").wait_for()
        page.get_by_role("button", name="Write", exact=True).wait_for()
        page.get_by_text("million parameters").or_(page.get_by_text("found none")).first.wait_for()
        page.wait_for_timeout(500)  # until what a visit renews has come
        return page

    def __exit__(self, kind: type | None, *error: object) -> None:
        self.context.close()
        if kind is None:
            assert len(self.asked) > 10
            own = (self.address, "data:", f"blob:{self.address}")
            assert [url for url in self.asked if not url.startswith(own)] == []
            assert self.failed == []


def use(page: Page, tab: str) -> None:
    """Open a tab, press its button and wait for its result."""
    button, result = TABS[tab]
    page.get_by_role("tab", name=tab).click()
    page.get_by_role("button", name=button, exact=True).click()
    page.locator(result).first.wait_for()


def picture(page: Page, path: Path, height: int) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)  # until the frames that show progress have faded
    size = page.viewport_size
    page.set_viewport_size({"width": size["width"], "height": height})
    page.screenshot(path=path)
    page.set_viewport_size(size)
    assert path.stat().st_size < 150_000
