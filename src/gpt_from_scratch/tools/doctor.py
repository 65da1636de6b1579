"""`gpt doctor`: problems that keep the pipeline from running or from reproducing the committed results, with cures."""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gpt_from_scratch.data.raw.sources import UPSTREAM, gpt2_checkpoint, gpt2_huggingface
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.params.commented import left_out
from gpt_from_scratch.params.pins import has_effect
from gpt_from_scratch.params.profiles import profiles
from gpt_from_scratch.params.sections import Params, load_params
from gpt_from_scratch.pipeline import interrupted
from gpt_from_scratch.pipeline.dvc import dvc_output
from gpt_from_scratch.pipeline.fingerprint import fingerprint, short
from gpt_from_scratch.pipeline.git import git_output
from gpt_from_scratch.tools.estimates import Need, disk_need, memory_needs
from gpt_from_scratch.tracking.run_file import undelivered
from gpt_from_scratch.training.environment import prepare

CONNECT_SECONDS = 5.0
ROOM = "gpt clean, dvc gc -w, gpt checkpoints"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        kind: `broken` keeps the pipeline from running, `differs` may give other results.
        text: what was found.
        cure: what to do about it.
    """

    kind: Literal["ok", "note", "differs", "broken"]
    text: str
    cure: str = ""

    def __str__(self) -> str:
        mark = {"ok": "✓", "note": "·", "differs": "≠", "broken": "✗"}[self.kind]
        return f"{mark} {self.text}" + (f" → {self.cure}" if self.cure else "")


def examine(root: Path, *, offline: bool = False) -> Iterator[Finding]:
    """Yield the findings about the project at `root`; with `offline`, as with `runtime.offline`, none on the hosts."""
    try:
        params = load_params(root / "params.yaml")
    except InputError as error:
        yield Finding("broken", str(error), "correct it, or take a profile: cp profiles/quick.yaml params.yaml")
        return
    if git_output(root, "rev-parse", "--git-dir") is None:
        yield Finding("broken", "no git checkout here, which DVC needs", "git init && git add . && git commit -m first")
    on_gpu = False
    try:
        on_gpu = prepare(params.runtime).type == "cuda"
    except InputError as error:
        yield Finding("broken", str(error), "choose one of these in params.yaml")
    facts = fingerprint(root)
    yield Finding("ok", f"fingerprint {short(facts)}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    yield from _results(root, params)
    yield from _versions(root)
    try:
        yield from (*_disk(root, params), *_memory(root, params, on_gpu=on_gpu))
    except InputError as error:
        yield Finding("broken", str(error), "see data/bases/README.md")
    yield from _leftovers(root)
    if offline or params.runtime.offline:
        yield Finding("note", "hosts not asked: offline")
    else:
        yield from _hosts(params)


def _results(root: Path, params: Params) -> Iterator[Finding]:
    runtime = params.runtime
    if missing := left_out(root / "params.yaml"):
        text = f"params.yaml leaves out {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}"
        cure = "DVC wants what dvc.yaml and -S name: python -m gpt_from_scratch.params params.yaml writes the defaults"
        yield Finding("differs", text, cure)
    if (root / "params.yaml").read_bytes() not in {path.read_bytes() for path in profiles(root).values()}:
        yield Finding("differs", "params.yaml is no unchanged profile", "git diff params.yaml shows the edits")
    if not runtime.portable:
        yield Finding("differs", "runtime.portable is false: bits hold for this kind of processor", "or set it to true")
    elif not has_effect():
        text = f"runtime.portable has no effect on {platform.machine()}: bits hold for this kind of processor"
        yield Finding("differs", text, "the committed results come from x86-64")
    if not runtime.deterministic:
        yield Finding("differs", "runtime.deterministic is false: no two runs are alike", "set it to true")
    if runtime.threads == 0:
        yield Finding("differs", "runtime.threads is 0: bits hold for this number of cores", "set a number")
    if runtime.device != "cpu":
        yield Finding("differs", f"runtime.device is {runtime.device}: bits hold for this kind of device", "or set cpu")
    kept = ("src", "stages", "data/sample", "dvc.yaml", "requirements.lock")
    if changed := (git_output(root, "status", "--porcelain", "--", *kept) or "").splitlines():
        names = ", ".join(line[3:] for line in changed[:5]) + (" and more" if len(changed) > 5 else "")
        yield Finding("differs", f"changed since the last commit: {names}", "git diff shows it, git stash puts it away")
    with contextlib.suppress(InputError):
        if "changed" in dvc_output(root, "status", seconds=60.0):
            yield Finding("note", "results are not up to date with the project", "dvc repro")


def _versions(root: Path) -> Iterator[Finding]:
    lock = root / "requirements.lock"
    if not lock.is_file():
        yield Finding("differs", f"{lock}: file not found", "git checkout requirements.lock")
        return
    pins = re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(encoding="utf-8"), re.M)
    others = []
    for name, pinned in pins:
        try:
            installed = version(name).partition("+")[0]
        except PackageNotFoundError:  # the lock names packages of other systems too
            continue
        if installed != pinned:
            others.append(f"{name} {installed} instead of {pinned}")
    if others:
        yield Finding("differs", f"other versions than requirements.lock: {', '.join(others[:5])}", "make install")
    else:
        yield Finding("ok", f"{len(pins)} versions of requirements.lock")


def _disk(root: Path, params: Params) -> Iterator[Finding]:
    free, needed = shutil.disk_usage(root).free / 1e9, disk_need(params, root) / 1e9
    enough = free >= needed
    text = f"{free:.{0 if enough else 1}f} GB of disk free, {needed:.1f} are needed"
    yield Finding("ok", text) if enough else Finding("differs", text, ROOM)


def _memory(root: Path, params: Params, *, on_gpu: bool) -> Iterator[Finding]:
    """Compare the stages' resource estimates with the free memory; on a GPU the trainings take its memory instead."""
    import psutil

    needs, memory = memory_needs(params, root), psutil.virtual_memory().available
    if on_gpu:
        import torch

        yield from _held("memory", memory, {"download_gpt2": needs.pop("download_gpt2")})
        yield from _held("GPU memory", torch.cuda.mem_get_info()[0], needs)
    else:
        yield from _held("memory", memory, needs)


