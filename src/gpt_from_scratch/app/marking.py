"""Results as HTML that needs no script: bars, tables, coloured tokens, attention maps.

Whatever comes from a text is escaped here, and nowhere else, so that no text is ever markup. No colour stands alone:
the same is said in words or numbers.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import torch
from PIL import Image
from tiktoken import Encoding
from torch import Tensor
from torch.nn import functional as F

from gpt_from_scratch.generation.stopping import token_bytes

CONTINUATION = "Your prompt in bold, then the continuation; choose a token to see what it was chosen from"
INK = "#1a1a1a"
"""Text on coloured grounds, which are light; their contrast is at least 7:1 by the tests."""


def inert(text: str) -> str:
    """Return a text as HTML that shows it, whatever it holds: markup, or what the page's templates would fill in."""
    return html.escape(text).replace("$", "&#36;").replace("{", "&#123;").replace("`", "&#96;")


def escaped(text: str) -> str:
    """Return `inert` text on one line."""
    return inert(text.replace("\n", "⏎").replace("\r", "⏎").replace("\t", "⇥"))


def pane(title: str, text: str, note: str = "") -> str:
    """Return a text that may grow, with its lines; a keyboard reaches it.

    Args:
        note: what is said about it once it is whole; a screen reader reads it out.
    """
    return _pane(title, inert(text), note)


def continuation(prompt: str, texts: Sequence[str], names: Sequence[str], note: str = "") -> str:
    """Return a prompt and its continuation, each of whose tokens can be chosen by mouse, finger or arrow keys.

    Args:
        texts: what each new token adds to the text; nothing while a character is unfinished.
        names: what each new token is called.
        note: as in `pane`.
    """
    choices = "".join(
        f'<label><input type="radio" name="token" value="{number}" '
        f'aria-label="token {number + 1}: {escaped(name)}">{inert(text)}</label>'
        for number, (text, name) in enumerate(zip(texts, names, strict=True))
    )
    return _pane(CONTINUATION, f"<b>{inert(prompt)}</b>{choices}", note)


def _pane(title: str, content: str, note: str) -> str:
    return (
        f'<p class="title">{escaped(title)}</p><div class="pane" tabindex="0" role="region" '
        f'aria-label="{escaped(title)}">{content}</div><p class="note" role="status">{escaped(note)}</p>'
    )


def token_texts(tokenizer: Encoding, ids: Sequence[int]) -> list[str]:
    """Return each token as text; bytes that are no characters by themselves as �."""
    return [token_bytes(tokenizer, token).decode("utf-8", errors="replace") for token in ids]


def bars(title: str, rows: Sequence[tuple[str, float]], chosen: int | None = None) -> str:
    """Return probabilities as a table of bars.

    Args:
        rows: names and probabilities.
        chosen: number of the row that is marked.
    """
    lines = "".join(
        f'<tr{" class=chosen" if number == chosen else ""}><th scope="row">{_token(name)}'
        f"{'<span class=mark> chosen</span>' if number == chosen else ''}</th>"
        f'<td class="bar" aria-hidden="true"><span style="width:{100 * value:.1f}%"></span></td>'
        f'<td class="number">{value:.1%}</td></tr>'
        for number, (name, value) in enumerate(rows)
    )
    return f'<table class="bars"><caption>{escaped(title)}</caption><tbody>{lines}</tbody></table>'


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column names its rows; it scrolls by itself where it is too wide."""
    head = "".join(f'<th scope="col">{escaped(column)}</th>' for column in columns)
    lines = "".join(
        f'<tr><th scope="row">{escaped(first)}</th>{"".join(f"<td>{escaped(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="scrolling" tabindex="0" role="region" aria-label="{escaped(title)}"><table class="rows">'
        f"<caption>{escaped(title)}</caption><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def tokens(title: str, texts: Sequence[str], notes: Sequence[str], grounds: Sequence[str]) -> str:
    """Return a text as coloured tokens.

    Args:
        notes: what is said about each, below it.
        grounds: the colour behind each.
    """
    lines = "".join(
        f'<li style="background:{ground};color:{INK}">{_token(text)}<small>{escaped(note)}</small></li>'
        for text, note, ground in zip(texts, notes, grounds, strict=True)
    )
    return f'<p class="title">{escaped(title)}</p><ol class="tokens" aria-label="{escaped(title)}">{lines}</ol>'


def heat_map(title: str, texts: Sequence[str], weights: Tensor) -> str:
    """Return attention weights `[tokens, tokens]` as a picture; rows look at columns."""
    count, margin = len(texts), 6
    labels = [escaped(text if len(text) <= 8 else f"{text[:7]}…") for text in texts]
    cells = "".join(
        f'<rect x="{margin + column}" y="{margin + row}" width="1" height="1" style="fill:{heat(weight**0.5)}">'
        f"<title>{labels[row]} → {labels[column]}: {weight:.0%}</title></rect>"
        for row, line in enumerate(weights.tolist())
        for column, weight in enumerate(line[: row + 1])
    )
    names = "".join(
        f'<text x="{margin - 0.3}" y="{margin + n + 0.75}">{label}</text>'
        f'<text class="upright" transform="translate({margin + n + 0.75} {margin - 0.3}) rotate(-90)">{label}</text>'
        for n, label in enumerate(labels)
    )
    return (
        f'<div><p class="title">{escaped(title)}</p><svg class="heat" viewBox="0 0 {margin + count} {margin + count}" '
        f'style="max-width:{(margin + count) * 22}px" role="img" '
        f'aria-label="{escaped(title)}; the table below says it in numbers">{cells}{names}</svg></div>'
    )


def overview(weights: Tensor) -> str:
    """Return all attention maps `[layers, heads, tokens, tokens]` as one picture."""
    layers, heads, tokens, _ = weights.shape
    gap = max(1, tokens // 16)
    framed = F.pad(weights, (0, gap, 0, gap), value=0.03)
    sheet = framed.permute(0, 2, 1, 3).reshape(layers * (tokens + gap), heads * (tokens + gap))
    # The square root, here and in the large map, lets one see the small weights of a long row.
    pixels = (255 * (1 - sheet.clamp(0, 1).sqrt())).to(torch.uint8).numpy()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    said = f"Attention of all {layers} layers (downwards) and {heads} heads (rightwards); dark: much"
    return (
        f'<div><p class="title">{said}</p><img class="overview" alt="{said}" '
        f'src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"></div>'
    )


def heat(share: float) -> str:
    """Return a colour between white and a light orange for a share from 0 to 1."""
    share = min(max(share, 0.0), 1.0)
    return f"rgb({255 - 8 * share:.0f},{255 - 75 * share:.0f},{255 - 165 * share:.0f})"


def two_sided(share: float) -> str:
    """Return a colour from blue by white to orange for a share from −1 to 1."""
    if share >= 0:
        return heat(share)
    share = min(-share, 1.0)
    return f"rgb({255 - 120 * share:.0f},{255 - 55 * share:.0f},255)"


def by_id(token: int) -> str:
    """Return a token's own light colour; neighbouring ids get distant ones."""
    return f"hsl({token * 137.508 % 360:.0f} 75% 86%)"


def _token(text: str) -> str:
    """Return a token with its spaces visible."""
    return f"<code>{escaped(text).replace(' ', '<span class=space>·</span>')}</code>"
