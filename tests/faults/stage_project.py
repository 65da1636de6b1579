"""A project in which the real stage scripts run, are killed, and run again."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.params_file import set_params

ROOT = Path(__file__).resolve().parents[2]

OUTS = {
    "pretrain": ["models/pretrain"],
    "finetune_classify": ["models/classifier"],
    "finetune_instruct": ["models/instruct"],
}
SECTIONS = {"pretrain": "pretrain", "finetune_classify": "classify", "finetune_instruct": "instruct"}

SMALL = {"emb_dim": 64, "n_layers": 2}
"""A model that trains for seconds: less than a stage takes to start, and long enough to be killed several times."""


def copy_project(folder: Path, *names: str) -> Path:
    """Copy files and folders of the project, and .dvcignore; the bytecode too, which takes half a second to make."""
    for name in (".dvcignore", *names):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))  # bytecode that is being written
        else:
            shutil.copy(source, target)
    return folder


@dataclass
class Report:
    """What came of killing a stage again and again."""

    kills: int = 0
    resumes: int = 0
    finished: int = 0
    lost_seconds: list[float] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = max(self.lost_seconds, default=0.0)
        return (
            f"{self.kills} kills, {self.resumes} resumed from a checkpoint, {self.finished} finished, "
            f"at most {lost:.1f} s of work lost, {len(self.mismatches)} mismatches"
        )


class StageProject:
    """A copy of the project without its results."""

    def __init__(self, folder: Path, **settings: dict) -> None:
        self.folder = folder
        copy_project(folder, "src", "stages", "data/sample", "dvc.yaml", "requirements.lock", "pyproject.toml")
        params = yaml.safe_load((ROOT / "profiles/quick.yaml").read_text(encoding="utf-8"))
        for section, values in settings.items():
            for name, value in values.items():
                params[section][name] = params[section][name] | value if isinstance(value, dict) else value
        (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")

    @contextmanager
    def edited(self, key: str, value: object) -> Iterator[None]:
        """Set a parameter, `section.name` or deeper, for a while."""
        path = self.folder / "params.yaml"
        content = path.read_text(encoding="utf-8")
        set_params(path, {key: value})
        try:
            yield
        finally:
            path.write_text(content, encoding="utf-8")

    def start(self, stage: str, **environment: str) -> subprocess.Popen[str]:
        """Start a stage's script; what it says goes to a file, see `said`."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_"))}
        with (self.folder / f"{stage}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, f"stages/{stage}.py"],
                cwd=self.folder,
                env=inherited | environment,
                stdout=log,
                stderr=log,
                text=True,
            )

    def run(self, stage: str) -> None:
        """Run a stage to its end."""
        process = self.start(stage)
        assert process.wait() == 0, self.said(stage)

    def said(self, stage: str) -> str:
        """Return what the latest process of a stage printed."""
        return (self.folder / f"{stage}.log").read_text()

    def delete_outs(self, stage: str) -> None:
        """Delete what DVC deletes before it runs a stage."""
        for path in [
            *OUTS[stage],
            f"metrics/{stage}.json",
            f"metrics/plots/{stage}.csv",
            f"metrics/samples/{stage}.json",
        ]:
            whole = self.folder / path
            shutil.rmtree(whole) if whole.is_dir() else whole.unlink(missing_ok=True)

    def hashes(self, stage: str) -> dict[str, str]:
        """Return the hash of every output of a stage."""
        files = [file for out in OUTS[stage] for file in (self.folder / out).rglob("*") if file.is_file()]
        files += [file for file in (self.folder / "metrics").rglob(f"{stage}*") if file.is_file()]
        assert len(files) > 5
        return {
            str(file.relative_to(self.folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)
        }

    def checkpoints(self, stage: str) -> list[Path]:
        """Return the checkpoints of a stage."""
        return sorted((self.folder / ".checkpoints" / stage).glob("*/step-*"))

    def wait_for_checkpoint(self, stage: str, process: subprocess.Popen[str], after: int = -1) -> int:
        """Wait until there is a checkpoint later than the step `after`; return its step."""
        while True:
            steps = [int(path.name.removeprefix("step-")) for path in self.checkpoints(stage)]
            if steps and max(steps) > after:
                return max(steps)
            assert process.poll() is None, self.said(stage)
            time.sleep(0.05)

    def kill_again_and_again(self, stage: str, kills: int, seconds: float, seed: int) -> Report:
        """Kill a stage at random moments, start it again, and compare what it ends with, until it was killed so often.

        Args:
            seconds: how long the stage takes when nobody kills it; its outputs of then are what counts.
        """
        expected, report, chance = self.hashes(stage), Report(), random.Random(seed)
        self.delete_outs(stage)
        while report.kills < kills:
            before = time.time()
            process = self.start(stage)
            try:
                code = process.wait(chance.uniform(1.0, seconds))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                report.kills += 1
                saved = [path.stat().st_mtime for path in self.checkpoints(stage)]
                if saved and max(saved) > before:
                    report.lost_seconds.append(time.time() - max(saved))
            else:
                if code != 0:
                    report.mismatches.append(f"exit code {code}: {self.said(stage)[-500:]}")
                elif self.hashes(stage) != expected:
                    report.mismatches.append("other outputs")
                report.finished += 1
                self.delete_outs(stage)
            report.resumes += "resuming after step" in self.said(stage)
            if (report.kills + report.finished) % 10 == 0:
                print(f"  {stage}: {report}", flush=True)
            self.delete_outs(stage)
        process = self.start(stage)
        assert process.wait() == 0, self.said(stage)
        report.finished += 1
        if self.hashes(stage) != expected:
            report.mismatches.append("other outputs at the end")
        return report

    def runs(self, stage: str) -> list[tuple[str, Counter]]:
        """Return the status of every MLflow run of a stage, and how often it holds each figure at each step."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        (experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
        found = []
        for run in client.search_runs([experiment.experiment_id], f"tags.stage = '{stage}'", max_results=1000):
            points: Counter = Counter()
            for name in run.data.metrics:
                points.update((name, point.step) for point in client.get_metric_history(run.info.run_id, name))
            found.append((run.info.status, points))
        return found
