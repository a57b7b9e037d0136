"""Files of a Hugging Face repository: from the local cache when it has them, else from the hub, at one fixed commit.

`HF_HUB_OFFLINE`, `HF_HOME`, `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from store.errors import UserError
from store.keys import digest_file

from ...settings import require_space
from ...terminal import console
from ...terminal.console import waiting

Choose = Callable[[Sequence[str]], list[str]]
TIMEOUT = 10  # seconds to find out that there is no network; the hub's own retries take a minute
HTTP_ERROR: Any = HfHubHTTPError.__mro__[1]  # of the HTTP library that the installed huggingface_hub uses
DATA, WHAT = (".parquet", ".tar"), "an archive, a folder of images or a copy of the repository"


def repository_folder(repository: str, *, revision: str, choose: Choose, name: str) -> Path:
    """A folder, named by its commit, with the files that `choose` picks from the names of all files of the repository.

    `revision` is a commit, a branch or a tag; empty for the newest state. Raises UserError when there is no network,
    no such repository, or no permission; `choose` raises it when a needed file is missing.
    """
    cached = _cached(repository, revision, choose)
    if cached is not None:
        return cached
    _require_network(repository, name, what="a model")
    with _hub_errors(repository, revision, name=name, page=repository, what="a model"):
        info = huggingface_hub.HfApi().model_info(repository, revision=revision or None)
        names = [file.rfilename for file in info.siblings or ()]
        with transferring(f"downloading {repository}"):
            paths = [Path(huggingface_hub.hf_hub_download(repository, n, revision=info.sha)) for n in choose(names)]
    return paths[0].parent


@contextmanager
def transferring(description: str) -> Iterator[None]:
    """The hub's own bars where a terminal draws them, else lines: a bar in a log is thousands of characters."""
    drawn = not are_progress_bars_disabled()
    if drawn and not console.err.live:
        disable_progress_bars()
    try:
        with waiting(description):
            yield
    finally:
        if drawn and not console.err.live:
            enable_progress_bars()


def dataset_folder(
    repository: str, revision: str, splits: Sequence[str], target: Path, *, name: str, licence: str = ""
) -> tuple[Path, str]:
    """A folder with the parquet files or webdataset shards of these splits of a dataset's repository, and its commit.

    It is the local cache where that has them, else `target`, which a broken download goes on with; what has arrived is
    checked against the hub's SHA-256. Raises UserError as `repository_folder` does, and where the disk is too small.
    """
    cached = _cached_dataset(repository, revision, splits)
    if cached is not None:
        return cached, cached.name
    _require_network(repository, name, what=WHAT)
    page = f"datasets/{repository}"
    with _hub_errors(repository, revision, name=name, page=page, what=WHAT, licence=licence):
        info = huggingface_hub.HfApi().dataset_info(repository, revision=revision or None, files_metadata=True)
        wanted = [file for file in info.siblings or () if _is_data(file.rfilename, splits)]
        if not any(file.rfilename.endswith(DATA) for file in wanted):
            raise UserError(f"{repository} has no data of {', '.join(splits)}", hint=_hint(name, WHAT))
        target.mkdir(parents=True, exist_ok=True)
        require_space(2 * sum(file.size or 0 for file in wanted), folder=target, name=name)
        for file in wanted:
            _download(repository, file, info.sha or "", target, name=name)
    return target, info.sha or ""


def _download(repository: str, file: Any, commit: str, target: Path, *, name: str) -> None:
    if not (target / file.rfilename).resolve().is_relative_to(target.resolve()):
        raise UserError(f"{repository} lists the unsafe path {file.rfilename!r}", hint="do not trust this repository")
    with transferring(f"downloading {file.rfilename} of {repository}"):
        path = Path(
            huggingface_hub.hf_hub_download(
                repository, file.rfilename, repo_type="dataset", revision=commit, local_dir=target
            )
        )
    expected = getattr(file.lfs, "sha256", None)
    if expected is not None and digest_file(path) != expected:
        path.unlink()
        raise UserError(f"{file.rfilename} of {repository} arrived altered", hint=f"mmcoa fetch {name} tries again")


def _is_data(path: str, splits: Sequence[str]) -> bool:
    """Whether a file of a dataset's repository holds data of one of `splits`, or names its classes."""
    words = set(re.split(r"[/\-_.]", path))
    return path == "classnames.txt" or (path.endswith(DATA) and bool(words & set(splits)))


def _cached_dataset(repository: str, revision: str, splits: Sequence[str]) -> Path | None:
    """The folder in the local cache, when it holds the data of all `splits`."""
    folder = _snapshot(repository, revision, kind="dataset")
    if folder is None:
        return None
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    whole = all(any(p.endswith(DATA) and _is_data(p, [split]) for p in paths) for split in splits)
    return folder if whole else None


@contextmanager
def _hub_errors(
    repository: str, revision: str, *, name: str, page: str, what: str, licence: str = ""
) -> Iterator[None]:
    """What huggingface_hub raises, as one line."""
    try:
        yield
    except GatedRepoError as error:
        terms, token = f" ({licence})" if licence else "", "then set HF_TOKEN to your access token"
        raise UserError(
            f"{repository} is given out only to those who accept its licence{terms}",
            hint=f"accept it at {constants.ENDPOINT}/{page}, {token}; {_hint(name, what)}",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UserError(
            f"{constants.ENDPOINT} has no {repository} {revision}".rstrip(),
            hint=f"mmcoa fetch --list, or {_hint(name, what)}",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, HTTP_ERROR, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot download {repository}: {reason}", hint=_hint(name, what)) from error


def _cached(repository: str, revision: str, choose: Choose) -> Path | None:
    """The folder in the local cache, when it holds all that `choose` needs."""
    folder = _snapshot(repository, revision, kind="model")
    if folder is None:
        return None
    try:
        choose([path.name for path in folder.iterdir()])
    except UserError:
        return None
    return folder


def _snapshot(repository: str, revision: str, *, kind: str) -> Path | None:
    """What the local cache has of a repository, None where that is nothing."""
    try:
        found = huggingface_hub.snapshot_download(
            repository, repo_type=kind, revision=revision or None, local_files_only=True
        )
    except (LocalEntryNotFoundError, ValueError):
        return None
    return Path(found)


def _require_network(repository: str, name: str, *, what: str) -> None:
    if constants.HF_HUB_OFFLINE:
        raise UserError(f"{repository} is not in the local cache, and HF_HUB_OFFLINE is set", hint=_hint(name, what))
    require_answer(repository, hint=_hint(name, what))


def require_answer(repository: str, *, hint: str) -> None:
    """Raises UserError where the hub does not answer."""
    try:
        requests.head(constants.ENDPOINT, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise UserError(f"cannot reach {constants.ENDPOINT} for {repository} (no network?)", hint=hint) from error


def _hint(name: str, what: str) -> str:
    return f"mmcoa fetch {name} --from PATH takes {what} that is already on this machine"
