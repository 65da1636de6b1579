"""Chapter 2: text as batches of token ids."""

from __future__ import annotations

from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gpt_from_scratch.data.text.corpus import TokenWindows
from gpt_from_scratch.tokenizer.bpe import find_gpt2_tokenizer
from gpt_from_scratch.tokenizer.simple import SimpleTokenizerV1, SimpleTokenizerV2

__all__ = ["GPTDatasetV1", "SimpleTokenizerV1", "SimpleTokenizerV2", "create_dataloader_v1"]


class GPTDatasetV1(Dataset[tuple[Tensor, Tensor]]):
    """Sliding windows over a text: inputs, and targets one token later; empty for a text shorter than one window.

    Args:
        txt: the text; `<|endoftext|>` in it is that token.
        max_length: tokens per window.
        stride: tokens from the start of one window to the next.

    Attributes:
        input_ids, target_ids: one tensor `[max_length]` per window.
    """

    def __init__(self, txt: str, tokenizer: Encoding, max_length: int, stride: int) -> None:
        self.tokenizer = tokenizer
        token_ids = tokenizer.encode(txt, allowed_special={"<|endoftext|>"})
        windows = TokenWindows(token_ids, max_length, stride) if len(token_ids) > max_length else []
        self.input_ids = [inputs for inputs, _ in windows]
        self.target_ids = [targets for _, targets in windows]

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, idx: int) -> tuple[Tensor, Tensor]:
        return self.input_ids[idx], self.target_ids[idx]


def create_dataloader_v1(
    txt: str,
    batch_size: int = 4,
    max_length: int = 256,
    stride: int = 128,
    shuffle: bool = True,
    drop_last: bool = True,
    num_workers: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return a loader over the windows of a text, in GPT-2's tokens.

    Raises:
        InputError: when GPT-2's tokenizer is nowhere on this machine; nothing is downloaded.
    """
    dataset = GPTDatasetV1(txt, find_gpt2_tokenizer(), max_length, stride)
    return DataLoader(dataset, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, num_workers=num_workers)
