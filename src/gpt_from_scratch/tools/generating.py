"""Instruction data that a larger model writes (the companion's ch07/02, ch07/04 and ch07/05): `gpt data generate`.

`instructions` are new ones with their answers, or those of a file after reflection (Li et al. 2023): the model
criticises an entry and writes a better one. `preferences` are a file's entries with a more polite or less polite answer
beside theirs. `passive` are a file's entries with the answer in the passive voice; the original is kept as `active`.

Each finished entry is appended to a draft, JSON Lines, from which the same command resumes.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gpt_from_scratch.data.instructions.conversations import OWN_KEYS
from gpt_from_scratch.data.instructions.entries import Entry, read_entries
from gpt_from_scratch.data.instructions.prompts import format_prompt
from gpt_from_scratch.errors import InputError, shown
from gpt_from_scratch.files.reading import decode, parse_list
from gpt_from_scratch.files.writing import sha256, write_json

Kind = Literal["instructions", "preferences", "passive"]

Ask = Callable[[str, int], str]
"""Returns the model's reply to a prompt; the number is the characters that it is expected to have, for the estimate."""

Made = dict[str, Any] | None
"""An entry, or None where the model gave nothing usable."""

CHARACTERS_PER_TOKEN = 4
_INSTRUCTION, _ANSWER, _NEW_ENTRY, _NEW_ANSWER = 120, 800, 3000, 1500

_TASKS = (
    *("a question of fact", "a sentence to rewrite", "a sentence to correct", "a short text to summarise"),
    *("something to classify", "a calculation", "a concept to explain", "a list to make", "a comparison"),
    *("a few lines to invent", "advice to give", "a plan to make"),
)
_SUBJECTS = (
    *("animals", "art", "computers", "food", "health", "history", "home", "language", "money", "music", "nature"),
    *("people", "school", "space", "sport", "stories", "technology", "travel", "the weather", "work"),
)


@dataclass(frozen=True)
class Job:
    """The entries to generate.

    Attributes:
        number: of entries.
        seed: of all that is drawn; the model is asked for each entry with this seed plus the entry's number.
        source: entries that are changed; without any, new instructions are written.
    """

    kind: Kind
    number: int
    seed: int
    reflect: bool = False
    source: Sequence[Entry] = ()

    def make(self, number: int, ask: Ask) -> Made:
        """Return one entry, by its number from 0; None when the model gives nothing usable."""
        draw = random.Random(f"{self.seed} {number}")
        given = self.source[number] if self.source else None
        if given and not given["output"].strip():
            return None
        if self.kind == "passive":
            prompt = f"Put this text into the passive voice. Return the changed text alone:\n\n{given['output']}"
            entry = {**given, "output": ask(prompt, len(given["output"])).strip(), "active": given["output"]}
        elif self.kind == "preferences":
            entry = _preference(given, draw, ask)
        else:
            entry = given or _instruction(draw, ask)
            entry = _reflected(entry, ask) if self.reflect else entry
        texts = [entry[key].strip() for key in ("instruction", "output", "chosen", "rejected") if key in entry]
        return entry if all(texts) and entry.get("chosen") != entry.get("rejected", "") else None


def _instruction(draw: random.Random, ask: Ask) -> Entry:
    prompt = (
        f"Write one instruction that somebody could give to an assistant: {draw.choice(_TASKS)}, the subject "
        f"{draw.choice(_SUBJECTS)}. It has to be complete in itself. Return the instruction alone, on one line."
    )
    instruction = ask(prompt, _INSTRUCTION).strip().partition("\n")[0].strip()
    return {"instruction": instruction, "input": "", "output": ask(instruction, _ANSWER).strip() if instruction else ""}


def _preference(given: Entry, draw: random.Random, ask: Ask) -> dict[str, Any]:
    manner, written, kept = draw.choice((("polite", "chosen", "rejected"), ("impolite", "rejected", "chosen")))
    prompt = (
        f"Here is the input `{format_prompt(given)}` and its correct output `{given['output']}`. Rewrite the output so "
        f"that it is a little more {manner}, and change no more than that needs. Return the new output alone."
    )
    return {**given, written: ask(prompt, len(given["output"])).strip(), kept: given["output"]}


def _reflected(entry: Entry, ask: Ask) -> Entry:
    """Return an entry that the model improved: the instruction, where it has no input, then the answer."""
    if not entry["input"]:
        reply = ask(
            f"[Instruction]\n{entry['instruction']}\n\n[Answer]\n{entry['output']}\n\n"
            "First say what is weak in this instruction (is it clear, how much does it ask for, how much knowledge and "
            "reasoning does it need?) and in its answer (is it helpful, relevant, accurate and detailed?). Then write "
            "a new instruction, harder but on a related subject and complete in itself, as [New Instruction] … [End], "
            "and a detailed answer to it as [New Answer] … [End].",
            _NEW_ENTRY,
        )
        instruction, output = _marked(reply, "New Instruction"), _marked(reply, "New Answer")
        if instruction and output:
            entry = {**entry, "instruction": instruction, "output": output}
    text = f"\n\n[Input]\n{entry['input']}" if entry["input"] else ""
    reply = ask(
        f"[Instruction]\n{entry['instruction']}{text}\n\n[Answer]\n{entry['output']}\n\n"
        "First say what is weak in this answer: is it helpful, relevant, accurate and detailed? Then write a better, "
        "complete one as [Better Answer] … [End].",
        _NEW_ANSWER,
    )
    return {**entry, "output": _marked(reply, "Better Answer") or entry["output"]}


