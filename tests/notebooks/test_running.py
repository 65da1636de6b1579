"""Running notebooks: in this Python's kernel, wherever no kernel is installed, and with failures that are seen."""

from __future__ import annotations

import os
import subprocess
import sys

import nbformat

GOOD = """# %% [markdown]
# # A heading

# %%
import sys
import matplotlib.pyplot as plt
import gpt_from_scratch

print(sys.executable, gpt_from_scratch.__file__)

# %%
plt.plot([1, 2])
plt.show()
"""

BAD = """# %%
print("so far so good")

# %%
assert 1 + 1 == 3, "sums are off"

# %%
print("never reached")
"""


def test_outputs_are_kept_and_a_failing_cell_fails_the_run(root, tmp_path) -> None:
    work = tmp_path / "my notebooks"
    work.mkdir()
    (work / "bad.py").write_text(BAD, encoding="utf-8")
    (work / "good.py").write_text(GOOD, encoding="utf-8")
    # A machine with no kernel but a wrong one under the usual name, and without the environment on its path.
    other = tmp_path / "home" / ".local/share/jupyter/kernels/python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["false"], "display_name": "wrong", "language": "python"}')
    environment = {"HOME": str(tmp_path / "home"), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "notebooks", work / "bad.py", work / "good.py", "--out", tmp_path / "out"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""  # no kernel is left over to complain that its parent is gone
    assert "AssertionError" in done.stdout and "sums are off" in done.stdout
    assert done.stdout.splitlines()[-1] == "error: bad.py failed"
    assert any(line.startswith("good.py ") and line.endswith(" s") for line in done.stdout.splitlines())

    bad, good = (nbformat.read(tmp_path / "out" / name, as_version=4) for name in ("bad.ipynb", "good.ipynb"))
    assert bad.cells[0].outputs[0].text == "so far so good\n"
    assert bad.cells[2].outputs == []
    python, package = good.cells[1].outputs[0].text.split()
    assert os.path.samefile(python, sys.executable)  # noqa: PTH121
    assert package == str(root / "src/gpt_from_scratch/__init__.py")
    assert [output.data.keys() >= {"image/png"} for output in good.cells[2].outputs if "data" in output][-1]


def test_the_four_are_found(root) -> None:
    names = [path.name for path in sorted((root / "notebooks").glob("[0-9]*.py"))]
    assert names == ["01_tokenizer.py", "02_attention.py", "03_architecture.py", "04_gpt_in_one_page.py"]
