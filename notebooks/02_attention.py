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
# # 2 · Attention
#
# Chapter 3 in one sitting. A token's vector says what the token is; what it *means* depends on its neighbours.
# Attention lets every token gather from the others what it needs. We compute it by hand on six words with three
# numbers each, small enough to draw, and then add one thing at a time until it is what GPT-2 does: trainable
# weights, a mask that hides the future, dropout, several heads. At the end all the ways to compute it are held
# against each other.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from gpt_from_scratch.book import ch03
from gpt_from_scratch.book.ch03 import (
    MultiHeadAttentionWrapper,
    PyTorchMultiHeadAttention,
    SelfAttention_v1,
    SelfAttention_v2,
)
from gpt_from_scratch.model import GPTConfig, GPTModel, KVCache
from gpt_from_scratch.model.attention import causal_mask, explicit_attention, fused_attention
from gpt_from_scratch.model.fast import with_one_projection
from gpt_from_scratch.model.layers import use_kernels

plt.rcParams.update({"figure.dpi": 90})
torch.set_printoptions(precision=4, sci_mode=False)


def heat(panel: plt.Axes, matrix: Tensor, title: str, rows: list[str], columns: list[str], **options: object) -> None:
    """Draw a matrix with its numbers."""
    matrix = matrix.detach()
    picture = panel.imshow(matrix, **{"cmap": "Blues", "vmin": 0, **options})
    panel.set_title(title)
    panel.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    panel.set_yticks(range(len(rows)), rows)
    for (row, column), value in np.ndenumerate(matrix.numpy()):
        red, green, blue, _ = picture.to_rgba(value)
        color = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
        number = f"{value:.2f}".replace("-inf", "−∞")
        panel.text(column, row, number, ha="center", va="center", fontsize=8, color=color)


# %% [markdown]
# ## 2.1 Six words (section 3.3)
#
# The vectors are made up, so that they can be drawn: `lamp` and `light` point about the same way, `sea` another
# way. In a real model they would come from the embeddings of the first notebook and have hundreds of dimensions.

# %%
words = ["The", "lamp", "gives", "light", "at", "sea"]
x = torch.tensor(
    [
        [0.30, 0.20, 0.15],  # The
        [0.85, 0.25, 0.35],  # lamp
        [0.40, 0.80, 0.20],  # gives
        [0.90, 0.35, 0.20],  # light
        [0.20, 0.15, 0.35],  # at
        [0.10, 0.30, 0.90],  # sea
    ]
)


def arrows(panel: plt.Axes, vectors: Tensor, names: list[str], color: str) -> None:
    """Draw vectors from the origin."""
    for vector, name in zip(vectors.detach().tolist(), names, strict=True):
        panel.quiver(0, 0, 0, *vector, color=color, arrow_length_ratio=0.08, linewidth=1.5)
        behind = {"facecolor": "white", "alpha": 0.85, "pad": 0.6, "linewidth": 0}  # no line runs through a word
        panel.text(*(1.08 * value for value in vector), name, color=color, bbox=behind)


figure = plt.figure(figsize=(6, 5))
space = figure.add_subplot(projection="3d")
arrows(space, x, words, "tab:blue")
space.set(xlim=(0, 1), ylim=(0, 1), zlim=(0, 1), title="Six words as vectors")
space.view_init(elev=24, azim=-50)
plt.show()

# %% [markdown]
# ## 2.2 How much two words have to do with each other: the dot product (section 3.3.1)
#
# Multiply the coordinates in pairs and add up. The more two vectors point the same way, and the longer they are,
# the larger the number. Take `light` as the *query* and ask all six words:

# %%
query = x[3]
scores_of_light = torch.stack([sum(a * b for a, b in zip(query, other, strict=True)) for other in x])
print(dict(zip(words, [round(score, 3) for score in scores_of_light.tolist()], strict=True)))
assert torch.allclose(scores_of_light, x @ query)
assert scores_of_light.argmax() == 3  # itself, and right behind it
assert scores_of_light.argsort(descending=True)[1] == 1  # the lamp

# %% [markdown]
# Scores become *weights* that are positive and sum to 1 by the softmax. Written down directly it overflows for
# large scores; subtracting the largest first changes nothing mathematically and everything in practice. PyTorch
# does so.

