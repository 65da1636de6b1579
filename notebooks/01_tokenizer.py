# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · From a text to tensors
#
# A model computes with numbers; a book is made of letters. This notebook walks the way from one to the other, in
# the order of chapter 2: cut a text into tokens, give each token a number, slide a window over the numbers, and
# look up a vector for each. Every step is a part of the package, so what you try here is what the pipeline runs.
#
# It needs no network. Where the book's files are at hand (*The Verdict*, GPT-2's tokenizer) they are used, otherwise
# the sample texts that come with the project, and the notebook says which. The outputs that are kept in the
# repository are those of the samples.

# %%
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import regex
import tiktoken
import torch
from matplotlib.ticker import MaxNLocator
from torch import nn

from gpt_from_scratch.book import ch02
from gpt_from_scratch.book.ch02 import GPTDatasetV1, create_dataloader_v1
from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.data.text.loaders import text_loaders
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.project import find_project
from gpt_from_scratch.tokenizer.bpe import END_OF_TEXT, PATTERN, byte_symbols, find_gpt2_tokenizer, load_tokenizer
from gpt_from_scratch.tokenizer.simple import UNKNOWN, build_vocabulary, split_words
from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe

ROOT = find_project()
SAMPLE = ROOT / "data/sample"
# `make notebooks` sets this, so that the outputs are the same wherever they are made.
samples_only = "GPT_SAMPLES_ONLY" in os.environ
# GPT_MIRROR may name a folder with the book's files; a relative one counts from the project's folder.
mirror = os.environ.get("GPT_MIRROR", "")
if mirror and "://" not in mirror:
    os.environ["GPT_MIRROR"] = mirror = str(ROOT / mirror)
