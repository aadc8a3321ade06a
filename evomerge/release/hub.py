"""A verified folder as a repository of the Hugging Face Hub.

The token is found by `huggingface_hub` where it always looks (HF_TOKEN, or what `hf auth login`
saved); it is never read, stored or printed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evomerge.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_OWN = {".gitattributes", "README.md"}  # what a repository may hold before anything is uploaded


def require_hub(repo: str) -> None:
    """Check what can be checked of an upload before the work that comes first.

    Raises:
        UserError: the name means no repository, the Hub is switched off, or there is no token.
    """
    from huggingface_hub import get_token, is_offline_mode  # noqa: PLC0415 -- slow import
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # noqa: PLC0415

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"--push-to-hub {repo}: {_first_line(error)}") from error
    if is_offline_mode():
        raise UserError(
            f"--push-to-hub {repo}: HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it"
        )
    if get_token() is None:
        raise UserError(
            f"--push-to-hub {repo}: there is no token; type 'hf auth login' or set HF_TOKEN, with "
            "a token that may write"
        )


def push(folder: Path, repo: str, *, private: bool, replace: bool, message: str) -> str:
    """Upload a folder as a model; returns the address of the repository.

    Args:
        folder: finished and verified; it stands whatever happens here.
        repo: 'name' or 'owner/name'; made where it does not exist.
        private: nobody else may read it. A repository that exists and is public is refused.
        replace: files that the repository holds already give way; its history keeps them.
        message: of the commit.

    Raises:
        UserError: the Hub refuses or cannot be reached, or the repository holds something already.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 -- slow import

    with _explained(folder, repo):
        api = HfApi(library_name="evomerge")
        made = api.create_repo(repo, private=private or None, exist_ok=True)
        _require_fit(api, made.repo_id, private=private, replace=replace)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message=message,
            delete_patterns="*" if replace else None,
        )
        return str(made)


def _require_fit(api: HfApi, repo: str, *, private: bool, replace: bool) -> None:
    if private and not api.repo_info(repo).private:
        raise UserError(
            f"--private: {repo} exists and is public; name another, or make it private in its "
            "settings first"
        )
    held = sorted(set(api.list_repo_files(repo)) - _OWN)
    if held and not replace:
        raise UserError(
            f"--push-to-hub {repo}: it holds files already ({held[0]}, …); name another, or say "
            "--force to replace them"
        )


@contextmanager
def _explained(folder: Path, repo: str) -> Iterator[None]:
    """Turn what huggingface_hub and its transport raise into one line."""
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415 -- slow import
    from huggingface_hub.utils import httpx  # noqa: PLC0415

    stands = f"{folder} is complete; upload it later: hf upload {repo} {folder}"
    try:
        yield
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            why = "the Hub refused: the token is wrong or may not write there"
        else:
            why = f"the Hub refused: {_first_line(error.server_message or error)}"
        raise UserError(f"--push-to-hub {repo}: {why}; {stands}") from error
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"--push-to-hub {repo}: the Hub cannot be reached or does not answer as it should: "
            f"{_first_line(error)}; {stands}"
        ) from error


def _first_line(error: Exception | str) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