# %%
weights_of_light = scores_of_light.exp() / scores_of_light.exp().sum()
assert torch.allclose(weights_of_light, torch.softmax(scores_of_light, dim=0))
assert torch.allclose(weights_of_light.sum(), torch.tensor(1.0))

large = torch.tensor([1000.0, 1001.0])
print("directly:", large.exp() / large.exp().sum(), " shifted by the largest:", torch.softmax(large, dim=0))
assert (large.exp() / large.exp().sum()).isnan().all() and not torch.softmax(large, dim=0).isnan().any()

# %% [markdown]
# The *context vector* of `light` is the mean of all six vectors under these weights: `light`, seen in this
# sentence. Drawn in space it lies among the words, nearer to those that it attends to.

# %%
context_of_light = weights_of_light @ x
by_hand = sum(weight * vector for weight, vector in zip(weights_of_light, x, strict=True))
assert torch.allclose(context_of_light, by_hand)

figure = plt.figure(figsize=(6, 5))
space = figure.add_subplot(projection="3d")
arrows(space, x, words, "tab:blue")
for vector, weight in zip(x.tolist(), weights_of_light.tolist(), strict=True):
    ends = zip(vector, context_of_light.tolist(), strict=True)
    space.plot(*ends, color="tab:orange", alpha=0.6, linewidth=40 * (weight - 0.1), solid_capstyle="butt")
space.scatter(*context_of_light.tolist(), color="tab:red", s=40)
label = (context_of_light + torch.tensor([0.0, 0.0, 0.45])).tolist()
space.plot(*zip(context_of_light.tolist(), label, strict=True), color="tab:red", linewidth=0.8, linestyle=":")
space.text(*label, "light, in context", color="tab:red", ha="center", va="bottom")
space.set(xlim=(0, 1), ylim=(0, 1), zlim=(0, 1), title="The wider the line, the larger the attention weight")
space.view_init(elev=24, azim=-50)
plt.show()

# %% [markdown]
# ## 2.3 All words at once (section 3.3.2)
#
# Every word is the query once. Two loops would do it; one matrix product does the same. A row of the right picture
# says what one word attends to.

# %%
scores = torch.empty(6, 6)
for i, a in enumerate(x):
    for j, b in enumerate(x):
        scores[i, j] = a @ b
assert torch.allclose(scores, x @ x.T)
weights = torch.softmax(scores, dim=-1)
contexts = weights @ x
assert torch.allclose(weights.sum(dim=-1), torch.ones(6))
assert torch.allclose(contexts[3], context_of_light)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
heat(left, scores, "scores: x xᵀ", words, words)
heat(right, weights, "weights: softmax of each row", words, words)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 2.4 Trainable weights: queries, keys, values (section 3.4)
#
# So far nothing can be learnt: who attends to whom is fixed by the embeddings. Three matrices change that. A token
# is asked for in one role (*query*: what am I looking for?), found in another (*key*: what do I have?), and gives a
# third (*value*: what do I tell?).
#
# The scores are divided by √d, the root of the keys' width. A dot product of d random numbers has a standard
# deviation of √d, and large scores drive the softmax into a corner: one weight 1, all others 0, and a gradient of
# nearly nothing.

# %%
torch.manual_seed(123)
widths = [2, 8, 32, 128, 512, 2048]
largest, largest_scaled, slope, slope_scaled = [], [], [], []
for width in widths:
    keys, one_query = torch.randn(200, 16, width), torch.randn(200, 1, width)
    for divide, top, gradient in ((1.0, largest, slope), (width**0.5, largest_scaled, slope_scaled)):
        raw = (one_query @ keys.transpose(1, 2)).squeeze(1) / divide
        p = torch.softmax(raw, dim=-1)
        top.append(p.max(dim=-1).values.mean().item())
        gradient.append((p * (1 - p)).sum(dim=-1).mean().item())  # the diagonal of the softmax's derivative
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for panel, plain, scaled, title in (
    (left, largest, largest_scaled, "largest of 16 weights"),
    (right, slope, slope_scaled, "derivative of the softmax"),
):
    panel.semilogx(widths, plain, "o-", base=2, label="scores as they are")
    panel.semilogx(widths, scaled, "s-", base=2, label="divided by √d")
    panel.set(xlabel="width d of queries and keys", title=title)
    panel.legend()
