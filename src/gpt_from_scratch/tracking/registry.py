"""MLflow's model registry: a version for each state of a model, and the alias `champion` on the best one.

A version is a model from code with its own copies of everything: the weights as safetensors, the script that serves
them, and this package's source, so that it can be served where the package is not installed and after the workspace has
moved on. Nothing in it is pickled.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.evaluation.confidence import paired, paired_means
from gpt_from_scratch.evaluation.figures import figure_text, label
from gpt_from_scratch.files.writing import write_json
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.pipeline.dvc import cache_folder, cached_file, file_hash
from gpt_from_scratch.pipeline.project import project_home
from gpt_from_scratch.tracking.candidates import CIRCUMSTANCES, WEIGHTS, Candidate, pipeline_candidates
from gpt_from_scratch.tracking.delivery import deliver_left
from gpt_from_scratch.tracking.facts import MARKS, MODEL_STATE, PIPELINE_STATE
from gpt_from_scratch.tracking.reflink import place
from gpt_from_scratch.tracking.server import Tracking, connect, exclusive, is_server, one_line, upload
from gpt_from_scratch.tracking.signatures import CLASSIFIER
from gpt_from_scratch.tracking.summary import out_of_date

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

ALIAS = "champion"
DECIDED = "champion_decision"
"""Tag with the decision whether a version was made champion, and the reason if not."""

MADE = "made champion"

PACKAGE = Path(__file__).resolve().parents[1]
LINEAGE = "lineage.json"
"""The version's file on where it comes from."""

NEEDED = ("mlflow", "numpy", "pandas", "safetensors", "tiktoken", "torch")
LOCK_SECONDS = 600.0


def register_models(root: Path, *, promote: bool = False, strict: bool = False) -> list[str]:
    """Register the three models as they are now, unless that was done before; return a line on each.

    With `promote`, make them the champions whatever their figures.

    Like the summary run, a version is made from the present files: DVC's run cache brings a model back without running
    any stage. Errors of the tracking are logged and raised only if `strict`: the next call tries again.

    Raises:
        InputError: when params.yaml or a metrics file is not valid; if `strict`, when the tracking fails.
    """
    if not (root / "metrics/evaluation.json").is_file():
        log.info("MLflow: no model registered: metrics/evaluation.json is not there yet")
        return []
    params = load_params(root / "params.yaml")
    if reason := out_of_date(root, params.model_dump(mode="json")):
        log.warning("MLflow: no model registered: %s; run dvc repro first", reason)
        return []
    candidates = pipeline_candidates(root, params)
    try:
        tracking = connect(root)
        deliver_left(tracking, root)
        # So that two processes do not make one version twice.
        with exclusive(root, tracking.uri, "mlflow.db.registry.lock", LOCK_SECONDS):
            return [_register(tracking, params, candidate, promote) for candidate in candidates]
    except Exception as error:
        message = f"MLflow: models could not be registered; gpt register tries again: {one_line(error)}"
        if strict:
            raise InputError(message) from None
        log.warning(message)
        return []


def _register(tracking: Tracking, params: Params, candidate: Candidate, promoted: bool) -> str:
    name, made = candidate.name, " is this state"
    same_state = f"name = '{name}' and tag.`{MODEL_STATE}` = '{candidate.state}'"
    version = next(iter(tracking.client.search_model_versions(same_state)), None)
    if version is None:
        if reason := candidate.hindrance():
            return f"{name}: not registered: {reason}"
        version, disk = register(tracking, params, candidate)
        sizes = (f"{size / 1e6:.1f} MB {way}" for way, size in sorted(disk.items(), reverse=True))
        made = f" registered ({', '.join(sizes)})"
    if promoted:
        promote(tracking, version)
    decision = MADE if promoted else decide(tracking, version, candidate)
    return f"{name}: version {version.version}{made}; {decision}"


def register(tracking: Tracking, params: Params, candidate: Candidate) -> tuple[ModelVersion, Counter[str]]:
    """Make a new version; return it, and the bytes of its files by how they were placed (or sent to the server)."""
    from mlflow.exceptions import MlflowException

    client = tracking.client
    try:
        client.create_registered_model(candidate.name, description=candidate.model.purpose)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    lineage = candidate.lineage(tracking, params)
    found_by = {MODEL_STATE: candidate.state}
    trained_by = {"training_run": lineage["training_run"]} if "training_run" in lineage else {}
    of_state = f"tags.`{PIPELINE_STATE}` = '{lineage['pipeline_state']}'"
    run_id = lineage.get("training_run") or tracking.find_run(of_state)  # the run that it is shown with
    for left in client.search_logged_models([tracking.experiment_id], f"tags.`{MODEL_STATE}` = '{candidate.state}'"):
        client.delete_logged_model(left.model_id)  # of an attempt that was cut short
    logged = client.create_logged_model(
        tracking.experiment_id, candidate.name, source_run_id=run_id, tags=found_by, model_type=candidate.name
    )
    target = _local(logged.artifact_location)
    # Beside its later place, where links can be made; what goes to a server is put together beside DVC's cache.
    beside = project_home(candidate.root) / ".cache" if target is None else target.parent.parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside, prefix=".registering-") as temporary:
        made = Path(temporary) / "model"
        disk = _build(candidate, logged, made, run_id)
        write_json(made / LINEAGE, lineage)
        if target is None:
            log.info("MLflow: sending %s to the server, %.1f MB", candidate.name, disk.total() / 1e6)
            with upload(progress=True):
                client.log_model_artifacts(logged.model_id, str(made))
            disk = Counter({"sent to the server": disk.total()})
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
        run_id=run_id,
        tags={**candidate.tags(), **found_by, **trained_by, **({MARKS: candidate.scores} if candidate.scores else {})},
        description=candidate.description(ALIAS, lineage),
        model_id=logged.model_id if run_id or is_server(tracking.uri) else None,
    )
    return version, disk


