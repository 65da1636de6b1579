"""The pins of `runtime.portable`: set in time, or an error."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from gpt_from_scratch.params import pins
from gpt_from_scratch.params.pins import PINS, pin_instructions, shorten_waits
from gpt_from_scratch.params.sections import Runtime

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="pins instructions of x86-64 only"
)

TELL = """
import os, sys
from gpt_from_scratch.params.pins import PINS, pin_instructions
from gpt_from_scratch.params.sections import Runtime
pin_instructions(Runtime(portable=sys.argv[1] == "True"))
print([os.environ.get(name) for name in PINS])
import torch
print(torch.backends.cpu.get_cpu_capability())
"""


PORTABLE = Runtime(portable=True)


def tell(root, portable):
    environment = {key: value for key, value in os.environ.items() if key not in PINS}
    answer = subprocess.run(
        [sys.executable, "-c", TELL, str(portable)],
        env=environment | {"PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.splitlines()


def test_the_instructions_are_pinned_before_the_libraries_choose(root):
    assert tell(root, True) == [str(list(PINS.values())), "AVX2"]


def test_nothing_is_pinned_where_it_is_not_asked_for(root):
    assert tell(root, False)[0] == str([None] * len(PINS))


def test_too_late_is_an_error():
    import torch  # noqa: F401

    with pytest.raises(RuntimeError, match="expected to come before numerical libraries, found"):
        pin_instructions(PORTABLE)


@pytest.mark.parametrize(("flags", "lacks"), [("fma avx avx2", False), ("sse4_2 avx", True)])
def test_a_processor_without_the_instructions_is_refused(tmp_path, monkeypatch, flags, lacks):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(pins, "PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(pins, "_NUMERICAL", ())
    monkeypatch.setattr(os, "environ", {})
    if lacks:
        with pytest.raises(SystemExit, match="expected a processor with AVX2 and FMA"):
            pin_instructions(PORTABLE)
    else:
        pin_instructions(PORTABLE)
        assert PINS.items() <= os.environ.items()


def test_every_stage_that_computes_pins_before_it_imports_a_library(root):
    for script in (root / "stages").glob("*.py"):
        before, _, _ = script.read_text(encoding="utf-8").partition(f'    with start("{script.stem}", ROOT):\n')
        imported = [line for line in before.splitlines() if line.lstrip().startswith(("import ", "from "))]
        assert [line.split()[1] for line in imported] == [
            *("__future__", "sys", "pathlib", "gpt_from_scratch.pipeline.start"),
        ], script
    code = "import sys; from gpt_from_scratch.params import pins; from gpt_from_scratch.pipeline import start; "
    code += "print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_waits_are_short_unless_the_environment_says_otherwise(given, expected, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(given))
    shorten_waits()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
