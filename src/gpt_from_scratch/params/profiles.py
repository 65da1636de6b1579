"""Switching between the complete parameter files in `profiles/` without losing anybody's edits."""

from __future__ import annotations

from pathlib import Path

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.writing import write_text


def profiles(root: Path) -> dict[str, Path]:
    """Return the parameter files in `profiles/` by their names, in alphabetical order."""
    return {path.stem: path for path in sorted((root / "profiles").glob("*.yaml"))}


def use_profile(root: Path, name: str) -> bool:
    """Make `params.yaml` a copy of `profiles/<name>.yaml`.

    Only a params.yaml that equals some profile byte for byte is replaced, since then nothing is lost.

    Args:
        root: the project's folder.
        name: of the profile, without folder and ending.

    Returns:
        Whether params.yaml is another file now.

    Raises:
        InputError: when there is no such profile, or params.yaml was edited.
    """
    known = profiles(root)
    if name not in known:
        raise InputError(f"{root / 'profiles'}: expected one of {', '.join(known) or 'no profile'}, found {name!r}")
    target = root / "params.yaml"
    new = known[name].read_bytes()
    if target.exists():
        present = target.read_bytes()
        if present == new:
            return False
        if present not in {path.read_bytes() for path in known.values()}:
            raise InputError(
                f"{target}: expected an unchanged copy of a profile ({', '.join(known)}), found edited parameters, "
                f"which are not overwritten: keep them with 'cp params.yaml profiles/mine.yaml', or give them up with "
                f"'cp profiles/{name}.yaml params.yaml'"
            )
    write_text(target, new.decode("utf-8"))
    return True
