"""Zero-shot benchmarks of a language model: LAMBADA, HellaSwag and WikiText, from log-likelihoods of given texts.

The figures are those of EleutherAI's lm-evaluation-harness (`lambada_openai`, `hellaswag`, `wikitext` with `--model
hf`), held equal by test, computed by our own model: two sums over logits need none of the harness's packages, run under
`evaluate.weights: int8` too, and apply the output head to the scored tokens alone, where the harness applies it to all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tiktoken import Encoding
from tqdm import tqdm

from gpt_from_scratch.evaluation.language import perplexity
from gpt_from_scratch.files.reading import lines
from gpt_from_scratch.generation.text import encode
from gpt_from_scratch.model import GPTModel

Span = tuple[list[int], int]
"""Token ids, of which the last so many are scored, each given all before it."""

_ROWS = 1024
"""Scored tokens whose logits are in memory at once: 0.2 GB of GPT-2's 50,257."""


@dataclass(frozen=True)
class Scorer:
    """A language model that scores texts, with its tokenizer."""

    model: GPTModel
    tokenizer: Encoding
    batch_size: int

    @property
    def context(self) -> int:
        """The most tokens that the model sees."""
        return self.model.config.context_length

    @torch.no_grad()
    def scores(self, spans: Sequence[Span], name: str) -> list[tuple[float, bool]]:
        """Return for each span its log-likelihood in nats, and whether each scored token is the likeliest one.

        Args:
            name: of the benchmark, for the progress bar.
        """
        found: list[tuple[float, bool]] = [(0.0, True)] * len(spans)
        longest_first = sorted(range(len(spans)), key=lambda number: -len(spans[number][0]))
        device = self.model.device
        for start in tqdm(range(0, len(spans), self.batch_size), name, unit="batch", mininterval=2):
            numbers = longest_first[start : start + self.batch_size]
            ids = torch.zeros(len(numbers), len(spans[numbers[0]][0]), dtype=torch.long)
            scored = torch.zeros(ids.shape, dtype=torch.bool)
            for row, number in enumerate(numbers):
                tokens, count = spans[number]
                ids[row, : len(tokens)] = torch.tensor(tokens)  # padded behind, which no token looks at
                scored[row, len(tokens) - count : len(tokens)] = True
            targets = ids[scored].to(device)
            hidden = self.model.hidden_states(ids[:, :-1].to(device))[scored[:, 1:].to(device)]
            values, likeliest = [], []
            for part, expected in zip(hidden.split(_ROWS), targets.split(_ROWS), strict=True):
                logits = self.model.out_head(part).float()
                values += logits.log_softmax(-1).gather(1, expected[:, None])[:, 0].tolist()
                likeliest += (logits.argmax(-1) == expected).tolist()
            place = 0
            for number in numbers:
                end = place + spans[number][1]
                found[number] = math.fsum(values[place:end]), all(likeliest[place:end])
                place = end
        return found

    def continuation(self, context: str, continuation: str) -> Span:
        """Return the span of a continuation: what a text has behind its context's tokens, as the harness cuts it.

        Blanks at the context's end belong to the continuation; without a context, `<|endoftext|>` stands for it. Of too
        long a text the model sees the end.
        """
        kept = context.rstrip()
        first = encode(self.tokenizer, kept)
        ids = encode(self.tokenizer, context + continuation)
        scored = len(ids) - len(first)
        ids = ids if first else [self.tokenizer.eot_token, *ids]
        return ids[-(self.context + 1) :], min(scored, self.context)


def windows(ids: list[int], size: int, stride: int) -> Iterator[Span]:
    """Yield windows of at most `size` ids, each `stride` ids after the one before, which score what that has not.

    No window scores its first id: where none overlap, as in Hugging Face's guide to perplexity with the largest stride,
    these are left out. The last window is moved back until it is full, as in the harness; in the guide it may be short.
    """
    before, end = 0, min(size, len(ids))
    while before < end:
        window = ids[max(0, end - size) : end]
        yield window, min(end - before, len(window) - 1)
        before, end = end, min(end + stride, len(ids))