def _marked(reply: str, mark: str) -> str:
    found = re.search(rf"\[{mark}\](.*?)(\[End\]|\[New |\Z)", reply, re.DOTALL)
    return found[1].strip() if found else ""


def read_source(path: Path) -> list[Entry]:
    """Read the instructions that are to be changed.

    Raises:
        InputError: as `read_entries` does, and for a conversation.
    """
    entries = read_entries(path, empty_answers=True)
    for number, entry in enumerate(entries, start=1):
        if any(key in entry for key in OWN_KEYS):
            raise InputError(f"{path}, entry {number}: expected a single instruction, found a conversation")
    return entries


def estimate(job: Job, numbers: Iterable[int], price: tuple[float, float] | None) -> str:
    """Return in a sentence how much some entries will take: requests, tokens and, at a price, dollars.

    It makes the entries with texts of the expected lengths in the place of replies.

    Args:
        price: of a million tokens read and written.
    """
    requests, read, written = 0, 0, 0

    def ask(prompt: str, expected: int) -> str:
        nonlocal requests, read, written
        requests, read, written = requests + 1, read + len(prompt), written + expected
        return "x" * expected

    for number in numbers:
        job.make(number, ask)
    tokens = read // CHARACTERS_PER_TOKEN, written // CHARACTERS_PER_TOKEN
    dollars = sum(a * b for a, b in zip(tokens, price or (0, 0), strict=True)) / 1e6
    cost = f", about ${max(dollars, 0.01):,.2f}" if price else ""
    return f"{requests:,} requests, about {tokens[0]:,} tokens to the model and {tokens[1]:,} from it{cost}"


class Draft:
    """The finished entries beside the file that they will become.

    Args:
        out: that file; it must not exist yet.
        settings: what the entries depend on; a draft that was begun with others is refused.

    Attributes:
        made: the entries by their numbers.

    Raises:
        InputError: when `out` exists or is no `.json`, or the draft was begun otherwise or is damaged.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        if out.suffix.lower() != ".json" or out.exists():
            found = "one that exists" if out.exists() else "another ending"
            raise InputError(f"{out}: expected the name of a new .json file, found {found}")
        self._out, self.path = out, out.with_name(f"{out.name}.draft")
        self._settings = dict(settings)
        self.made: dict[int, Made] = {}
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # what was killed may have left half a line
            os.truncate(self.path, len(whole))
        if whole:
            content = parse_list(decode(whole, self.path), self.path)
            begun, *rows = content if isinstance(content, list) and content else [content]
            if begun != self._settings:
                told = begun if isinstance(begun, dict) else {}
                wanted = {key: value for key, value in self._settings.items() if told.get(key) != value}
                found = {key: told.get(key) for key in wanted}
                raise InputError(
                    f"{self.path}: expected a draft of {shown(wanted)}, found {shown(found)}; repeat that command, or "
                    "delete the draft"
                )
            for number, row in enumerate(rows, start=2):
                fits = isinstance(row, dict) and isinstance(row.get("entry", 0), dict | None)
                if not (fits and type(row.get("number")) is int):
                    wrong = f"expected a number and an entry, found {shown(row)}"
                    raise InputError(f"{self.path}, line {number}: {wrong}; delete the draft")
            self.made = {row["number"]: row["entry"] for row in rows}

    def add(self, number: int, entry: Made) -> None:
        """Append an entry; it has reached the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"number": number, "entry": entry}]
        with self.path.open("a", encoding="utf-8") as file:
            for row in rows if file.tell() else [self._settings, *rows]:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.made[number] = entry

    def finish(self, number: int) -> int:
        """Write the first entries into the file, delete the draft, and return how many are usable.

        Raises:
            InputError: when none is.
        """
        entries = [entry for place in range(number) if (entry := self.made[place])]
        if not entries:
            found = f"found none in {number}; delete it, and try another model"
            raise InputError(f"{self.path}: expected usable replies of the model, {found}")
        write_json(self._out, entries)
        self.path.unlink()
        return len(entries)


def settings_of(job: Job, model: str, source: Path | None) -> dict[str, Any]:
    """Return what a job's entries depend on."""
    origin = sha256(source) if source else ""
    return {"kind": job.kind, "model": model, "seed": job.seed, "reflect": job.reflect, "source": origin}