plt.rcParams.update({"figure.dpi": 90, "axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## 1.1 The text (section 2.2)
#
# The book reads *The Verdict*, a short story by Edith Wharton of 20,479 characters. The profile *book* fetches it
# into `data/raw/text.txt`; a mirror folder may hold it too. Without either, the project's own story stands in.

# %%
candidates = [] if samples_only else [ROOT / "data/raw/text.txt", Path(mirror) / "the-verdict.txt"]
texts = [path.read_text(encoding="utf-8") for path in candidates if path.is_file()]
verdict = next((text for text in texts if len(text) == 20_479 and text.startswith("I HAD always thought")), None)
lighthouse = (SAMPLE / "the-lighthouse.txt").read_text(encoding="utf-8")
text = verdict or lighthouse
print("The Verdict" if verdict else "The sample story, instead of The Verdict", f"({len(text):,} characters)")
print(text[:99])

# %% [markdown]
# ## 1.2 Cutting it into words
#
# The simplest token is a word. Splitting at spaces alone leaves the punctuation stuck to the words, and `end.`
# would be another word than `end`. Two steps help: split at signs as well, with a *capturing* group so that the
# signs are kept, and then drop the pieces that are only space. `split_words` does exactly this.

# %%
sentence = 'The lamp -- an old one -- is lit. "Is it?" he asked.'
at_spaces = regex.split(r"(\s)", sentence)
at_signs_too = regex.split(r"""([,.:;?_!"()']|--|\s)""", sentence)
words = [piece for piece in at_signs_too if piece.strip()]
print("at spaces:", at_spaces[:12])
print("at signs: ", at_signs_too[:12])
print("words:    ", words)
assert words == split_words(sentence)

tokens = split_words(text)
print(f"\nThe whole text: {len(tokens):,} tokens, beginning {tokens[:12]}")

# %% [markdown]
# ## 1.3 A vocabulary (section 2.3)
#
# The distinct tokens in alphabetical order, each with its place as its id. *The Verdict* has 1,130 of them.

# %%
vocabulary = build_vocabulary(text)
print(f"{len(vocabulary):,} distinct tokens; some of them: {list(vocabulary.items())[50:56]}")
if verdict:
    assert len(tokens) == 4690 and len(vocabulary) == 1130
    print("The book's number, 1,130, holds.")
else:
    print("The Verdict, which is not read here, has 1,130; `make repro PROFILE=book` fetches it into data/raw.")

# %% [markdown]
# How are they spread? A few tokens make up most of the text, and most tokens occur once. On logarithmic axes the
# frequency falls along nearly a straight line (Zipf's law). It is the reason why word vocabularies are never large
# enough: whatever text you count, the next one brings words that you have not seen.

# %%
counts = np.unique(tokens, return_counts=True)
order = counts[1].argsort()[::-1]
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
left.loglog(np.arange(1, len(order) + 1), counts[1][order], ".", markersize=3)
left.set(xlabel="rank of the token", ylabel="times it occurs", title="A few tokens are most of the text")
seen: set[str] = set()
growth = [len(seen) for token in tokens if not seen.add(token)]  # type: ignore[func-returns-value]
right.plot(growth)
right.set(xlabel="tokens read", ylabel="distinct tokens", title="New words never stop coming")
figure.tight_layout()
plt.show()
print("most frequent:", ", ".join(f"{counts[0][i]} ({counts[1][i]})" for i in order[:8]))
print(f"tokens that occur once: {(counts[1] == 1).sum()} of {len(order)}")

# %% [markdown]
# ## 1.4 SimpleTokenizerV1: there and back (section 2.3)
#
# `encode` looks the ids up, `decode` joins the tokens with spaces and takes away the space before a sign. The
# original spacing is lost, which is one reason why GPT-2 does it differently.


# %%
class SimpleTokenizerV1:
    """A tokenizer of words and signs, which knows those of its vocabulary and no others."""

    def __init__(self, vocab: dict[str, int]) -> None:
        self.str_to_int = vocab
        self.int_to_str = {number: token for token, number in vocab.items()}

    def encode(self, text: str) -> list[int]:
        pieces = re.split(r"""([,.:;?_!"()']|--|\s)""", text)
        return [self.str_to_int[piece] for piece in pieces if piece.strip()]

    def decode(self, ids: list[int]) -> str:
        spaced = " ".join(self.int_to_str[number] for number in ids)
        return re.sub(r"""\s+([,.:;?!"()'])""", r"\1", spaced)


# %% [markdown]
# The package's class of this name (`tokenizer/simple.py`) gives the same ids and the same text:

# %%
tokenizer_v1 = SimpleTokenizerV1(vocabulary)
packages_v1 = ch02.SimpleTokenizerV1(vocabulary)
assert tokenizer_v1.encode(text) == packages_v1.encode(text)
assert tokenizer_v1.decode(tokenizer_v1.encode(text)) == packages_v1.decode(packages_v1.encode(text))

excerpt = " ".join(text.split()[:14])
ids = tokenizer_v1.encode(excerpt)
print(excerpt)
print(ids)
print(tokenizer_v1.decode(ids))
assert tokenizer_v1.encode(tokenizer_v1.decode(ids)) == ids

try:
    tokenizer_v1.encode("Zanzibar!")
except KeyError as error:
    print("A word that the text does not have:", repr(error))

# %% [markdown]
# ## 1.5 SimpleTokenizerV2 and special tokens (section 2.4)
#
# Two tokens that no text contains by itself are added at the end of the vocabulary: `<|unk|>` stands for every
# unknown word, and `<|endoftext|>` stands between two texts that have nothing to do with each other, so that the
# model can learn that what comes before it is of no use. Nothing raises an error any more, but what an unknown word
# was is gone.


# %%
class SimpleTokenizerV2(SimpleTokenizerV1):
    """The same with `<|unk|>` for every word that the vocabulary does not have."""

    def encode(self, text: str) -> list[int]:
        pieces = re.split(r"""([,.:;?_!"()']|--|\s)""", text)
        unknown = self.str_to_int[UNKNOWN]
        return [self.str_to_int.get(piece, unknown) for piece in pieces if piece.strip()]


vocabulary_v2 = build_vocabulary(text, special=[END_OF_TEXT, UNKNOWN])
tokenizer_v2 = SimpleTokenizerV2(vocabulary_v2)
two_texts = f" {END_OF_TEXT} ".join(["Quite so, said Gwendolen.", "It had been a fine day."])
print(tokenizer_v2.encode(two_texts))
print(tokenizer_v2.decode(tokenizer_v2.encode(two_texts)))
packages_v2 = ch02.SimpleTokenizerV2(vocabulary_v2)
assert tokenizer_v2.encode(two_texts) == packages_v2.encode(two_texts)
assert len(vocabulary_v2) == len(vocabulary) + 2
assert vocabulary_v2[UNKNOWN] == len(vocabulary) + 1
unknown = [word not in vocabulary for word in split_words(lighthouse[:2000] if verdict else "A quick brown fox jumps.")]
print(f"In a text that it was not made from, {np.mean(unknown):.0%} of the words are unknown to it.")

# %% [markdown]
# ## 1.6 Byte-pair encoding (section 2.5, and the companion's `ch02/05`)
#
# GPT-2's answer: let the smallest tokens be the 256 *bytes*, so that every text can be written, and make frequent
# neighbours into tokens of their own. Training is one loop: count all pairs of neighbours, merge the most frequent
# pair, repeat. Watch it on one line, in which the syllables come back again and again:


# %%
def trained_on(text: str, vocab_size: int) -> tiktoken.Encoding:
    """Train a byte-pair encoding, write its two files, and load them."""
    with TemporaryDirectory() as folder:
        save_bpe(*train_bpe(text, vocab_size), Path(folder))
        return load_tokenizer(Path(folder))


line = "low lower lowest, new newer newest, slow slower slowest"
for merges_made in range(8):
    encoding = trained_on(line, 257 + merges_made)  # 256 bytes and <|endoftext|> are there from the beginning
    pieces = [encoding.decode([number]) for number in encoding.encode(line)]
    newest = encoding.decode([255 + merges_made]) if merges_made else "(none)"
    print(f"{merges_made} merges, newest {newest!r:9} {len(pieces):3} tokens: {'|'.join(pieces)}")
    assert "".join(pieces) == line  # nothing is ever lost

# %% [markdown]
# (In the files of GPT-2 the space is written `Ġ`, as every byte is written as one visible character.) Two things
# are worth noticing. A space belongs to the word *after* it, so that `low` at the beginning and ` low` later are
# different tokens. And no token crosses a word, because the text is cut by this pattern before anything is merged:

# %%
print(PATTERN)
print(regex.findall(PATTERN, "He'll pay 25 pounds --   not a penny more!"))
assert byte_symbols()[ord(" ")] == "Ġ"

# %% [markdown]
# More merges, fewer tokens: the price is a larger embedding and output layer. Here is a curve over the sample
# story.

# %%
sizes = [257, 300, 400, 600, 900, 1200, 1600]
lengths = [len(trained_on(lighthouse, size).encode(lighthouse)) for size in sizes]
figure, axes = plt.subplots(figsize=(6, 3.2))
axes.plot(sizes, [len(lighthouse) / length for length in lengths], "o-")
axes.set(xlabel="size of the vocabulary", ylabel="characters per token", title="What the merges buy")
figure.tight_layout()
plt.show()
assert sorted(lengths, reverse=True) == lengths

# %% [markdown]
# The sample tokenizer in `data/sample/bpe` was made so, with 1,536 tokens; `python -m
# gpt_from_scratch.tokenizer.train` makes one of your own texts. GPT-2's has 50,257 tokens: 256 bytes, 50,000 merges
# and `<|endoftext|>`. Both are loaded by the same function, since both are the same two files.

# %%
try:
    gpt2 = None if samples_only else find_gpt2_tokenizer()
except InputError as error:
    gpt2 = None
    print(error)
tokenizer, which = (gpt2, "GPT-2's tokenizer") if gpt2 else (load_tokenizer(SAMPLE / "bpe"), "The sample's tokenizer")
if not gpt2:
    print("GPT-2's tokenizer of 50,257 tokens is not read here; `make repro PROFILE=book` fetches it into data/raw.")
print(f"{which}: {tokenizer.n_vocab:,} tokens; {END_OF_TEXT} is {tokenizer.eot_token}")
for example in ["Every effort moves you", "Flambrough Quillhaven", "Akwirw ier", "naïve 😀", "lighthouse Lighthouse"]:
    ids = tokenizer.encode(example)
    shown = [tokenizer.decode_single_token_bytes(number).decode("utf-8", "backslashreplace") for number in ids]
    print(f"{example:24} {ids}\n{'':24} {'|'.join(shown)}")
    assert tokenizer.decode(ids) == example
if gpt2:
    assert gpt2.n_vocab == 50257
    assert tokenizer.encode("Every effort moves you") == [6109, 3626, 6100, 345]
    if verdict:
        assert len(tokenizer.encode(verdict)) == 5145
        print("The Verdict: 5,145 tokens, the book's number.")

# %% [markdown]
# Made-up words fall apart into pieces and come back whole (exercise 2.1): no `<|unk|>` is needed. And
# `<|endoftext|>` in a text is *not* the special token unless the caller says that it may be; a text that merely
# quotes it must not be able to end a document.

# %%
quoted = f"one{END_OF_TEXT}two"
as_token = tokenizer.encode(quoted, allowed_special={END_OF_TEXT})
as_text = tokenizer.encode(quoted, disallowed_special=())
print("as the token:", as_token, " as plain text:", as_text)
assert tokenizer.eot_token in as_token and tokenizer.eot_token not in as_text

# %% [markdown]
# ### Tokens of your own (the companion's `ch05/09`)
#
# New special tokens get the ids after the last one. The model then needs a row more for each in its embedding, and
# an output more; the rows that were there keep their numbers, so nothing that it knew is lost.

# %%
longer = tiktoken.Encoding(
    "extended",
    pat_str=PATTERN,
    mergeable_ranks=tokenizer._mergeable_ranks,
    special_tokens={END_OF_TEXT: tokenizer.eot_token, "<|user|>": tokenizer.n_vocab, "<|gpt|>": tokenizer.n_vocab + 1},
)
chat = "<|user|>Is it lit?<|gpt|>It is."
print(longer.encode(chat, allowed_special="all"))
assert longer.encode(chat, allowed_special="all")[0] == tokenizer.n_vocab
assert longer.encode("Is it lit?") == tokenizer.encode("Is it lit?")

old = nn.Embedding(tokenizer.n_vocab, 8)
new = nn.Embedding(longer.n_vocab, 8)
with torch.no_grad():
    new.weight[: tokenizer.n_vocab] = old.weight
assert torch.equal(new(torch.tensor(tokenizer.encode("Is it lit?"))), old(torch.tensor(tokenizer.encode("Is it lit?"))))

# %% [markdown]
# ## 1.7 A sliding window (section 2.6)
#
# A language model learns to say the next token. So the target of a window is the window itself, one token later,
# and one window of 4 tokens holds 4 exercises:

# %%
token_ids = tokenizer.encode(text)
for end in range(1, 5):
    print(f"{tokenizer.decode(token_ids[50 : 50 + end])!r:>30} → {tokenizer.decode([token_ids[50 + end]])!r}")

# %% [markdown]
# Numbers make it easier to see (the companion's `ch02/04`). The token ids are 0 to 20 here; a row of the picture is
# a window, dark where its inputs are, and the orange frame marks the targets. The *stride* is how far the next
# window begins: with 1 nearly everything is repeated, with the window's length every token is an input exactly
# once.

# %%
figure, panels = plt.subplots(1, 3, figsize=(12, 3.2), sharex=True)
for panel, stride in zip(panels, (1, 2, 4), strict=True):
    windows = TokenWindows(list(range(21)), 4, stride)
    picture = np.zeros((len(windows), 21))
    for row, (inputs, targets) in enumerate(windows):
        picture[row, inputs] = 1
        corner = (targets[0] - 0.5, row - 0.5)
        panel.add_patch(plt.Rectangle(corner, 4, 1, fill=False, edgecolor="tab:orange", clip_on=False))
        assert torch.equal(targets, inputs + 1)
    panel.imshow(picture, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    panel.set(title=f"stride {stride}: {len(windows)} windows", xlabel="token", ylabel="window")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
figure.tight_layout()
plt.show()

# %% [markdown]
# The book's `GPTDatasetV1` is this window over a text, and `create_dataloader_v1` makes batches of it. The function
# takes no tokenizer, it reads GPT-2's. Where that is not at hand, the sample's is lent to it here.

# %%
dataset = GPTDatasetV1(text, tokenizer, max_length=4, stride=4)
first_inputs, first_targets = dataset[0]
assert first_inputs.tolist() == token_ids[:4] and first_targets.tolist() == token_ids[1:5]

with patch("gpt_from_scratch.book.ch02.find_gpt2_tokenizer", return_value=tokenizer):
    for max_length, stride in ((4, 1), (4, 4), (2, 2), (8, 2)):  # the last two are exercise 2.2
        dataloader = create_dataloader_v1(text, batch_size=8, max_length=max_length, stride=stride, shuffle=False)
        inputs, targets = next(iter(dataloader))
        print(f"max_length {max_length}, stride {stride}: {len(dataloader):5,} batches of {tuple(inputs.shape)}")
        print(f"  inputs  {inputs[:2].tolist()} …\n  targets {targets[:2].tolist()} …")
        assert inputs[0].tolist() == token_ids[:max_length]
        assert inputs[1].tolist() == token_ids[stride : stride + max_length]
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
if gpt2 and verdict:
    assert token_ids[:4] == [40, 367, 2885, 1464]  # the book's first window

# %% [markdown]
# The pipeline's `text_loaders` gives two of them: shuffled for training, in order for validation.

# %%
torch.manual_seed(123)
train_loader, _ = text_loaders(token_ids, token_ids, context_length=4, stride=4, batch_size=8)
inputs, targets = next(iter(train_loader))
print("inputs ", tuple(inputs.shape), inputs[0].tolist(), repr(tokenizer.decode(inputs[0].tolist())))
print("targets", tuple(targets.shape), targets[0].tolist(), repr(tokenizer.decode(targets[0].tolist())))
assert torch.equal(inputs[:, 1:], targets[:, :-1])

# %% [markdown]
# ## 1.8 Token embeddings (section 2.7, and the companion's `ch02/03`)
#
# An id is only a name: token 7 is not "more" than token 6. So each id gets a vector, a row of a matrix that is
# learnt like any other weight. Looking up row 3 is the same as multiplying a one-hot vector with the matrix,
# without all the zeros.

# %%
torch.manual_seed(123)
embedding = nn.Embedding(6, 3)
some_ids = torch.tensor([2, 3, 5, 1])
one_hot = nn.functional.one_hot(some_ids, num_classes=6).float()
assert torch.equal(embedding(some_ids), one_hot @ embedding.weight)

linear = nn.Linear(6, 3, bias=False)
linear.weight = nn.Parameter(embedding.weight.T.contiguous().detach())
assert torch.equal(embedding(some_ids), linear(one_hot))

figure, panels = plt.subplots(1, 3, figsize=(10, 2.9), width_ratios=[6, 3, 3])
for panel, matrix, title in zip(
    panels,
    (one_hot, embedding.weight.detach(), embedding(some_ids).detach()),
    (f"one-hot of {some_ids.tolist()}", "embedding matrix", "= their vectors"),
    strict=True,
):
    panel.imshow(matrix, cmap="RdBu", vmin=-3, vmax=3)
    panel.set(title=title, xticks=[], yticks=range(len(matrix)))
    for (row, column), value in np.ndenumerate(matrix.numpy()):
        color = "white" if abs(value) > 1.9 else "black"  # both ends of the scale are dark
        panel.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=color)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 1.9 Position embeddings (section 2.8)
#
# The lookup gives `light` the same vector wherever it stands, and attention (the next notebook) looks at a set, not
# at a row. So GPT-2 has a second matrix with one learnt vector per *place*, and adds the two. This sum is what the
# first transformer block sees.

# %%
torch.manual_seed(123)
vocab_size, width, context_length = tokenizer.n_vocab, 256, 4
token_embedding = nn.Embedding(vocab_size, width)
position_embedding = nn.Embedding(context_length, width)
token_vectors = token_embedding(inputs)
position_vectors = position_embedding(torch.arange(context_length))
input_vectors = token_vectors + position_vectors
print("tokens", tuple(token_vectors.shape), "+ places", tuple(position_vectors.shape), "=", tuple(input_vectors.shape))
assert input_vectors.shape == (8, context_length, width)

twice = token_embedding(torch.tensor([7, 7])) + position_embedding(torch.tensor([0, 3]))
assert not torch.equal(twice[0], twice[1])  # the same token in two places is no longer the same vector

figure, panels = plt.subplots(3, 1, figsize=(10, 4.8), sharex=True)
for panel, matrix, title in zip(
    panels,
    (token_vectors[0], position_vectors, input_vectors[0]),
    ("token vectors of the first row", "position vectors", "their sum"),
    strict=True,
):
    panel.imshow(matrix.detach()[:, :64], cmap="RdBu", vmin=-3, vmax=3, aspect="auto")
    panel.set(title=title, yticks=range(context_length), ylabel="place")
panels[-1].set_xlabel("the first 64 of 256 dimensions")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## What to try
#
# - Train a tokenizer on a text in another language and count its tokens per word against GPT-2's.
# - `dvc exp run -S pretrain.stride=32`: more, overlapping windows from the same text.
# - Next: [02_attention](02_attention.ipynb), what becomes of these vectors.
