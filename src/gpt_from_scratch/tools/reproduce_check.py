"""The profile quick in two fresh folders, at different paths and times: are all results the same, bit by bit?

Run `python -m gpt_from_scratch.tools.reproduce_check` in the project's folder and environment; with `--here` that
folder's own results, of an earlier `dvc repro`, are compared too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from gpt_from_scratch.files.writing import sha256

FOLDERS = ("first", "second/deeper and with spaces")
APART_SECONDS = 3.0


def copy_project(root: Path, folder: Path) -> None:
    """Copy what git holds, as it lies in the working tree, with the profile quick and without results."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = root / name, folder / name
        if source.is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    shutil.copy(root / "profiles/quick.yaml", folder / "params.yaml")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def repro(folder: Path, delay: float) -> float:
    """Run the pipeline in a copy of the project; return the seconds it took.

    Raises:
        subprocess.CalledProcessError: when it fails; what it said is in `repro.log`.
    """
    time.sleep(delay)
    own = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    began = time.monotonic()
    with (folder / "repro.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=folder,
            env=environment | {"PATH": path, "DVC_NO_ANALYTICS": "1"},
            stdout=log,
            stderr=log,
            check=True,
        )
    return time.monotonic() - began


def results(folder: Path) -> dict[str, str]:
    """Return the hash of every dep and output in dvc.lock but the user's own bases, and of every file in metrics/."""
    lock: dict[str, Any] = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    found = {}
    for name, stage in lock["stages"].items():
        for out in (*stage.get("deps", []), *stage.get("outs", [])):
            if out["path"] != "data/bases":  # a copy of the project has what git holds of it
                found[f"{name}: {out['path']}"] = out["md5"]
    for path in sorted((folder / "metrics").rglob("*")):
        if path.is_file() and path.name != ".gitignore":
            found[str(path.relative_to(folder))] = sha256(path)
    return found


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Return what only one of two runs has, or both have otherwise."""
    return [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]


def main(root: Path, *, here: bool = False) -> int:
    """Run, compare, and say what came of it; the folders stay if something differs.

    Args:
        here: compare the results that lie in `root` too.
    """
    home = Path(tempfile.mkdtemp(prefix="reproduce-check-"))
    folders = [home / name for name in FOLDERS]
    for folder in folders:
        folder.mkdir(parents=True)
        copy_project(root, folder)
    threads = yaml.safe_load((folders[0] / "params.yaml").read_text(encoding="utf-8"))["runtime"]["threads"]
    # Side by side only where each has a core of its own.
    workers = 2 if 0 < threads * 2 <= (os.cpu_count() or 1) else 1
    print(f"dvc repro in {folders[0]} and in {folders[1]}: some minutes", flush=True)
    try:
        with ThreadPoolExecutor(workers) as pool:
            for folder, seconds in zip(folders, pool.map(repro, folders, (0.0, APART_SECONDS)), strict=True):
                print(f"  {folder}: {seconds:.0f} s", flush=True)
    except subprocess.CalledProcessError:
        print(f"error: dvc repro failed; see repro.log below {home}", file=sys.stderr)
        return 1
    expected = results(folders[0])
    for other in [folders[1], *([root] if here else [])]:
        if different := differences(expected, results(other)):
            print(f"{len(different)} of {len(expected)} hashes differ in {folders[0]} and {other}:", file=sys.stderr)
            print("\n".join(f"  {name}" for name in different), file=sys.stderr)
            return 1
    shutil.rmtree(home)
    print(f"{len(expected)} hashes are the same in {'all three' if here else 'both'} folders")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), here="--here" in sys.argv))
