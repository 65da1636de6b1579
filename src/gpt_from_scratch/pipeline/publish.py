"""The stage `evaluate`: the evaluation, and everything that MLflow shows of it."""

from __future__ import annotations

import logging

from gpt_from_scratch.pipeline.fingerprint import environment_facts
from gpt_from_scratch.pipeline.project import downloads
from gpt_from_scratch.recipes.evaluate import evaluate
from gpt_from_scratch.report.results import log_published
from gpt_from_scratch.tracking.registry import register_models
from gpt_from_scratch.tracking.summary import write_summary
from gpt_from_scratch.training.workspace import Workspace

log = logging.getLogger(__name__)


def evaluate_and_publish(work: Workspace) -> None:
    """Evaluate the three models; log the published figures, write the summary run, register the models."""
    evaluate(work, downloads(work.root, offline=work.params.runtime.offline))
    work.tracker.environment(environment_facts(work.root))
    log_published(work.root, work.tracker)
    write_summary(work.root)
    for line in register_models(work.root):
        log.info(line)
