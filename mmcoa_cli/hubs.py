"""Files of a Hugging Face repository: from the local cache when it has them, else from the hub, at one fixed commit.

`HF_HUB_OFFLINE`, `HF_HOME`, `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to huggingface_hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import huggingface_hub
import requests
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from store.errors import UserError

Choose = Callable[[Sequence[str]], list[str]]
TIMEOUT = 10  # seconds to find out that there is no network; the hub's own retries take a minute


def repository_folder(repository: str, *, revision: str, choose: Choose, name: str) -> Path:
    """A folder, named by its commit, with the files that `choose` picks from the names of all files of the repository.

    `revision` is a commit, a branch or a tag; empty for the newest state. Raises UserError when there is no network,
    no such repository, or no permission; `choose` raises it when a needed file is missing.
    """
    cached = _cached(repository, revision, choose)
    if cached is not None:
        return cached
    _require_network(repository, name)
    try:
        info = huggingface_hub.HfApi().model_info(repository, revision=revision or None)
        names = [file.rfilename for file in info.siblings or ()]
        paths = [Path(huggingface_hub.hf_hub_download(repository, n, revision=info.sha)) for n in choose(names)]
    except GatedRepoError as error:
        raise UserError(
            f"{repository} is given out only to those who accept its licence",
            hint=f"accept it at {constants.ENDPOINT}/{repository}, then set HF_TOKEN to your access token",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UserError(
            f"{constants.ENDPOINT} has no {repository} {revision}".rstrip(),
            hint=f"mmcoa fetch --list, or {_hint(name)}",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, requests.RequestException, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot download {repository}: {reason}", hint=_hint(name)) from error
    return paths[0].parent


def _cached(repository: str, revision: str, choose: Choose) -> Path | None:
    """The folder in the local cache, when it holds all that `choose` needs."""
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, revision=revision or None, local_files_only=True))
        choose([path.name for path in folder.iterdir()])
    except (LocalEntryNotFoundError, UserError, ValueError):
        return None
    return folder


def _require_network(repository: str, name: str) -> None:
    if constants.HF_HUB_OFFLINE:
        raise UserError(f"{repository} is not in the local cache, and HF_HUB_OFFLINE is set", hint=_hint(name))
    try:
        requests.head(constants.ENDPOINT, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise UserError(
            f"cannot reach {constants.ENDPOINT} for {repository} (no network?)", hint=_hint(name)
        ) from error


def _hint(name: str) -> str:
    return f"mmcoa fetch {name} --from PATH takes a model that is already on this machine"
