"""The sample data that the project ships."""

from __future__ import annotations

from gpt_from_scratch.tokenizer.train import save_bpe, train_bpe


def test_its_bpe_is_what_training_on_it_gives(root, tmp_path):
    sample = root / "data/sample"
    names = ("the-lighthouse.txt", "SMSSpamCollection", "instruction-data.json")
    text = "".join((sample / name).read_text(encoding="utf-8") for name in names)
    save_bpe(*train_bpe(text, 1536), tmp_path)
    for name in ("encoder.json", "vocab.bpe"):
        assert (tmp_path / name).read_bytes() == (sample / "bpe" / name).read_bytes(), name
