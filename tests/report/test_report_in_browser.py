"""The report in a real Chromium: on a phone, in the dark, on paper, and when one follows its links."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from gpt_from_scratch.files.writing import read_json
from gpt_from_scratch.report.page import write_report
from tests.chromium import CONTRAST, NEEDS_CHROMIUM, chromium

pytestmark = NEEDS_CHROMIUM

TOO_WIDE = """() => [...document.querySelectorAll('body, body *')]
    .filter(e => e.checkVisibility() && !e.parentElement.closest('figure.large'))
    .filter(e => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > innerWidth)
    .map(e => e.outerHTML.slice(0, 80))"""
OPEN = "document.querySelectorAll('details').forEach(details => details.open = true)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(root, path)
    return path


def opened(browser: Browser, report: Path, width: int = 1400, **settings: str) -> Page:
    page = browser.new_context(viewport={"width": width, "height": 900}, **settings).new_page()
    failed: list[str] = []
    page.on("console", lambda message: failed.append(message.text))
    page.goto(report.as_uri())
    assert failed == []
    return page


@pytest.mark.parametrize("width", [320, 390, 800, 1400])
def test_nothing_is_wider_than_the_page(browser: Browser, report: Path, width: int) -> None:
    page = opened(browser, report, width)
    page.evaluate(OPEN)
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_every_text_has_contrast(browser: Browser, report: Path, scheme: str, width: int) -> None:
    page = opened(browser, report, width, color_scheme=scheme)
    page.evaluate(OPEN)
    assert page.evaluate(CONTRAST) == []


def test_charts_are_drawn_in_the_colours_of_the_page(browser: Browser, report: Path) -> None:
    """The pixels of each chart's image: neither light nor dark ink is on a ground of its own kind."""
    shares = {}
    for scheme in ("light", "dark"):
        page = opened(browser, report, color_scheme=scheme)
        shares[scheme] = page.evaluate(
            """async () => { const found = [];
            for (const image of document.querySelectorAll('img')) {
                await image.decode();
                const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
                canvas.width = image.width; canvas.height = image.height;
                pen.drawImage(image, 0, 0, canvas.width, canvas.height);
                const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
                let drawn = 0, light = 0;
                for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] > 200) {
                    drawn += 1; light += pixels[at] + pixels[at + 1] + pixels[at + 2] > 600; }
                found.push([drawn, light]);
            } return found; }"""
        )
    assert len(shares["light"]) == 11
    assert all(drawn > 500 for charts in shares.values() for drawn, _ in charts)
    for (_, by_day), (_, at_night) in zip(shares["light"], shares["dark"], strict=True):
        assert at_night > 200 + by_day


def test_a_link_opens_what_is_folded(browser: Browser, report: Path) -> None:
    page = opened(browser, report)
    page.get_by_role("link", name="Answers").click()
    assert page.locator("#answers").is_visible()
    page.goto(f"{report.as_uri()}#note-1")
    page.locator("#note-1 a").click()
    assert page.evaluate("document.querySelector(':target').textContent") == "[1]"
    top = page.evaluate("document.querySelector(':target').getBoundingClientRect().top")
    assert 0 <= top < 900
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector(':target').getBoundingClientRect().top") == top


def test_paper_has_everything(browser: Browser, report: Path, root: Path) -> None:
    page = opened(browser, report, color_scheme="dark")
    text = printed(page.pdf(format="A4", print_background=True))
    titles = page.locator("summary").all_inner_texts()
    assert len(titles) == 9
    answers = [entry["model_response"] for entry in read_json(root / "metrics/responses.json")]
    notes = page.evaluate("[...document.querySelectorAll('li[id]')].map(note => note.firstChild.textContent)")
    params = (root / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert len(notes) > 3
    for expected in [*titles, *answers, *notes, *params, "loss, nats per message", "perfectly calibrated"]:
        assert plain(expected) in text, expected
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def plain(text: str) -> str:
    """Return a text without spaces and ligatures."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def printed(pdf: bytes) -> str:
    """Return the texts of a PDF that Chromium has made, without spaces: glyphs by the font's table of characters."""
    objects = {int(number): body for number, body in re.findall(rb"\n(\d+) 0 obj\n?(.*?)\nendobj", pdf, re.S)}

    def stream(body: bytes) -> bytes:
        return zlib.decompress(re.search(rb"stream\r?\n(.*)\r?\nendstream", body, re.S)[1])

    tables: dict[bytes, dict[str, str]] = {}
    for body in objects.values():
        for name, font in re.findall(rb"/(F\d+) (\d+) 0 R", body):
            if table := re.search(rb"/ToUnicode (\d+) 0 R", objects[int(font)]):
                tables[name] = characters(stream(objects[int(table[1])]).decode())
    words = []
    for body in objects.values():
        if b"/FlateDecode" in body and b" Tf" in (content := stream(body)):
            table = {}
            for font, shown in re.findall(rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)>", content):
                table = tables[font] if font else table
                digits = shown.decode().upper()
                words += [table.get(digits[at : at + 4], "") for at in range(0, len(digits), 4)]
    return plain("".join(words))


def characters(table: str) -> dict[str, str]:
    """Return the characters of a font's glyphs, by the glyph in four hexadecimal digits."""
    found = {}
    for block in re.findall(r"beginbfchar(.*?)endbfchar", table, re.S):
        for glyph, text in re.findall(r"<(\w+)> <(\w+)>", block):
            found[glyph.upper()] = bytes.fromhex(text).decode("utf-16-be")
    for block in re.findall(r"beginbfrange(.*?)endbfrange", table, re.S):
        for first, last, text in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for step in range(int(last, 16) - int(first, 16) + 1):
                found[f"{int(first, 16) + step:04X}"] = chr(int(text, 16) + step)
    return found