figure.tight_layout()
plt.show()
assert largest[-1] > 0.9 and largest_scaled[-1] < 0.5
assert slope[-1] < slope_scaled[-1] / 3

# %% [markdown]
# Step by step for the second word, with matrices of random numbers, and then the class:

# %%
torch.manual_seed(123)
attention_v1 = SelfAttention_v1(d_in=3, d_out=2)
queries, keys, values = x @ attention_v1.W_query, x @ attention_v1.W_key, x @ attention_v1.W_value
scores_2 = queries[1] @ keys.T
weights_2 = torch.softmax(scores_2 / keys.shape[-1] ** 0.5, dim=-1)
context_2 = weights_2 @ values
print("weights of `lamp`:", weights_2.detach(), "\nits context vector:", context_2.detach())
assert torch.allclose(context_2, attention_v1(x)[1])

# %% [markdown]
# `SelfAttention_v2` has `nn.Linear` layers in place of bare matrices: the same computation, with initial weights
# that suit training better. A linear layer keeps its matrix transposed, and with that in mind one can be given the
# other's weights (exercise 3.1).

# %%
torch.manual_seed(789)
attention_v2 = SelfAttention_v2(d_in=3, d_out=2)
assert not torch.allclose(attention_v1(x), attention_v2(x))
with torch.no_grad():
    for name in ("W_query", "W_key", "W_value"):
        getattr(attention_v1, name).copy_(getattr(attention_v2, name).weight.T)
assert torch.allclose(attention_v1(x), attention_v2(x))
print("SelfAttention_v1 with the weights of v2:", (attention_v1(x) - attention_v2(x)).abs().max().item(), "apart")

# %% [markdown]
# ## 2.5 Hiding the future (section 3.5)
#
# A model that is to say the next word must not see it. So each word may look at itself and at what stands before.
# There are two ways to write it: compute all weights, set the upper triangle to 0 and divide each row by what is
# left of it; or set the *scores* there to −∞ before the softmax, whose exponential is exactly 0. They are equal,
# and the second is one step less. In particular nothing of the hidden words leaks through the sum under the
# fraction.
#
# The first way, from all weights to those of the lower triangle:

# %%
with torch.no_grad():
    queries, keys = attention_v2.W_query(x), attention_v2.W_key(x)
    scores = queries @ keys.T / keys.shape[-1] ** 0.5
everything = torch.softmax(scores, dim=-1)
zeroed = everything * torch.tril(torch.ones(6, 6))
renormalised = zeroed / zeroed.sum(dim=-1, keepdim=True)

figure, panels = plt.subplots(1, 3, figsize=(14, 4.2))
heat(panels[0], everything, "all weights", words, words, vmax=0.5)
heat(panels[1], zeroed, "upper triangle set to 0", words, words, vmax=0.5)
heat(panels[2], renormalised, "the rows sum to 1 again", words, words, vmax=1)
figure.tight_layout()
plt.show()

# %% [markdown]
# The second way: `triu` makes a mask of ones *above* the diagonal, `masked_fill` puts −∞ where it has a one, and
# the softmax does the rest.

# %%
mask = torch.triu(torch.ones(6, 6), diagonal=1)
masked_scores = scores.masked_fill(mask.bool(), -torch.inf)
masked = torch.softmax(masked_scores, dim=-1)
assert torch.allclose(masked, renormalised)
assert torch.equal(mask == 0, causal_mask(6, 6, x.device))  # the package's mask says where a word does see

figure, panels = plt.subplots(1, 3, figsize=(14, 4.2))
heat(panels[0], mask, "torch.triu(torch.ones(6, 6), diagonal=1)", words, words, vmax=1.5)
heat(panels[1], masked_scores, "scores.masked_fill(mask.bool(), -torch.inf)", words, words, vmin=None)
heat(panels[2], masked, "softmax of each row", words, words, vmax=1)
figure.tight_layout()
plt.show()

