"""Check that the profile quick gives the same bytes in two fresh folders, at different paths and times.

Run `python -m gpt_from_scratch.tools.reproduce_check` in the project's folder and environment; with `--here` that
folder itself is the first of the two.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import sha256
from gpt_from_scratch.params.sections import load_params
from gpt_from_scratch.pipeline.dvc import complaint, locked_stages, run_dvc
from gpt_from_scratch.pipeline.git import git_output, working_files
from gpt_from_scratch.pipeline.side_by_side import stages_at_once

FOLDERS = ("first", "second/deeper and with spaces")
APART_SECONDS = 3.0


def copy_project(root: Path, folder: Path) -> None:
    """Copy the working tree's files that git holds, with the profile quick and without results."""
    for name in working_files(root):
        source, target = root / name, folder / name
        if source.is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    shutil.copy(root / "profiles/quick.yaml", folder / "params.yaml")
    if git_output(folder, "init", "--quiet") is None:
        raise InputError(f"{folder}: git init failed; is git installed?")


def repro(folder: Path, log: Path, delay: float) -> float:
    """Run the pipeline in a folder; return the seconds it took.

    Raises:
        InputError: when it fails; its output is in `log`.
    """
    time.sleep(delay)
    began = time.monotonic()
    if run_dvc(folder, ["repro"], log, without=["MLFLOW_TRACKING_URI"], own_session=False):
        raise InputError(f"{folder}: dvc repro failed: {complaint(log)}; see {log}")
    return time.monotonic() - began


def results(folder: Path) -> dict[str, str]:
    """Return the hash of every dep and output in dvc.lock but the user's own files, and of every file in metrics/."""
    found = {}
    for name, stage in locked_stages(folder).items():
        for out in (*stage.get("deps", []), *stage.get("outs", [])):
            if out["path"] not in ("data/bases", "data/benchmarks"):  # a copy of the project has what git holds of it
                found[f"{name}: {out['path']}"] = out["md5"]
    for path in sorted((folder / "metrics").rglob("*")):
        if path.is_file() and path.name != ".gitignore":
            found[str(path.relative_to(folder))] = sha256(path)
    return found


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Return what only one of two runs has, or both have otherwise."""
    return [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]


def main(root: Path, *, here: bool = False) -> int:
    """Run, compare and print the outcome; return the exit code. The new folders stay if something differs.

    Args:
        here: take `root` itself for the first folder.

    Raises:
        InputError: when a run fails.
    """
    home = Path(tempfile.mkdtemp(prefix="reproduce-check-"))
    folders = [root if here and not number else home / name for number, name in enumerate(FOLDERS)]
    for folder in folders[here:]:
        folder.mkdir(parents=True)
        copy_project(root, folder)
    workers = min(2, stages_at_once(load_params(folders[1] / "params.yaml").runtime))
    print(f"dvc repro in {folders[0]} and in {folders[1]}: some minutes", flush=True)
    logs = home / "first.log", home / "second.log"
    with ThreadPoolExecutor(workers) as pool:
        for folder, seconds in zip(folders, pool.map(repro, folders, logs, (0.0, APART_SECONDS)), strict=True):
            print(f"  {folder}: {seconds:.0f} s", flush=True)
    expected, found = map(results, folders)
    if different := differences(expected, found):
        print(f"{len(different)} of {len(expected)} hashes differ in {folders[0]} and {folders[1]}:", file=sys.stderr)
        print("\n".join(f"  {name}" for name in different), file=sys.stderr)
        return 1
    shutil.rmtree(home)
    print(f"{len(expected)} hashes are the same in both folders")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path.cwd(), here="--here" in sys.argv))
    except InputError as error:
        sys.exit(f"error: {error}")