def lambada(scorer: Scorer, items: Sequence[dict[str, str]]) -> dict[str, float]:
    """Return how often the last word of a text is the likeliest, and its perplexity, by word."""
    cut = (item["text"].rpartition(" ") for item in items)
    found = scorer.scores([scorer.continuation(context, f" {word}") for context, _, word in cut], "lambada")
    return {
        "accuracy": sum(likeliest for _, likeliest in found) / len(found),
        "perplexity": perplexity(-math.fsum(value for value, _ in found) / len(found)),
        "items": len(found),
    }


def hellaswag(scorer: Scorer, items: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return how often the right ending is the likeliest, and the likeliest by its length in characters."""
    spans, lengths = [], []
    for item in items:
        query = _plain(f"{item['activity_label']}: {item['ctx_a']} {item['ctx_b'].capitalize()}")
        endings = [_plain(ending) for ending in item["endings"]]
        spans += [scorer.continuation(query, f" {ending}") for ending in endings]
        lengths.append([len(ending) for ending in endings])
    found = iter(scorer.scores(spans, "hellaswag"))
    right = normalized = 0
    for item, sizes in zip(items, lengths, strict=True):
        values = [next(found)[0] for _ in sizes]
        by_length = [value / max(size, 1) for value, size in zip(values, sizes, strict=True)]
        right += values.index(max(values)) == int(item["label"])
        normalized += by_length.index(max(by_length)) == int(item["label"])
    return {"accuracy": right / len(items), "normalized_accuracy": normalized / len(items), "items": len(items)}


def _plain(text: str) -> str:
    """Return one of HellaSwag's texts without WikiHow's markup, as the harness does."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def wikitext(scorer: Scorer, pages: Sequence[str], stride: int) -> dict[str, float]:
    """Return perplexities and bits per byte of WikiText's articles.

    `perplexity`, by token, is that of Hugging Face's guide: all as one text, in windows `stride` tokens apart (0: the
    whole context). `word_perplexity` and `bits_per_byte` are the harness's: detokenised article by article, each after
    `<|endoftext|>`, by the words and bytes of the text before.
    """
    rows = (f"{row}\n" if row.strip() else "" for row in lines("\n".join(pages)))
    spans = list(windows(encode(scorer.tokenizer, "\n\n".join(rows)), scorer.context, stride or scorer.context))
    whole = math.fsum(value for value, _ in scorer.scores(spans, "wikitext"))
    tokens = sum(count for _, count in spans)
    spans = []
    for page in pages:
        ids = [scorer.tokenizer.eot_token, *encode(scorer.tokenizer, detokenised(page))]
        spans += windows(ids, scorer.context + 1, scorer.context)
    nats = -math.fsum(value for value, _ in scorer.scores(spans, "wikitext, detokenised"))
    return {
        "perplexity": perplexity(-whole / tokens),
        "word_perplexity": perplexity(nats / sum(len(re.split(r"\s+", page)) for page in pages)),
        "bits_per_byte": nats / math.log(2) / sum(len(page.encode()) for page in pages),
        "items": len(pages),
    }


def benchmark_metrics(scorer: Scorer, name: str, items: Sequence[Any], stride: int) -> dict[str, float]:
    """Return a benchmark's figures by its name in `benchmarks`; `stride` as in `wikitext`."""
    if name == "wikitext":
        return wikitext(scorer, items, stride)
    return {"lambada": lambada, "hellaswag": hellaswag}[name](scorer, items)


_DETOKENISED = (
    *(("s '", "s'"), (" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", ".")),
    *((f" {sign} ", f"{sign} ") for sign in ":;.!?,"),
)
_ENCLOSED = [(re.compile(rf"\{a}\s*([^\{b}]*?)\s*\{b}"), rf"{a}\1{b}") for a, b in ("()", "[]", "{}", '""', "''")]
_HEADINGS = (
    *(("= = = =", "===="), ("= = =", "==="), ("= =", "==")),
    *((" ° ", "°"), (" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")),
)


def detokenised(page: str) -> str:
    """Return one of WikiText's articles as a text is written: the harness's rules, in its order."""
    for old, new in _DETOKENISED:
        page = page.replace(old, new)
    for pattern, new in _ENCLOSED:
        page = pattern.sub(new, page)
    for old, new in _HEADINGS:
        page = page.replace(old, new)
    return page
