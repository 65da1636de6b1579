"""MLflow's model registry: a version for each state of a model, and the alias `champion` on the best of them.

A version is a model from code with its own copies of everything: the weights as safetensors, the script that serves
them, and this package's source, so that it can be served where the package is not installed and after the workspace has
moved on. Nothing in it is pickled.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gpt_from_scratch.pipeline.dvc import cached_file
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.tracking.reflink import place
from gpt_from_scratch.tracking.server import Tracking, is_server
from gpt_from_scratch.tracking.signatures import Served

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

ALIAS = "champion"
STATE = "model_state"
"""Tag by which a version is found again."""

DECIDED = "champion_decision"
"""Tag that says whether a version was made champion, and why not."""

MADE = "made champion"

PACKAGE = Path(__file__).resolve().parents[1]
WEIGHTS = "model.safetensors"
NEEDED = ("mlflow", "numpy", "pandas", "safetensors", "tiktoken", "torch")
LOCK_SECONDS = 600.0


@dataclass(frozen=True)
class Measured:
    """The figure that decides which version is the champion.

    Attributes:
        name: as in `metrics/evaluation.json`.
        higher_is_better: or else lower.
        circumstances: what must be alike for two values to be compared, such as profile and data.
    """

    name: str
    value: float
    higher_is_better: bool
    circumstances: Mapping[str, str]


@dataclass(frozen=True)
class Candidate:
    """A model to be registered.

    Attributes:
        name: in the registry.
        purpose: what the model is for: the description of all its versions.
        description: of this version, Markdown.
        folder: where it lies.
        hashes: MD5 of every file there.
        state: hash of all that makes it another model.
        served: how it is served.
        measured: its headline figure.
        tags: lineage.
        run_id: the run that it is shown with; None if there is none.
    """

    name: str
    purpose: str
    description: str
    folder: Path
    hashes: Mapping[str, str]
    state: str
    served: Served
    measured: Measured
    tags: Mapping[str, str]
    run_id: str | None = None


@dataclass
class Disk:
    """Bytes of a version's files, by the way they were brought there."""

    by_way: dict[str, int] = field(default_factory=dict)

    def add(self, way: str, size: int) -> None:
        """Count a file."""
        self.by_way[way] = self.by_way.get(way, 0) + size

    def __str__(self) -> str:
        return ", ".join(f"{size / 1e6:.1f} MB {way}" for way, size in sorted(self.by_way.items(), reverse=True))


def find_version(tracking: Tracking, name: str, state: str) -> ModelVersion | None:
    """Return the version of a state; None if there is none."""
    found = tracking.client.search_model_versions(f"name = '{name}' and tag.{STATE} = '{state}'")
    return found[0] if found else None


def register(tracking: Tracking, root: Path, candidate: Candidate, cache: Path | None) -> tuple[ModelVersion, Disk]:
    """Make a new version.

    Args:
        cache: DVC's cache.

    Returns:
        The version, and what its files take on the disk or what was sent to the server.
    """
    from mlflow.exceptions import MlflowException

    client = tracking.client
    try:
        client.create_registered_model(candidate.name, description=candidate.purpose)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    about = {**candidate.tags, STATE: candidate.state}
    for left in client.search_logged_models([tracking.experiment_id], f"tags.{STATE} = '{candidate.state}'"):
        client.delete_logged_model(left.model_id)  # of an attempt that was cut short
    logged = client.create_logged_model(
        tracking.experiment_id, candidate.name, source_run_id=candidate.run_id, tags=about, model_type=candidate.name
    )
    target = _local(logged.artifact_location)
    # Beside its later place, where links can be made; what goes to a server is put together beside DVC's cache.
    beside = project_home(root) / ".cache" if target is None else target.parent.parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".registering-") as temporary:
        made = Path(temporary) / "model"
        disk = _build(candidate, logged, made, cache)
        if target is None:
            client.log_model_artifacts(logged.model_id, str(made))
            disk = Disk({"sent to the server": sum(disk.by_way.values())})
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    client.finalize_logged_model(logged.model_id, "READY")
    version = client.create_model_version(
        candidate.name,
        # Not `models:/…`, and the model's id only beside a run, or on a server, which asks for it: MLflow would look
        # these up in its default store.
        source=logged.artifact_location,
        run_id=candidate.run_id,
        tags=about,
        description=candidate.description,
        model_id=logged.model_id if candidate.run_id or is_server(tracking.uri) else None,
    )
    return version, disk


