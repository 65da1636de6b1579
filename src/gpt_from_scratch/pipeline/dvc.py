"""What DVC knows of the models: the hash under which it committed them, and its own copy of each file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import yaml

LOCK = "dvc.lock"


def locked_outs(root: Path) -> dict[str, str]:
    """Return DVC's hash of every output that dvc.lock names; nothing where there is no lock file."""
    lock = root / LOCK
    stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {}) if lock.is_file() else {}
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", []) if "md5" in out}


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the MD5 of every file in a folder, by its path there; DVC's hash of a file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "md5").hexdigest()
    return hashes


def folder_hash(hashes: dict[str, str]) -> str:
    """Return DVC's hash of a folder with these files."""
    content = json.dumps([{"md5": hashes[name], "relpath": name} for name in sorted(hashes)])
    return f"{hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()}.dir"


def cache_folder(root: Path) -> Path | None:
    """Return where DVC keeps its copies; None where DVC does not say."""
    try:
        said = subprocess.run(
            [sys.executable, "-m", "dvc", "cache", "dir"], cwd=root, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(said.stdout.strip()) if said.returncode == 0 and said.stdout.strip() else None


def cached_file(cache: Path | None, md5: str, size: int) -> Path | None:
    """Return DVC's own copy of a file with this hash; None where it has none of that size."""
    if cache is None:
        return None
    path = cache / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() and path.stat().st_size == size else None