def decide(tracking: Tracking, version: ModelVersion, candidate: Candidate) -> str:
    """Move the alias to a version if its figure is better than the champion's; say what was done and why.

    A decision is taken once for a version, so that what a user has moved by hand stays.
    """
    aliases = tracking.client.get_registered_model(version.name).aliases
    number = str(aliases[ALIAS]) if ALIAS in aliases else None
    if (earlier := version.tags.get(DECIDED)) is not None:
        if number == str(version.version):
            return "is the champion"
        return f"the champion is version {number} by now" if earlier.startswith(MADE) and number else earlier
    reason, noise = None, ""
    if number not in (None, str(version.version)):
        held = tracking.client.get_model_version(version.name, number).tags
        reason, noise = _against(candidate, number, held), _noise(candidate, number, held)
    decision = f"{reason or MADE}{noise}"
    if reason is None:
        promote(tracking, version, decision)
    else:
        tracking.client.set_model_version_tag(version.name, version.version, DECIDED, decision)
    return decision


def promote(tracking: Tracking, version: ModelVersion, decision: str = MADE) -> None:
    """Move the alias to a version, whatever its figure."""
    tracking.client.set_registered_model_alias(version.name, ALIAS, version.version)
    tracking.client.set_model_version_tag(version.name, version.version, DECIDED, decision)


def _against(candidate: Candidate, number: str, tags: Mapping[str, str]) -> str | None:
    """Return why a version is no better than the champion, version `number` with these tags; None if it is."""
    metric, higher = candidate.model.metric, candidate.model.higher_is_better
    then = {"metric": tags.get("metric"), **_circumstances(tags)}
    others = [
        f"{name.replace('_', ' ')} {then.get(name)}, here {value}"
        for name, value in {"metric": metric, **candidate.circumstances}.items()
        if then.get(name) != value
    ]
    if others:
        return f"not made champion: version {number} was measured otherwise ({'; '.join(others)})"
    held = float(tags["metric_value"])
    if candidate.value > held if higher else candidate.value < held:
        return None
    wanted = "higher" if higher else "lower"
    ours, theirs = (figure_text(value, metric) for value in (candidate.value, held))
    return f"not made champion: {label(metric)} {ours} is not {wanted} than version {number}'s {theirs}"


def _noise(candidate: Candidate, number: str, tags: Mapping[str, str]) -> str:
    """Say whether a model and the champion differ by more than noise; nothing where their answers are not known.

    It decides nothing: the better figure is the better guess, also within the noise. Of an instruction model, whose
    figure is no mean over answers, it is ROUGE-L's difference.
    """
    now, before = candidate.scores, tags.get(MARKS, "")
    if now == before or len(now) != len(before) or _circumstances(tags) != candidate.circumstances:
        return ""
    if candidate.model.served is CLASSIFIER:
        return f"; the difference to version {number} is {paired(now, before)}"
    scores = ([float(score) for score in version.split()] for version in (now, before))
    return f"; ROUGE-L's difference to version {number} is {paired_means(*scores)}"


def _circumstances(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return how a version's figure was measured; nothing where the tag was set by hand or by older code."""
    try:
        found = json.loads(tags.get(CIRCUMSTANCES, ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _build(candidate: Candidate, logged: Any, target: Path, run_id: str | None) -> Counter[str]:
    """Write a version's folder; return the bytes of its files by how they were placed."""
    import mlflow
    import pandas as pd
    from mlflow.models import Model

    model_id = logged.model_id
    described = Model(logged.artifact_location, run_id=run_id, model_uuid=model_id, model_id=model_id)
    with tempfile.TemporaryDirectory() as temporary:
        small = Path(temporary) / "model"
        # MLflow copies what it is given, and that twice: it gets all but the weights.
        shutil.copytree(candidate.folder, small, ignore=shutil.ignore_patterns(WEIGHTS))
        package = Path(temporary) / "source" / PACKAGE.name
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(  # noqa: TID251 - a model from code, so that nothing is pickled
            path=str(target),
            python_model=str(candidate.model.served.script),
            artifacts={"model": str(small)},
            code_paths=[str(package)],
            signature=candidate.model.served.signature(candidate.folder),
            input_example=pd.DataFrame(candidate.model.served.example),
            pip_requirements=[f"{name}=={installed(name).partition('+')[0]}" for name in NEEDED],
            mlflow_model=described,
        )
    for left in target.rglob("__pycache__"):
        shutil.rmtree(left)
    disk = Counter(copied=sum(path.stat().st_size for path in target.rglob("*") if path.is_file()))
    weights = candidate.folder / WEIGHTS
    size = weights.stat().st_size
    kept = cached_file(cache_folder(candidate.root), file_hash(weights), size)
    disk[place(weights, target / "artifacts" / "model" / WEIGHTS, kept)] += size
    described.model_size_bytes = disk.total()
    described.save(str(target / "MLmodel"))
    return disk


def _local(location: str) -> Path | None:
    """Return the folder that an artifact address means on this machine; None when it is elsewhere."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(location) if not parts.scheme and Path(location).is_absolute() else None