def decide(tracking: Tracking, version: ModelVersion, measured: Measured) -> str:
    """Move the alias to a version if its figure is better than the champion's; say what was done and why.

    A decision is taken once for a version, so that what a user has moved by hand stays.
    """
    number = champion(tracking, version.name)
    if (earlier := version.tags.get(DECIDED)) is not None:
        if number == str(version.version):
            return "is the champion"
        return f"the champion is version {number} by now" if earlier == MADE and number else earlier
    reason = None
    if number not in (None, str(version.version)):
        reason = _against(measured, number, tracking.client.get_model_version(version.name, number).tags)
    if reason is None:
        promote(tracking, version)
        return MADE
    tracking.client.set_model_version_tag(version.name, version.version, DECIDED, reason)
    return reason


def promote(tracking: Tracking, version: ModelVersion) -> None:
    """Move the alias to a version, whatever its figure."""
    tracking.client.set_registered_model_alias(version.name, ALIAS, version.version)
    tracking.client.set_model_version_tag(version.name, version.version, DECIDED, MADE)


def champion(tracking: Tracking, name: str) -> str | None:
    """Return the number of the version that has the alias."""
    number = tracking.client.get_registered_model(name).aliases.get(ALIAS)
    return None if number is None else str(number)


def measured_tags(measured: Measured) -> dict[str, str]:
    """Return a figure as the tags by which a later version is compared with this one."""
    return {"metric": measured.name, "metric_value": repr(measured.value), **measured.circumstances}


def exclusive_registry(root: Path, uri: str) -> Any:
    """Return the lock under which versions are made, so that two processes do not make one twice."""
    from filelock import FileLock

    home = project_home(root)
    return nullcontext() if is_server(uri) else FileLock(home / "mlflow.db.registry.lock", timeout=LOCK_SECONDS)


def _against(measured: Measured, number: str, tags: Mapping[str, str]) -> str | None:
    """Return what speaks against a new champion; None if nothing does."""
    others = [
        f"{name.replace('_', ' ')} {tags.get(name)}, here {value}"
        for name, value in {"metric": measured.name, **measured.circumstances}.items()
        if tags.get(name) != value
    ]
    if others:
        return f"not made champion: version {number} was measured otherwise ({'; '.join(others)})"
    held = float(tags["metric_value"])
    better = measured.value > held if measured.higher_is_better else measured.value < held
    wanted = "higher" if measured.higher_is_better else "lower"
    found = f"{measured.name} {measured.value:.4f} is not {wanted} than version {number}'s {held:.4f}"
    return None if better else f"not made champion: {found}"


def _build(candidate: Candidate, logged: Any, target: Path, cache: Path | None) -> Disk:
    """Write a version's folder."""
    import mlflow
    from mlflow.models import Model

    described = Model(
        artifact_path=logged.artifact_location,
        run_id=candidate.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with tempfile.TemporaryDirectory() as temporary:
        small = Path(temporary) / "model"
        # MLflow copies what it is given, and that twice: it gets all but the weights.
        shutil.copytree(candidate.folder, small, ignore=shutil.ignore_patterns(WEIGHTS))
        package = Path(temporary) / "source" / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(  # noqa: TID251 - a model from code, so that nothing is pickled
            path=str(target),
            python_model=str(candidate.served.script),
            artifacts={"model": str(small)},
            code_paths=[str(package)],
            signature=candidate.served.signature(candidate.folder),
            input_example=_frame(candidate.served.example),
            pip_requirements=[f"{name}=={installed(name).partition('+')[0]}" for name in NEEDED],
            mlflow_model=described,
        )
    for left in target.rglob("__pycache__"):
        shutil.rmtree(left)
    disk = Disk()
    for path in target.rglob("*"):
        if path.is_file():
            disk.add("copied", path.stat().st_size)
    weights = candidate.folder / WEIGHTS
    size = weights.stat().st_size
    way = place(weights, target / "artifacts" / "model" / WEIGHTS, cached_file(cache, candidate.hashes[WEIGHTS], size))
    disk.add(way, size)
    described.model_size_bytes = sum(disk.by_way.values())
    described.save(str(target / "MLmodel"))
    return disk


def _frame(columns: Mapping[str, list[str]]) -> Any:
    import pandas as pd

    return pd.DataFrame(columns)


def _local(location: str) -> Path | None:
    """Return the folder that an artifact address means on this machine; None when it is elsewhere."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(location) if not parts.scheme and Path(location).is_absolute() else None
