"""Colours that can be read, and texts that stay texts."""

from __future__ import annotations

import colorsys
import re

import pytest

from gpt_from_scratch.app import marking


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance of `rgb(…)`, `hsl(…)` or `#rrggbb`."""
    if colour.startswith("#"):
        rgb = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    else:
        numbers = [float(number) for number in re.findall(r"[\d.]+", colour)]
        hue, *rest = numbers
        hsl = colour.startswith("hsl")
        rgb = colorsys.hls_to_rgb(hue / 360, rest[1] / 100, rest[0] / 100) if hsl else [n / 255 for n in numbers]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


GROUNDS = [
    *(marking.heat(step / 20) for step in range(21)),
    *(marking.two_sided(step / 20) for step in range(-20, 21)),
    *(marking.by_id(token) for token in range(400)),
]


def test_text_on_colour_has_contrast() -> None:
    ink = luminance(marking.INK)
    assert min((luminance(ground) + 0.05) / (ink + 0.05) for ground in GROUNDS) >= 7


def test_the_measure_is_wcags() -> None:
    assert (luminance("#ffffff") + 0.05) / (luminance("#767676") + 0.05) == pytest.approx(4.54, abs=0.01)
    assert luminance("hsl(120 100% 50%)") == pytest.approx(luminance("rgb(0,255,0)"))


def test_more_is_darker() -> None:
    shades = [luminance(marking.heat(step / 10)) for step in range(11)]
    assert shades == sorted(shades, reverse=True)
    assert marking.two_sided(-1) != marking.two_sided(1)


def test_lines_and_spaces_of_tokens_are_seen() -> None:
    shown = marking.tokens("Tokens", [" a", "\n", "<b>"], ["1", "2", "3"], ["white"] * 3)
    assert "<span class=space>·</span>a" in shown
    assert "⏎" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
