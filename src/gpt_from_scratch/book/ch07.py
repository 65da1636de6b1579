"""Chapter 7: following instructions, and having a larger model judge the answers."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiktoken import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from gpt_from_scratch.book.download import save
from gpt_from_scratch.book.narration import Device
from gpt_from_scratch.data.instructions.entries import Entry, collate, format_prompt, format_response
from gpt_from_scratch.files.local_addresses import bypass_proxies
from gpt_from_scratch.files.writing import read_list


def download_and_load_file(file_path: str | Path, url: str) -> Any:
    """Return the content of a JSON file, downloaded first unless it is there.

    Raises:
        OSError: when the download fails (`urllib.error.URLError`, or a timeout).
        InputError: when the file is not JSON.
    """
    if not Path(file_path).exists():
        save(url, file_path)
    return read_list(Path(file_path))


def format_input(entry: Entry) -> str:
    """Return an entry in the Alpaca style, up to where the response begins."""
    return format_prompt(entry)


class InstructionDataset(Dataset[list[int]]):
    """Prompt and response of every entry as token ids.

    Attributes:
        data: the entries.
        encoded_texts: token ids of each.
    """

    def __init__(self, data: Sequence[Entry], tokenizer: Encoding) -> None:
        self.data = data
        self.encoded_texts = [
            tokenizer.encode(format_prompt(entry) + format_response(entry), disallowed_special=()) for entry in data
        ]

    def __getitem__(self, index: int) -> list[int]:
        return self.encoded_texts[index]

    def __len__(self) -> int:
        return len(self.data)


def custom_collate_draft_1(batch: Sequence[Sequence[int]], pad_token_id: int = 50256, device: Device = "cpu") -> Tensor:
    """Pad sequences to the batch's longest: the inputs alone, `[batch, tokens]`."""
    return custom_collate_draft_2(batch, pad_token_id, device)[0]


def custom_collate_draft_2(
    batch: Sequence[Sequence[int]], pad_token_id: int = 50256, device: Device = "cpu"
) -> tuple[Tensor, Tensor]:
    """Pad sequences to the batch's longest: inputs and targets, in which the padding is learnt too."""
    return custom_collate_fn(batch, pad_token_id, ignore_index=pad_token_id, device=device)


def custom_collate_fn(
    batch: Sequence[Sequence[int]],
    pad_token_id: int = 50256,
    ignore_index: int = -100,
    allowed_max_length: int | None = None,
    device: Device = "cpu",
) -> tuple[Tensor, Tensor]:
    """Pad sequences to the batch's longest: inputs and targets `[batch, tokens]`, the padding not learnt.

    One `pad_token_id` ends each sequence; in the targets all after the first become `ignore_index`.
    """
    return collate(batch, pad_token_id, ignore_index, allowed_max_length, device)


def check_if_running(process_name: str) -> bool:
    """Tell whether a process runs whose name contains `process_name`."""
    import psutil

    # The system may keep a process's name to itself: psutil then gives None.
    return any(process_name in (process.info["name"] or "") for process in psutil.process_iter(["name"]))


def query_model(prompt: str, model: str = "llama3", url: str = "http://localhost:11434/api/chat") -> str:
    """Return the answer of a model that Ollama serves, the same one each time (seed 123, temperature 0).

    Raises:
        OSError: when nobody answers at `url`.
    """
    question = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "options": {"seed": 123, "temperature": 0, "num_ctx": 2048},
    }
    request = urllib.request.Request(
        url, data=json.dumps(question).encode("utf-8"), headers={"Content-Type": "application/json"}, method="POST"
    )
    # The answer comes in pieces, one JSON object a line.
    bypass_proxies()  # Ollama runs on this machine
    with urllib.request.urlopen(request) as response:
        return "".join(json.loads(line)["message"]["content"] for line in response if line.strip())


def generate_model_scores(json_data: Sequence[dict[str, str]], json_key: str, model: str = "llama3") -> list[int]:
    """Have a model score each entry's response from 0 to 100; an answer that is no number is printed and left out.

    Args:
        json_data: entries with `instruction`, `input`, `output` and, under `json_key`, the response.
        model: name of the judge in Ollama.
    """
    from tqdm import tqdm

    scores = []
    for entry in tqdm(json_data, desc="Scoring entries"):
        prompt = (
            f"Given the input `{format_input(entry)}` and correct output `{entry['output']}`, "
            f"score the model response `{entry[json_key]}` on a scale from 0 to 100, where 100 is the best score. "
            "Respond with the integer number only."
        )
        answer = query_model(prompt, model)
        try:
            scores.append(int(answer))
        except ValueError:
            print(f"Could not convert score: {answer}")
    return scores
