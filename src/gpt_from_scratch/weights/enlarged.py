"""A pretrained model with tokens of one's own (the companion's ch05/09, part 2)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.writing import read_json, write_json
from gpt_from_scratch.tokenizer.added import AddedToken, as_decoder, read_added
from gpt_from_scratch.tokenizer.bpe import load_tokenizer
from gpt_from_scratch.weights.config_file import load_facts
from gpt_from_scratch.weights.huggingface import read_model_folder, write_model_folder
from gpt_from_scratch.weights.layout import GPT2Tensor


def add_tokens(folder: Path, tokens: Sequence[str]) -> None:
    """Give a model folder tokens that its tokenizer lacks, with the next free ids; all else stays.

    The vector of each, and its row of the output head, is the mean of the others', so that it begins as a token of
    average probability (Hewitt 2021, *Initializing New Word Embeddings for Pretrained Language Models*).

    Raises:
        InputError: when the tokenizer has one of them already, or one is there twice.
    """
    encoding, (cfg, tensors) = load_tokenizer(folder), read_model_folder(folder)
    for token in tokens:
        if len(encoding.encode(token, allowed_special="all")) == 1 or tokens.count(token) > 1:
            wanted = "expected tokens that the tokenizer lacks, each once"
            raise InputError(f"download_gpt2.add_tokens: {wanted}, found {shown(token)}; leave it out")
    first, end = encoding.n_vocab, encoding.n_vocab + len(tokens)
    new = [AddedToken(content=token, id=first + n, special=True) for n, token in enumerate(tokens)]
    size = max(cfg.vocab_size, end)  # a vocabulary may be padded

    def enlarged() -> Iterator[tuple[GPT2Tensor, Tensor]]:
        for tensor, stored in tensors:
            if tensor.huggingface in ("wte.weight", "lm_head.weight"):
                known = stored[:first]
                rows = known.mean(0, keepdim=True).expand(len(tokens), -1)
                yield replace(tensor, shape=(size, cfg.emb_dim)), torch.cat([known, rows, stored[end:]])
            else:
                yield tensor, stored

    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        tokenizer, made = Path(temporary) / "tokenizer", Path(temporary) / "model"
        shutil.copytree(folder, tokenizer, ignore=shutil.ignore_patterns("*.safetensors*"))
        path = tokenizer / "tokenizer_config.json"
        write_json(path, {**read_json(path), "added_tokens_decoder": as_decoder([*read_added(folder), *new])})
        made.mkdir()
        write_model_folder(made, replace(cfg, vocab_size=size), enlarged(), tokenizer, load_facts(folder))
        shutil.rmtree(folder)
        made.rename(folder)