# %% [markdown]
# The weights in space: a column stands for what one word (the query) attends to in another (the key). Every row of
# columns has the height 1 in all. With the mask, half of the field is empty, and the first word has nobody but
# itself.


# %%
def columns(space: plt.Axes, weights: Tensor, title: str) -> None:
    """Draw attention weights as columns over a field of queries and keys."""
    for row, column in np.ndindex(*weights.shape):
        if height := weights[row, column].item():
            space.bar3d(column - 0.3, row - 0.3, 0, 0.6, 0.6, height, color=plt.cm.Blues(0.35 + 0.6 * row / 5))
    ticks = range(len(words))
    space.set_xticks(ticks, words, fontsize=8)
    space.set_yticks(ticks, words, fontsize=8)
    space.set_xlabel("key", labelpad=8)
    space.set_ylabel("query", labelpad=12)
    space.set(zlim=(0, 1), title=title)
    space.view_init(elev=32, azim=32)


figure, panels = plt.subplots(1, 2, figsize=(11, 5), subplot_kw={"projection": "3d"})
columns(panels[0], everything, "attention weights, all words seen")
columns(panels[1], masked, "attention weights behind the causal mask")
plt.show()

# %% [markdown]
# The second way as a class, with the dropout of 2.6. It takes a batch of texts, and the mask is made once, for the
# longest text.


# %%
class CausalAttention(nn.Module):
    """Self-attention in which no token sees a later one."""

    def __init__(self, d_in: int, d_out: int, context_length: int, dropout: float, qkv_bias: bool = False) -> None:
        super().__init__()
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        queries, keys, values = self.W_query(x), self.W_key(x), self.W_value(x)  # [batch, tokens, d_out]
        scores = queries @ keys.transpose(1, 2)  # [batch, tokens, tokens]
        scores = scores.masked_fill(self.mask[:tokens, :tokens].bool(), -torch.inf)
        weights = torch.softmax(scores / keys.shape[-1] ** 0.5, dim=-1)
        return self.dropout(weights) @ values


def same_seed(ours: type[nn.Module], packages: type[nn.Module], *settings: float) -> tuple[nn.Module, nn.Module]:
    """Return a module of each class, both made under the same seed."""
    torch.manual_seed(123)
    first = ours(*settings)
    torch.manual_seed(123)
    return first, packages(*settings)


batch = torch.stack([x, x.flip(0)])
written_out, packages_own = same_seed(CausalAttention, ch03.CausalAttention, 3, 2, 6, 0.5)
for mode in (True, False):  # with dropout and without
    results = []
    for attention in (written_out, packages_own):
        torch.manual_seed(1)
        results.append(attention.train(mode)(batch))
    assert torch.equal(*results)
print(tuple(batch.shape), "→", tuple(results[0].shape), "from both classes, and the same numbers")

# %% [markdown]
# The proof that nothing leaks: change the last word as much as you like, and no other word's result changes.

# %%
torch.manual_seed(123)
causal = CausalAttention(d_in=3, d_out=2, context_length=6, dropout=0.0)
changed = x.clone()
changed[-1] = torch.tensor([100.0, -100.0, 100.0])
before, after = causal(x[None])[0], causal(changed[None])[0]
different = [word for word, a, b in zip(words, before, after, strict=True) if not torch.allclose(a, b)]
print("changed by the last word:", different)
assert different == ["sea"]

# %% [markdown]
# ## 2.6 Dropout on the weights (section 3.5.2)
#
# In training some attention weights are set to 0 at random, and the others are made larger by 1/(1 − p), so that
# the mean stays. No word can rely on one other word alone. In evaluation mode nothing is dropped.

# %%
torch.manual_seed(123)
dropout = nn.Dropout(0.5)
dropped = dropout(masked)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
heat(left, dropped, "one draw, p = 0.5", words, words, vmax=2)
average = torch.stack([dropout(masked) for _ in range(4000)]).mean(dim=0)
heat(right, average, "the mean of 4,000 draws", words, words, vmax=1)
figure.tight_layout()
plt.show()
kept = dropped != 0
assert torch.allclose(dropped[kept], 2 * masked[kept])
assert torch.allclose(average, masked, atol=0.06)
assert torch.equal(dropout.eval()(masked), masked)

