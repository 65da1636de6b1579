"""Resource estimates of a run: memory and disk, from model sizes, trainable parameters and saved activations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gpt_from_scratch.model.config import GPT2_SIZES, GPTConfig
from gpt_from_scratch.params.sections import Params
from gpt_from_scratch.params.trainings import Finetune, Training
from gpt_from_scratch.training.checkpoint import KEPT
from gpt_from_scratch.weights.config_file import load_config
from gpt_from_scratch.weights.layout import gpt2_tensors, parameter_count

LIBRARIES = 1.0e9
"""Bytes of memory of a stage's process before it holds a model; the largest measured for any stage."""
MARGIN = 1.5
"""Peak memory over saved activations of a pass; as measured on the CPU, 1.1 to 1.5."""
LONGEST_MESSAGE, LONGEST_INSTRUCTION = 257, 131
"""Tokens of the longest ones, an instruction with its answer, in the book's and the sample's data."""
SAMPLE_VOCABULARY = 1536
"""Tokens of the tokenizer in data/sample."""
ENVIRONMENT = 0.2e9
"""Bytes of disk for data, curves and the tracking database."""
HERE = Path()


@dataclass(frozen=True)
class Need:
    """A stage's estimated memory in bytes.

    Attributes:
        model: the process and its model: 4 bytes per parameter, and 12 more per trainable one, for its gradient and
            AdamW's two moments, 4 less where Muon has one, 4 more where the best is kept; or the model twice while it
            is read or written, where that is more.
        batch: the peak of one pass over the saved activations; less with smaller batches.
    """

    model: float
    batch: float = 0.0

    @property
    def total(self) -> float:
        """Bytes of both."""
        return self.model + self.batch


@dataclass(frozen=True)
class _Work:
    """A training: its model, sequence length, trainable blocks and parameters, and outputs per token."""

    cfg: GPTConfig
    params: Training
    length: int
    blocks: int
    trained: int
    outputs: int

    @property
    def need(self) -> Need:
        count = parameter_count(self.cfg)
        explicit = self.cfg.kernels == "explicit"
        # Counted from the activations that autograd saves; with dropout the fused attention saves its scores as well.
        scores = 3 * self.cfg.n_heads * self.length if explicit or self.cfg.drop_rates.attn else 0
        floats = self.blocks * ((34 if explicit else 18) * self.cfg.emb_dim + scores) + 4 * self.outputs
        model = max(4 * (count + self.trained + self.moments + self.best), 8 * count)
        return Need(LIBRARIES + model, MARGIN * 4.0 * self.params.batch_size * self.length * floats)

    @property
    def disk(self) -> float:
        """Bytes of the checkpoints during the training."""
        return (KEPT + 1) * 4.0 * (parameter_count(self.cfg) + self.moments + self.best)

    @property
    def moments(self) -> int:
        """Numbers of the optimizer's state: two for a parameter, one where Muon has it."""
        if self.params.optimizer.kind == "adamw":
            return 2 * self.trained
        matrices = 12 * self.cfg.emb_dim**2  # of a block
        return 2 * self.trained - min(self.blocks * matrices, self.trained)

    @property
    def best(self) -> int:
        """Numbers of the weights with the lowest validation loss, where they are kept."""
        return self.trained if self.params.keep == "best" else 0


def lora_count(cfg: GPTConfig, rank: int, outputs: int) -> int:
    """Return the number of parameters of low-rank updates of all linear layers, the head's `outputs` included."""
    both_widths = cfg.emb_dim + outputs
    for tensor in gpt2_tensors(cfg):
        if tensor.transposed:
            both_widths += len(tensor.parameters) * tensor.shape[0] + tensor.shape[1]
    return rank * both_widths


def memory_needs(params: Params, root: Path = HERE) -> dict[str, Need]:
    """Return the memory estimate of each stage with a full model, by the stage's name.

    Messages and instructions count as long as the longest in the data of the profiles.

    Raises:
        InputError: when the project at `root` has no usable base in `data/bases`, and one is asked for.
    """
    largest = max(parameter_count(_gpt2(params, size, root)) for size in params.gpt2_sizes)
    return {
        "download_gpt2": Need(LIBRARIES + 8 * largest),
        **{name: work.need for name, work in _trainings(params, root).items()},
    }


def disk_need(params: Params, root: Path = HERE) -> float:
    """Return the disk estimate of a run in bytes, without the environment; arguments as in `memory_needs`.

    A fetched model takes three copies (as downloaded, as a model folder and in DVC's cache), a trained one the last
    two; and there are the checkpoints of one training at a time.
    """
    works = _trainings(params, root).values()
    fetched = sum(parameter_count(_gpt2(params, size, root)) for size in params.gpt2_sizes)
    trained = sum(parameter_count(work.cfg) for work in works)
    return ENVIRONMENT + 4.0 * (3 * fetched + 2 * trained) + max(work.disk for work in works)


def _trainings(params: Params, root: Path) -> dict[str, _Work]:
    own, classify, instruct = params.pretrain, params.classify, params.instruct
    vocabulary = own.vocab_size if own.tokenizer == "corpus" else _vocabulary(params)
    pretrained = GPTConfig(vocabulary, **own.model.architecture)
    classifier, assistant = (_base(params, section, pretrained, root) for section in (classify, instruct))
    block = _block_parameters(classifier)
    blocks, trained = {
        "last_layer": (0, 0),
        "last_block": (1, block),
        "last_two_blocks": (2, 2 * block),
        "all": (classifier.n_layers, parameter_count(classifier)),
        "lora": (classifier.n_layers, lora_count(classifier, classify.lora.rank, outputs=2)),
    }[classify.trainable]
    length = min(classify.max_length or LONGEST_MESSAGE, classifier.context_length)
    longest = min(LONGEST_INSTRUCTION, instruct.max_length)
    if instruct.objective == "preferences":  # two answers to each
        instruct = instruct.model_copy(update={"batch_size": 2 * instruct.batch_size})
    instructing = _whole(assistant, instruct, longest)
    if instruct.trainable == "lora":
        updates = lora_count(assistant, instruct.lora.rank, assistant.vocab_size)
        # Merging gives the head a matrix of its own.
        instructing = replace(instructing, cfg=replace(assistant, tie_weights=False), trained=updates)
    return {
        "pretrain": _whole(pretrained, own, pretrained.context_length),
        "finetune_classify": _Work(classifier, classify, length, blocks, trained, outputs=2),
        "finetune_instruct": instructing,
    }


def _whole(cfg: GPTConfig, params: Training, length: int) -> _Work:
    return _Work(cfg, params, length, cfg.n_layers, parameter_count(cfg), cfg.vocab_size)


def _block_parameters(cfg: GPTConfig) -> int:
    return parameter_count(replace(cfg, n_layers=2)) - parameter_count(replace(cfg, n_layers=1))


def _vocabulary(params: Params) -> int:
    return SAMPLE_VOCABULARY if params.fetch_data.source == "sample" else GPTConfig().vocab_size


def _base(params: Params, section: Finetune, pretrained: GPTConfig, root: Path) -> GPTConfig:
    size = section.base.removeprefix("gpt2/")
    cfg = pretrained if size == "pretrain" else _gpt2(params, size, root)
    return replace(cfg, drop_rate=section.drop_rate, kernels=section.kernels)


def _gpt2(params: Params, size: str, root: Path) -> GPTConfig:
    if size == "custom":
        return load_config(root / params.download_gpt2.path)
    if size == "tiny":
        return GPTConfig(_vocabulary(params), **dict(params.download_gpt2.tiny), qkv_bias=True, tie_weights=True)
    return GPT2_SIZES[size]
