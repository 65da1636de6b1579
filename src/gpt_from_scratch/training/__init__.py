"""One training loop for pretraining, classification and instruction tuning. Needs torch alone."""

from gpt_from_scratch.training.loop import Record, train
from gpt_from_scratch.training.optimizer import Schedule, build_optimizer
from gpt_from_scratch.training.tasks import Classification, LanguageModelling, Task

__all__ = ["Classification", "LanguageModelling", "Record", "Schedule", "Task", "build_optimizer", "train"]