def _held(kind: str, free: float, needs: dict[str, Need]) -> Iterator[Finding]:
    said = f"{free / 1e9:.0f} GB of {kind} free"
    enough = [f"{name} {need.total / 1e9:.1f}" for name, need in needs.items() if need.total <= free]
    if enough:
        yield Finding("ok", f"{said}, needed: {', '.join(enough)}")
    for name, need in needs.items():
        if need.total > free:
            smaller = need.model <= free
            cure = "a smaller batch_size with as many more accumulation_steps" if smaller else "a smaller model"
            parts = f"{need.model / 1e9:.1f} for the model, {need.batch / 1e9:.1f} for a batch"
            yield Finding("differs", f"{said}, {name} needs {need.total / 1e9:.1f}: {parts}", cure)


def _leftovers(root: Path) -> Iterator[Finding]:
    for one in interrupted.trainings(root):
        cure = f"dvc repro resumes it; or gpt checkpoints --remove {one.name}"
        yield Finding("note", f"interrupted training {one}", cure)
    waiting = undelivered(root)
    if waiting:
        yield Finding("note", f"{waiting} runs wait for the tracking server", "the next stage delivers them")


def _hosts(params: Params) -> Iterator[Finding]:
    sources = list(UPSTREAM.values()) if params.fetch_data.source == "upstream" else []
    if params.download_gpt2.source in ("openai", "huggingface"):
        of = gpt2_checkpoint if params.download_gpt2.source == "openai" else gpt2_huggingface
        sources += [source for size in params.gpt2_sizes for source in of(size)]
    hosts = sorted({urlsplit(url).netloc for source in sources for url in source.urls})
    if not hosts:
        yield Finding("ok", "no host is needed")
        return
    with ThreadPoolExecutor(len(hosts)) as pool:
        for host, problem in zip(hosts, pool.map(_silence, hosts), strict=True):
            if problem is None:
                yield Finding("ok", f"{host} answers")
            else:
                cure = "connect, set HTTPS_PROXY behind a proxy, or set GPT_MIRROR to a folder with the files"
                yield Finding("note", f"{host} does not answer ({problem})", cure)


def _silence(host: str) -> str | None:
    try:
        with socket.create_connection((host, 443), timeout=CONNECT_SECONDS):
            return None
    except OSError as error:
        return str(error)
