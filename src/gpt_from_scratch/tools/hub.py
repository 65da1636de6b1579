"""An exported model, sent to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpt_from_scratch.errors import InputError

_CURE = "it takes a connection, and a token that may write: hf auth login, or HF_TOKEN"


def check_repository(repository: str, *, push: bool) -> None:
    """Refuse what cannot be sent, before there is anything to send.

    Raises:
        InputError: when the name is none, or the library is missing, or with `push` a token.
    """
    try:
        from huggingface_hub import get_token
        from huggingface_hub.utils import validate_repo_id
    except ModuleNotFoundError:
        raise InputError("--hub: the package huggingface_hub is not installed: pip install huggingface_hub") from None
    try:
        validate_repo_id(repository)
    except ValueError as error:
        raise InputError(f"--hub: expected USER/NAME, found {repository!r}: {error}") from None
    if "/" not in repository:
        raise InputError(f"--hub: expected USER/NAME, found {repository!r} without the user")
    if push and not get_token():
        raise InputError(f"--push: expected a token of the Hugging Face Hub, found none; {_CURE}")


def publish(folder: Path, repository: str, *, push: bool, public: bool = False) -> Iterator[str]:
    """Yield the lines of a dry run, or with `push` of the upload; a repository that is missing is made.

    Raises:
        InputError: when the hub does not take it, or everyone can read the repository without `public`: nothing is sent
            then.
    """
    from huggingface_hub import HfApi, constants

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    yield from (f"  {path.relative_to(folder)}  {path.stat().st_size / 1e6:,.1f} MB" for path in files)
    address = f"{constants.ENDPOINT}/{repository}"
    if not push:
        yield f"nothing was sent; with --push it goes to {address}, a {'public' if public else 'private'} repository"
        return
    try:
        api = HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        if not public and not api.repo_info(repository).private:  # it was there already
            raise InputError(f"{address}: expected a private repository, found a public one; --public sends it there")
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload by gpt export")
    except InputError:
        raise
    except Exception as error:  # of the library, of its HTTP library, or of the system
        text = " ".join(str(error).split())
        raise InputError(f"{address}: expected the hub to take it, found: {text[:300]}; {_CURE}") from None
    yield f"{address}: pushed"
