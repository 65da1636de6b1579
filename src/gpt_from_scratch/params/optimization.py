"""The sections of params.yaml about a training's updates: the optimizer and the learning rate over time."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from gpt_from_scratch.params.types import CountOrZero, Flag, NotNegative, Number, Positive, Section, Word, param

LearningRate = Annotated[Positive, Field(description="learning rate, or its peak")]
Beta = Annotated[Number, Field(ge=0.0, lt=1.0)]


class Optimizer(Section):
    """AdamW, or Muon with it."""

    FIRST: ClassVar = ("kind", "lr", "weight_decay")

    kind: Literal["adamw", "muon"] = param("adamw", "muon: for the blocks' matrices, AdamW for all else")
    lr: LearningRate = 5e-5
    weight_decay: NotNegative = param(0.1, "decoupled weight decay")
    decay: Literal["all", "matrices"] = param("all", "matrices: no weight decay on biases and norms, as nanoGPT does")
    beta1: Beta = param(0.9, "decay of the gradients' mean per update, PyTorch's betas[0]")
    beta2: Beta = param(0.999, "decay of the squared gradients' mean, betas[1]; GPT-3 and nanoGPT: 0.95")
    eps: Positive = param(1e-8, "added to the denominator of an update")
    muon_lr: NotNegative = param(0.0, "learning rate of Muon's matrices, or its peak; 0: lr")

    @model_validator(mode="after")
    def _has_matrices_for_their_rate(self) -> Optimizer:
        if self.muon_lr and self.kind != "muon":
            raise ValueError(f"muon_lr is for kind muon: expected 0 for {self.kind}, found {self.muon_lr}")
        return self


class PretrainOptimizer(Optimizer):
    """AdamW, or Muon with it."""

    lr: LearningRate = 4e-4


class ScheduleParams(Section):
    """Learning rate over time, and gradient clipping (appendix D)."""

    FIRST: ClassVar = ("kind", "warmup_fraction", "initial_lr", "min_lr", "max_grad_norm")

    kind: Literal["constant", "cosine"] = param("constant", "cosine: linear warm-up, then cosine decay")
    warmup_fraction: Annotated[Number, Field(ge=0.0, lt=1.0)] = param(0.0, "fraction of all steps that warm up")
    initial_lr: NotNegative = param(0.0, "learning rate at step 0 of the warm-up")
    min_lr: NotNegative = param(0.0, "learning rate at the end of the decay")
    max_grad_norm: Annotated[Positive | None, Word("none")] = param(
        None, "gradients are clipped to this norm after the warm-up; none: not at all"
    )
    warmup_steps: CountOrZero = param(0, "steps that warm up, in place of warmup_fraction; 0: by the fraction")
    clip_warmup: Flag = param(False, "clip during the warm-up too, as nanoGPT does")

    @model_validator(mode="after")
    def _warms_up_to_something(self) -> ScheduleParams:
        if self.warmup_steps and self.kind != "cosine":
            raise ValueError(f"warmup_steps is for kind cosine: expected 0 for {self.kind}, found {self.warmup_steps}")
        return self
