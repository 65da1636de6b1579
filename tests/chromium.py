"""The Chromium of the tests that look at a page, and the measurement of a page's contrast."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on this machine's path"
    ),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to start for root, whom containers run as.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


CONTRAST = """() => {
    const channels = c => c.match(/[\\d.]+/g).map(Number);
    const light = c => { const [r, g, b] = channels(c).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126*r + 0.7152*g + 0.0722*b; };
    const ground = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor, n = channels(c); if (n.length < 4 || n[3] > 0.5) return c; }
        return 'rgb(255, 255, 255)'; };
    const bad = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const e = walker.currentNode.parentElement, style = getComputedStyle(e);
        if (!walker.currentNode.textContent.trim() || !e.checkVisibility() || e.closest('svg, script, style, :disabled')
            || e.getBoundingClientRect().width < 2 || !style.color.startsWith('rgb')) continue;
        const pair = [light(style.color), light(ground(e))].sort((a, b) => a - b);
        const ratio = (pair[1] + 0.05) / (pair[0] + 0.05);
        if (ratio < 4.5) bad.push(`${e.outerHTML.slice(0, 80)}: ${style.color} on ${ground(e)}: ${ratio.toFixed(2)}`);
    }
    return bad;
}"""
"""Returns the texts of a page whose contrast with what is behind them is below 4.5."""
