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
# # 4 · GPT in one page
#
# A compact `WholeGPTBlock` reference: everything of chapters 3 and 4 that is the model, and reading weights
# (chapter 5), in one cell that imports nothing of this project. It is the model without the options: no cache, no
# fused kernels, no choice of kernels, no padding. Read it from top to bottom; what follows shows that it is the same
# model as the package's, to the last initial weight, and a test (`tests/notebooks/test_gpt_in_one_page.py`) holds it
# so.
#
# Shapes in the comments: B sequences, T tokens, C numbers a token (`emb_dim`), V tokens in the vocabulary.

# %% tags=["the-page"]
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Config:
    """GPT-2 124M; chapter 4's own has no bias in queries, keys and values, and its own output head."""

    vocab_size: int = 50257
    context_length: int = 1024
    emb_dim: int = 768
    n_heads: int = 12
    n_layers: int = 12
    drop_rate: float = 0.1
    qkv_bias: bool = True
    tie_weights: bool = True


class LayerNorm(nn.Module):
    """Every token's vector to mean 0 and variance 1, then scaled and shifted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.scale * centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + 1e-5) + self.shift


class GELU(nn.Module):
    """A ReLU with a soft corner, in the tanh form."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Attention(nn.Module):
    """Each token gathers from those before it what it needs, in several heads."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.n_heads = cfg.n_heads
        self.W_query = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.W_key = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.W_value = nn.Linear(cfg.emb_dim, cfg.emb_dim, bias=cfg.qkv_bias)
        self.out_proj = nn.Linear(cfg.emb_dim, cfg.emb_dim)
        self.dropout = nn.Dropout(cfg.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        heads = (B, T, self.n_heads, C // self.n_heads)
        q, k, v = (part(x).view(heads).transpose(1, 2) for part in (self.W_query, self.W_key, self.W_value))
        scores = q @ k.transpose(2, 3) / math.sqrt(heads[-1])  # B, heads, T, T
        future = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        weights = self.dropout(torch.softmax(scores.masked_fill(future, -torch.inf), dim=-1))
        return self.out_proj((weights @ v).transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    """Tokens talk to each other, then each thinks for itself; both are added to what was there."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.att = Attention(cfg)
        self.ff = nn.Module()
        self.ff.layers = nn.Sequential(
            nn.Linear(cfg.emb_dim, 4 * cfg.emb_dim), GELU(), nn.Linear(4 * cfg.emb_dim, cfg.emb_dim)
        )
        self.norm1, self.norm2 = LayerNorm(cfg.emb_dim), LayerNorm(cfg.emb_dim)
        self.dropout = nn.Dropout(cfg.drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.att(self.norm1(x)))
        return x + self.dropout(self.ff.layers(self.norm2(x)))


class GPT(nn.Module):
    """GPT-2."""

    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.cfg = cfg
        self.tok_emb = nn.Embedding(cfg.vocab_size, cfg.emb_dim)
        self.pos_emb = nn.Embedding(cfg.context_length, cfg.emb_dim)
        self.dropout = nn.Dropout(cfg.drop_rate)
        self.trf_blocks = nn.Sequential(*(Block(cfg) for _ in range(cfg.n_layers)))
        self.final_norm = LayerNorm(cfg.emb_dim)
        self.out_head = nn.Linear(cfg.emb_dim, cfg.vocab_size, bias=False)
        if cfg.tie_weights:
            self.out_head.weight = self.tok_emb.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids `[B, T]` → logits of the next token `[B, T, V]`."""
        x = self.dropout(self.tok_emb(ids) + self.pos_emb(torch.arange(ids.shape[1], device=ids.device)))
        return self.out_head(self.final_norm(self.trf_blocks(x)))

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats; targets of −100 are not learnt."""
        return F.cross_entropy(self(ids).flatten(0, 1), targets.flatten())

    @torch.no_grad()
    def generate(self, ids: Tensor, new: int, temperature: float = 0.0, top_k: int | None = None) -> Tensor:
        """Append `new` tokens to `[B, T]`: the likeliest ones, or at a temperature drawn ones."""
        for _ in range(new):
            logits = self(ids[:, -self.cfg.context_length :])[:, -1]
            if temperature == 0:
                chosen = logits.argmax(-1, keepdim=True)
            else:
                best, place = logits.topk(min(top_k or logits.shape[-1], logits.shape[-1]))
                chosen = place.gather(-1, torch.multinomial(torch.softmax(best / temperature, -1), 1))
            ids = torch.cat([ids, chosen], dim=1)
        return ids

    @torch.no_grad()
    def load_huggingface(self, folder: Path) -> None:
        """Take the weights of a GPT-2 in Hugging Face's layout: transposed projections, q, k and v in one."""
        read = load_file(Path(folder) / "model.safetensors")
        t = {name.removeprefix("transformer."): value for name, value in read.items()}
        self.tok_emb.weight.copy_(t["wte.weight"])
        self.pos_emb.weight.copy_(t["wpe.weight"])
        for n, block in enumerate(self.trf_blocks):
            att, ff = block.att, block.ff.layers
            for kind in ("weight", "bias"):
                qkv = t[f"h.{n}.attn.c_attn.{kind}"].chunk(3, dim=-1)
                for part, value in zip((att.W_query, att.W_key, att.W_value), qkv, strict=True):
                    if kind == "weight" or self.cfg.qkv_bias:
                        getattr(part, kind).copy_(value.T if kind == "weight" else value)
                for part, name in ((att.out_proj, "attn.c_proj"), (ff[0], "mlp.c_fc"), (ff[2], "mlp.c_proj")):
                    value = t[f"h.{n}.{name}.{kind}"]
                    getattr(part, kind).copy_(value.T if kind == "weight" else value)
            for norm, name in ((block.norm1, f"h.{n}.ln_1"), (block.norm2, f"h.{n}.ln_2")):
                norm.scale.copy_(t[f"{name}.weight"]), norm.shift.copy_(t[f"{name}.bias"])
        self.final_norm.scale.copy_(t["ln_f.weight"]), self.final_norm.shift.copy_(t["ln_f.bias"])
        if not self.cfg.tie_weights:
            self.out_head.weight.copy_(t.get("lm_head.weight", t["wte.weight"]))


