"""A model onto the Hugging Face hub: what `exporting` writes, in one commit.

`HF_ENDPOINT` and `HF_TOKEN` mean what they mean to huggingface_hub. Importing this module does not import torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from store.errors import UserError

from .. import __version__
from ..datasets.sources.hubs import HTTP_ERROR, require_answer, transferring
from .eval_results import FOLDER, OURS
from .layouts import Layout

if TYPE_CHECKING:
    from .handed import Handed

NAMED = "ORG/NAME, as in mylab/clip-mmcoa"
LOGIN = "hf auth login, with a token that may write"
REFUSED = (401, 403)


@dataclass(frozen=True)
class Sent:
    """What was sent, or would be: the files with their sizes, and the card. `address` is empty where nothing was."""

    address: str
    files: dict[str, int]
    card: str


def require_name(repository: str) -> None:
    """Raises UserError for what is no name of a repository."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"{repository!r} is no name of a repository", hint=NAMED) from error
    if "/" not in repository:
        raise UserError(f"{repository!r} does not say whose it is", hint=NAMED)


def require_open(repository: str, *, instead: str) -> None:
    """Raises UserError where the hub cannot be written to from here; `instead` writes a folder."""
    hint = f"{instead} writes the same into a folder"
    if constants.HF_HUB_OFFLINE:
        raise UserError(f"{repository} cannot be reached: HF_HUB_OFFLINE is set", hint=hint)
    if not huggingface_hub.get_token():
        raise UserError("the Hugging Face hub takes models only of those who are logged in", hint=LOGIN)
    require_answer(repository, hint=hint)


def push(
    handed: Handed, layout: Layout, repository: str, *, licence: str = "", private: bool = False, dry_run: bool = False
) -> Sent:
    """Send the model to `repository`, which is made where it is not there; with `dry_run` only say what that would be.

    Raises UserError for what the hub refuses.
    """
    from .exporting import export

    with tempfile.TemporaryDirectory(prefix="mmcoa-") as temporary:
        folder = Path(temporary) / "model"
        files = export(handed, layout, folder, licence=licence, repository=repository)
        if not dry_run:
            with _explained(repository), transferring(f"sending {repository}"):
                _send(folder, repository, message=f"{handed.name}, by mmcoa {__version__}", private=private)
        sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
        card = (folder / "README.md").read_text(encoding="utf8")
    return Sent("" if dry_run else f"{constants.ENDPOINT}/{repository}", sizes, card)


def _send(folder: Path, repository: str, *, message: str, private: bool) -> None:
    api = huggingface_hub.HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    # of an earlier push, of other weights perhaps
    stale = [f"{FOLDER}/{OURS}*"]
    api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message, delete_patterns=stale)


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """What huggingface_hub raises, as one line."""
    try:
        yield
    except (HfHubHTTPError, HTTP_ERROR, ConnectionError, RuntimeError) as error:  # the last two are of hf_xet
        response = getattr(error, "response", None)
        reason = str(getattr(error, "server_message", "") or error).strip().splitlines()[0]
        refused = getattr(response, "status_code", 0) in REFUSED
        what = (
            f"{constants.ENDPOINT} does not let you write to {repository}" if refused else f"cannot send {repository}"
        )
        hint = f"{LOGIN} to {repository.partition('/')[0]}" if refused else "type the same command again"
        raise UserError(f"{what}: {reason}", hint=hint) from error
    except ValueError as error:
        told = " ".join(str(error).split())
        raise UserError(f"the hub refuses it: {told}", hint="--license takes one of the hub's names: mit") from error
