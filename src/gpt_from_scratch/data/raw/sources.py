"""Sources of all files: addresses, sizes and hashes."""

from __future__ import annotations

from dataclasses import dataclass

_BOOK = "https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/main"
_OPENAI = "https://openaipublic.blob.core.windows.net/gpt-2/models"
_BACKUP = "https://f001.backblazeb2.com/file/LLMs-from-scratch"
_HUGGING_FACE = "https://huggingface.co/openai-community"

_UNKNOWN_SIZE_LIMIT = 16 * 2**30  # the largest GPT-2 has 6.4 GB
_ARCHIVE_EXTRA = 2**20


@dataclass(frozen=True)
class Source:
    """One file of one or several hosts.

    Attributes:
        path: where a mirror keeps what is downloaded, relative to the mirror.
        urls: the hosts' addresses, in the order in which they are tried.
        size: bytes of the content; None where it is not known beforehand.
        sha256: hash of the content; None where it is not known beforehand.
        member: the content is this member of the zip archive that is downloaded.
    """

    path: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    member: str | None = None

    @property
    def name(self) -> str:
        """Name of the file that the content is kept in."""
        return self.member or self.path.rpartition("/")[2]

    @property
    def limit(self) -> int:
        """The most bytes that a download of it may have: an archive is hardly larger than what is wanted of it."""
        if self.size is None:
            return _UNKNOWN_SIZE_LIMIT
        return self.size if self.member is None else self.size + _ARCHIVE_EXTRA


def _gpt2(size: str, name: str, length: int | None = None, sha256: str | None = None) -> Source:
    path = f"{size}/{name}"
    return Source(f"gpt2/{path}", (f"{_OPENAI}/{path}", f"{_BACKUP}/gpt2/{path}"), length, sha256)


# The index holds the checksum of every tensor, which TensorFlow compares as it reads: pinning it pins the weights.
_CHECKPOINT_124M = {
    "checkpoint": (77, "dd1b025d2e155283f5e300ce95bf6d5b6bc0f7fe010db73daa6975eb896ab9cb"),
    "encoder.json": (1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
    "hparams.json": (90, "d9d56e4121c427164e0c55c6f03c08e1daf9002b9b672825112d19097b680318"),
    "model.ckpt.data-00000-of-00001": (497_759_232, None),
    "model.ckpt.index": (5_215, "71916f763f9746f9b2a06b12d91996cf1084ae008d0424543d39391c5f2dc687"),
    "vocab.bpe": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
}

UPSTREAM: dict[str, Source] = {
    "text.txt": Source(
        "the-verdict.txt",
        (f"{_BOOK}/ch02/01_main-chapter-code/the-verdict.txt",),
        20_479,
        "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
    ),
    "SMSSpamCollection": Source(
        "sms+spam+collection.zip",
        (
            "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
            f"{_BACKUP}/sms%2Bspam%2Bcollection.zip",
        ),
        477_907,
        "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
        member="SMSSpamCollection",
    ),
    "instruction-data.json": Source(
        "instruction-data.json",
        (f"{_BOOK}/ch07/01_main-chapter-code/instruction-data.json",),
        203_524,
        "7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
    ),
    "bpe/encoder.json": _gpt2("124M", "encoder.json", *_CHECKPOINT_124M["encoder.json"]),
    "bpe/vocab.bpe": _gpt2("124M", "vocab.bpe", *_CHECKPOINT_124M["vocab.bpe"]),
}
"""The book's data, by their place under data/raw."""

SAMPLE: dict[str, str] = {
    "text.txt": "the-lighthouse.txt",
    "SMSSpamCollection": "SMSSpamCollection",
    "instruction-data.json": "instruction-data.json",
    "bpe/encoder.json": "bpe/encoder.json",
    "bpe/vocab.bpe": "bpe/vocab.bpe",
}
"""This project's own data, by their place under data/raw: files under data/sample."""


def gpt2_checkpoint(size: str) -> list[Source]:
    """Return the files of OpenAI's TensorFlow checkpoint of 124M, 355M, 774M or 1558M.

    Sizes and hashes are known for 124M alone; of the others the first download's hashes are noted and held to.
    """
    pins = _CHECKPOINT_124M if size == "124M" else {}
    return [_gpt2(size, name, *pins.get(name, (None, None))) for name in _CHECKPOINT_124M]


def gpt2_huggingface(size: str) -> list[Source]:
    """Return the files of the same model as Hugging Face's organisation `openai-community` publishes it."""
    repository = {"124M": "gpt2", "355M": "gpt2-medium", "774M": "gpt2-large", "1558M": "gpt2-xl"}[size]
    names = ("config.json", "model.safetensors", "vocab.json", "merges.txt")
    return [
        Source(f"huggingface/{repository}/{name}", (f"{_HUGGING_FACE}/{repository}/resolve/main/{name}",))
        for name in names
    ]