# %% [markdown]
# ## The same model
#
# The parts have the book's names, so the weights of one fit into the other. And they are built in the same order,
# so under one seed even the random initial weights are the same.

# %%
from dataclasses import asdict
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt

from gpt_from_scratch.generation import generate
from gpt_from_scratch.model import GPT2_SIZES, GPTConfig, GPTModel
from gpt_from_scratch.pipeline.project import find_project
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.huggingface import load_model, save_model

ROOT = find_project()
SAMPLE = ROOT / "data/sample"
torch.set_num_threads(1)  # models this small gain nothing from more
tokenizer = load_tokenizer(SAMPLE / "bpe")

small = {"vocab_size": tokenizer.n_vocab, "context_length": 64, "emb_dim": 96, "n_heads": 4, "n_layers": 3}
cfg = Config(**small, qkv_bias=False, tie_weights=False)  # chapter 4's kind
torch.manual_seed(123)
page = GPT(cfg).eval()
torch.manual_seed(123)
package = GPTModel(GPTConfig(**asdict(cfg))).eval()

assert page.state_dict().keys() == package.state_dict().keys()
assert all(torch.equal(value, package.state_dict()[name]) for name, value in page.state_dict().items())
print(f"{sum(parameter.numel() for parameter in page.parameters()):,} equal initial weights")

ids = torch.tensor([tokenizer.encode("Every effort moves you one stair")])
with torch.no_grad():
    logits, expected = page(ids), package(ids)
print(f"logits from {expected.min():.1f} to {expected.max():.1f}, at most {(logits - expected).abs().max():.1e} apart")
torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-4)
assert page.generate(ids, 20)[0, ids.shape[1] :].tolist() == generate(package, ids, 20)[0]

# %% [markdown]
# Of OpenAI's sizes too. (On the `meta` device, which has shapes but no numbers.)

# %%
for size, shape in GPT2_SIZES.items():
    with torch.device("meta"):
        large = GPT(Config(emb_dim=shape.emb_dim, n_heads=shape.n_heads, n_layers=shape.n_layers))
        print(f"{size:6} {sum(parameter.numel() for parameter in large.parameters()):14,} parameters")
with torch.device("meta"):
    assert sum(p.numel() for p in GPT(Config(qkv_bias=False)).parameters()) == 124_412_160
    assert sum(p.numel() for p in GPT(Config(qkv_bias=False, tie_weights=False)).parameters()) == 163_009_536

# %% [markdown]
# ## It learns
#
# A training loop is ten lines as well. The project's own (`training/loop.py`) does no more with the model; the rest
# of it is about evaluation, clipping, accumulation, interruptions and several processes.

# %%
story = torch.tensor(tokenizer.encode((SAMPLE / "the-lighthouse.txt").read_text(encoding="utf-8")))
torch.manual_seed(123)
optimizer = torch.optim.AdamW(page.parameters(), lr=2e-3, weight_decay=0.1)
page.train()
losses = []
for _ in range(200):
    starts = torch.randint(len(story) - 65, (8,))
    windows = torch.stack([story[start : start + 65] for start in starts.tolist()])
    loss = page.loss(windows[:, :-1], windows[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
page.eval()

figure, axes = plt.subplots(figsize=(7, 3))
axes.plot(losses)
axes.axhline(math.log(cfg.vocab_size), linestyle=":", color="grey", label="knowing nothing: ln(vocabulary)")
axes.set(xlabel="update", ylabel="loss", title="The page learns the sample story")
axes.legend()
plt.show()
assert losses[-1] < losses[0] - 1.5
print("greedy:          ", repr(tokenizer.decode(page.generate(ids, 25)[0].tolist())))
print("temperature, top-k:", repr(tokenizer.decode(page.generate(ids, 25, temperature=0.8, top_k=20)[0].tolist())))

# %% [markdown]
# ## It reads weights
#
# What it learnt goes through the package into a folder in Hugging Face's layout and back into a new page. OpenAI's
# weights lie in such a folder too, after `make repro PROFILE=book`:
# `GPT(Config()).load_huggingface("models/gpt2/124M")`.

# %%
package.load_state_dict(page.state_dict())
with TemporaryDirectory() as name, torch.no_grad():
    save_model(package, Path(name), SAMPLE / "bpe")
    reread = GPT(cfg).eval()
    reread.load_huggingface(Path(name))
    torch.testing.assert_close(reread(ids), page(ids), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(load_model(Path(name))(ids), page(ids), rtol=1e-4, atol=1e-4)
print("saved, read again, and the same logits")

# %% [markdown]
# ## Where the rest is
#
# | in the page | in the package |
# |---|---|
# | `Attention` | `model/attention.py`, with fused kernels and sequences without padding |
# | `LayerNorm`, `GELU`, `Block.ff` | `model/layers.py` |
# | `Block`, `GPT` | `model/gpt.py` |
# | `generate` | `generation/`, with a KV cache, many texts at a time, 8-bit weights |
# | `load_huggingface` | `weights/`, with checks of every name, shape and value; OpenAI's TensorFlow files |
# | the loop | `training/loop.py` |