# %% [markdown]
# ### Buffers (the companion's `ch03/03`)
#
# The mask of `CausalAttention` is no weight, but it has to be where the weights are. Registered as a *buffer*, it
# moves with the module (here onto PyTorch's `meta` device, which needs no GPU to try) and is saved with it; a plain
# attribute stays behind. The package's `MultiHeadAttention` has no such buffer: it makes the mask when it needs it,
# and so has nothing to store.

# %%
moved = CausalAttention(3, 2, 6, 0.0)
moved.plain = torch.ones(2)
moved = moved.to("meta")
print("weights on", moved.W_query.weight.device, "· buffer on", moved.mask.device, "· attribute on", moved.plain.device)
print("saved:", list(causal.state_dict()))
assert moved.mask.device.type == "meta" and moved.plain.device.type == "cpu"
assert "mask" in causal.state_dict() and "mask" not in ch03.MultiHeadAttention(4, 4, 6, 0.0, 2).state_dict()

# %% [markdown]
# ## 2.7 Several heads (section 3.6)
#
# One head gives one way of looking. The wrapper runs several side by side and joins their results: two heads of
# width 2 give 4 numbers a word (with `d_out=1` it is 2 again, exercise 3.2).

# %%
torch.manual_seed(123)
wrapper = MultiHeadAttentionWrapper(d_in=3, d_out=2, context_length=6, dropout=0.0, num_heads=2)
print(tuple(batch.shape), "→", tuple(wrapper(batch).shape))
assert wrapper(batch).shape == (2, 6, 4)
assert MultiHeadAttentionWrapper(3, 1, 6, 0.0, 2)(batch).shape == (2, 6, 2)

# %% [markdown]
# `MultiHeadAttention` does it in one go: one wide projection, cut into heads by a reshape, all heads in one batched
# matrix product, and a linear layer at the end that mixes what the heads found.


# %%
class MultiHeadAttention(nn.Module):
    """Causal attention in several heads at once."""

    def __init__(
        self, d_in: int, d_out: int, context_length: int, dropout: float, num_heads: int, qkv_bias: bool = False
    ) -> None:
        super().__init__()
        assert d_out % num_heads == 0, "the heads share d_out evenly"
        self.num_heads, self.head_dim = num_heads, d_out // num_heads
        self.W_query = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_key = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.W_value = nn.Linear(d_in, d_out, bias=qkv_bias)
        self.out_proj = nn.Linear(d_out, d_out)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", torch.triu(torch.ones(context_length, context_length), diagonal=1))

    def in_heads(self, projected: Tensor) -> Tensor:
        batch, tokens, _ = projected.shape  # [batch, tokens, d_out] → [batch, heads, tokens, head_dim]
        return projected.view(batch, tokens, self.num_heads, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        queries, keys, values = (self.in_heads(part(x)) for part in (self.W_query, self.W_key, self.W_value))
        scores = queries @ keys.transpose(2, 3)  # [batch, heads, tokens, tokens]
        scores = scores.masked_fill(self.mask[:tokens, :tokens].bool(), -torch.inf)
        weights = self.dropout(torch.softmax(scores / self.head_dim**0.5, dim=-1))
        side_by_side = (weights @ values).transpose(1, 2).reshape(batch, tokens, -1)  # [batch, tokens, d_out]
        return self.out_proj(side_by_side)


written_out, packages_own = same_seed(MultiHeadAttention, ch03.MultiHeadAttention, 3, 4, 6, 0.0, 2)
assert torch.allclose(written_out(batch), packages_own(batch), atol=1e-6)
wide = torch.randn(2, 50, 96)
written_out, packages_own = same_seed(MultiHeadAttention, ch03.MultiHeadAttention, 96, 96, 64, 0.0, 8)
assert torch.allclose(written_out(wide), packages_own(wide), atol=1e-6)
print("The class above and the package's give the same, also", tuple(wide.shape), "in 8 heads.")

# %% [markdown]
# Given the wrapper's weights side by side, and an output projection that changes nothing, it computes what the
# wrapper does:

# %%
multi = MultiHeadAttention(d_in=3, d_out=4, context_length=6, dropout=0.0, num_heads=2)
with torch.no_grad():
    for name in ("W_query", "W_key", "W_value"):
        getattr(multi, name).weight.copy_(torch.cat([getattr(head, name).weight for head in wrapper.heads]))
    multi.out_proj.weight.copy_(torch.eye(4))
    multi.out_proj.bias.zero_()
assert torch.allclose(multi(batch), wrapper(batch), atol=1e-6)
print("wrapper and MultiHeadAttention:", (multi(batch) - wrapper(batch)).abs().max().item(), "apart")


def head_weights(attention: MultiHeadAttention, x: Tensor) -> Tensor:
    """Return the attention weights `[batch, heads, tokens, tokens]`: its values replaced by the unit matrix."""
    heads = (attention.num_heads, attention.head_dim)
    queries, keys = (part(x).unflatten(-1, heads).transpose(1, 2) for part in (attention.W_query, attention.W_key))
    unit = torch.eye(x.shape[1]).expand(len(x), attention.num_heads, -1, -1)
    return explicit_attention(queries, keys, unit, causal_mask(x.shape[1], x.shape[1], x.device), nn.Dropout(0.0))


figure, panels = plt.subplots(1, 2, figsize=(10, 4.4))
for number, panel in enumerate(panels):
    # Four times as large inputs, since untrained heads hardly tell these six words apart.
    heat(panel, head_weights(multi, 4 * batch)[0, number], f"head {number}", words, words, vmax=1)
figure.tight_layout()
plt.show()

# %% [markdown]
# At the size of the smallest GPT-2 (exercise 3.3): 768 wide, 12 heads of 64, 1,024 tokens.

# %%
with torch.device("meta"):
    gpt2_size = MultiHeadAttention(d_in=768, d_out=768, context_length=1024, dropout=0.0, num_heads=12)
count = sum(parameter.numel() for parameter in gpt2_size.parameters())
print(f"{count:,} parameters, whatever the number of heads")
assert count == 4 * 768 * 768 + 768

# %% [markdown]
# ## 2.8 Many ways, one result (the companion's `ch03/02`)
#
# The step-by-step computation writes the matrix of scores, tokens × tokens for every head, into memory several
# times. Fused kernels never have it in memory as a whole, and are faster. A faster way is only of use if it is the
# same: here each is given the same weights, and held to 1e-5, with its gradients.

# %%
torch.manual_seed(123)
tokens, width, heads = 256, 256, 8
reference = ch03.MultiHeadAttention(width, width, tokens, 0.0, heads, qkv_bias=True)
data = torch.randn(2, tokens, width)


def fused(x: Tensor) -> Tensor:
    """The same module with PyTorch's kernels."""
    use_kernels(reference, "fused")
    result = reference(x)
    use_kernels(reference, "explicit")
    return result


def einsum(x: Tensor) -> Tensor:
    """Every sum written as an Einstein sum."""

    def project(layer: nn.Linear) -> Tensor:
        return torch.einsum("bti,hoi->bhto", x, layer.weight.view(heads, -1, width)) + layer.bias.view(heads, 1, -1)

    q, k, v = (project(layer) for layer in (reference.W_query, reference.W_key, reference.W_value))
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k).masked_fill(~causal_mask(tokens, tokens, x.device), -torch.inf)
    context = torch.einsum("bhqk,bhkd->bqhd", torch.softmax(scores / (width // heads) ** 0.5, dim=-1), v)
    return reference.out_proj(context.flatten(2))


one_projection: PyTorchMultiHeadAttention = with_one_projection(reference)

torchs_own = nn.MultiheadAttention(width, heads, batch_first=True)
with torch.no_grad():
    torchs_own.in_proj_weight.copy_(one_projection.qkv.weight)
    torchs_own.in_proj_bias.copy_(one_projection.qkv.bias)
    torchs_own.out_proj.load_state_dict(reference.out_proj.state_dict())


def pytorch_module(x: Tensor) -> Tensor:
    """PyTorch's own attention module; its mask is True where nothing may be seen."""
    hidden = ~causal_mask(tokens, tokens, x.device)
    return torchs_own(x, x, x, attn_mask=hidden, need_weights=False)[0]


def fused_with_mask(x: Tensor) -> Tensor:
    """The fused kernel, told by a mask instead of by `is_causal`."""
    parts = (reference.W_query, reference.W_key, reference.W_value)
    q, k, v = (part(x).unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
    context = fused_attention(q, k, v, causal_mask(tokens, tokens, x.device), 0.0)
    return reference.out_proj(context.transpose(1, 2).flatten(2))


ways = {
    "explicit, step by step": reference,
    "Einstein sums": einsum,
    "fused": fused,
    "fused, with a mask": fused_with_mask,
    "fused, one projection": one_projection,
    "PyTorch's module": pytorch_module,
}


def with_gradient(way: object) -> tuple[Tensor, Tensor]:
    """Return a way's result, and the gradient that reaches its input."""
    leaf = data.clone().requires_grad_()
    result = way(leaf)
    (gradient,) = torch.autograd.grad(result.square().sum(), leaf)
    return result.detach(), gradient


expected, expected_gradient = with_gradient(reference)
for name, way in ways.items():
    result, gradient = with_gradient(way)
    apart, gradient_apart = (result - expected).abs().max(), (gradient - expected_gradient).abs().max()
    print(f"{name:24} {apart:.1e} apart, gradient {gradient_apart:.1e}")
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-4)

# %% [markdown]
# (`gpt_from_scratch.model.attention` holds the first and the third; a model chooses by `kernels: explicit` or
# `fused`. How fast each is: `gpt experiments run attention`, and [docs/performance.md](../docs/performance.md).)
#
# ## 2.9 One token at a time: the KV cache (the companion's `ch04/03`)
#
# When a text is written token by token, the keys and values of the earlier tokens never change: the mask keeps them
# from seeing what is new. So they are kept, and only the new token is computed. Piece by piece, the result is the
# same:

# %%
torch.manual_seed(123)
cfg = GPTConfig(vocab_size=100, context_length=32, emb_dim=48, n_heads=4, n_layers=2, drop_rate=0.0)
model = GPTModel(cfg).eval()
ids = torch.randint(100, (1, 20))
cache = KVCache(cfg, batch_size=1, capacity=32, device=model.device, dtype=torch.float32)
with torch.no_grad():
    at_once = model(ids)
    piecewise = torch.cat([model(piece, cache) for piece in ids.split([7, 1, 1, 4, 1, 6], dim=1)], dim=1)
torch.testing.assert_close(piecewise, at_once, rtol=1e-5, atol=1e-5)
print(
    "all at once and piece by piece:", (piecewise - at_once).abs().max().item(), "apart;", cache.length, "tokens kept"
)

explicit_and_fused = [GPTModel(replace(cfg, kernels=kernels)).eval() for kernels in ("explicit", "fused")]
explicit_and_fused[1].load_state_dict(explicit_and_fused[0].state_dict())
with torch.no_grad():
    torch.testing.assert_close(explicit_and_fused[0](ids), explicit_and_fused[1](ids), rtol=1e-4, atol=1e-5)

# %% [markdown]
# ### What attention costs
#
# The scores are tokens × tokens: twice the text is four times the work in this part, while the linear layers only
# double. At the width of GPT-2 124M the scores overtake the projections at about 1,500 tokens:

# %%
lengths = np.array([64, 256, 1024, 4096, 16384])
projections = 2 * 4 * lengths * 768**2
score_products = 2 * 2 * lengths**2 * 768
figure, axes = plt.subplots(figsize=(6, 3))
axes.loglog(lengths, projections, "o-", label="the four projections")
axes.loglog(lengths, score_products, "s-", label="scores and weighted sums")
axes.set(xlabel="tokens", ylabel="operations per layer", title="One attention layer, 768 wide")
axes.legend()
figure.tight_layout()
plt.show()
crossing = 2 * 768
assert projections[2] > score_products[2] and projections[3] < score_products[3] and 1024 < crossing < 4096

# %% [markdown]
# ## What to try
#
# - Change a vector in `x` and follow the context vector of `light` in the 3-D picture.
# - Draw `head_weights` of a trained model: `load_model("models/pretrain")`, and `model.embed(ids)` normed.
# - Next: [03_architecture](03_architecture.ipynb), the whole model around this layer.
