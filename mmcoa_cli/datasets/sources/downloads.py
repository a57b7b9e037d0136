"""Downloads that survive a broken connection and a killed process, and are only believed when their checksum is right.

What has arrived is kept beside the target and gone on with (HTTP Range). Nothing a server says about length, range or
type is trusted: the checksum of the catalog's row decides.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from store.errors import UserError

from ... import __version__
from ...catalog import Archive
from ...settings import require_space
from ...terminal.console import Task, progress

CHUNK = 1 << 18
TIMEOUT = (10, 60)  # seconds to connect, and between two bytes
RESUMES = 5  # broken connections in a row that brought nothing new
PAUSE = 0.5  # seconds before the second try, doubled for each further one


def download(archive: Archive, target: Path, *, name: str) -> None:
    """Get `archive` into the file `target`, which exists only once its checksum is right.

    Raises UserError, with `--from` in the hint, when there is no network, no such file, too little disk or a wrong sum.
    """
    kind, pinned = ("sha256", archive.sha256) if archive.sha256 else ("md5", archive.md5)
    if not pinned:
        raise UserError(f"{archive.url} has no pinned checksum", hint="add one to its row in the catalog")
    if target.exists() and _digest(target, kind) == pinned:
        return
    partial = target.with_name(f"{target.name}.partial")
    resumed = partial.exists()
    _get(archive, partial, name=name)
    found = _digest(partial, kind)
    if found != pinned and resumed:  # the kept beginning may be of another file
        partial.unlink()
        _get(archive, partial, name=name)
        found = _digest(partial, kind)
    if found != pinned:
        partial.unlink()
        raise UserError(
            f"{archive.url} has the checksum {found}, expected {pinned}: the file was altered", hint=_hint(name)
        )
    partial.replace(target)


def _get(archive: Archive, partial: Path, *, name: str) -> None:
    """Everything of `archive` into `partial`, over as many connections as it takes."""
    have = most = _size(partial)
    if archive.bytes and have >= archive.bytes:
        return
    failures = 0
    with _session() as session:
        response = _open(session, archive, partial, name=name)
        with progress(name, total=archive.bytes or None, unit="bytes", done=have) as task:
            while not _receive(response, archive, partial, task=task):
                failures = 0 if _size(partial) > most else failures + 1
                most = max(most, _size(partial))
                if failures == RESUMES:
                    raise UserError(
                        f"{name}: the connection ends after {most:,} of {archive.bytes:,} bytes, again and again",
                        hint=_hint(name),
                    )
                time.sleep(PAUSE * 2**failures)
                response = _open(session, archive, partial, name=name)


def _receive(response: requests.Response, archive: Archive, partial: Path, *, task: Task) -> bool:
    """Append what one connection brings. True when that is all there is, False when the connection broke."""
    have = _size(partial)
    with response:
        if not _continues(response, have):
            task.advance(-have)
            partial.unlink(missing_ok=True)
            have = 0
        if response.status_code == 200 or have:
            with partial.open("ab") as file:
                try:
                    while chunk := response.raw.read(_wanted(archive, have), decode_content=False):
                        file.write(chunk)
                        have += len(chunk)
                        task.advance(len(chunk))
                except urllib3.exceptions.HTTPError:
                    return False
    return have == archive.bytes if archive.bytes else have > 0


def _wanted(archive: Archive, have: int) -> int:
    """How many bytes to read next: never more than the file is known to have."""
    return min(CHUNK, archive.bytes - have) if archive.bytes else CHUNK


def _open(session: requests.Session, archive: Archive, partial: Path, *, name: str) -> requests.Response:
    """The response to a request for everything that `partial` lacks. Raises UserError when there is none to be had."""
    have = _size(partial)
    require_space(archive.bytes - have, folder=partial.parent, name=name)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    host = urlsplit(archive.url).hostname
    try:
        response = session.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise UserError(f"cannot reach {host} to download {name} (no network?)", hint=_hint(name)) from error
    except requests.RequestException as error:
        raise UserError(f"cannot download {name} from {host}: {error}", hint=_hint(name)) from error
    if response.status_code >= 400 and response.status_code != 416:
        response.close()
        raise UserError(f"{host} answers {response.status_code} {response.reason} for {archive.url}", hint=_hint(name))
    return response


def _continues(response: requests.Response, have: int) -> bool:
    """Whether the body begins at byte `have`."""
    if response.status_code != 206:
        return have == 0
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return start is not None and int(start.group(1)) == have


def _session() -> requests.Session:
    """Retries what fails before a body begins: a refused connection, a busy server (429, 5xx)."""
    retry = Retry(
        total=4, connect=2, backoff_factor=PAUSE, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
    )
    session = requests.Session()
    session.max_redirects = 5
    session.headers["User-Agent"] = f"mmcoa/{__version__}"
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _hint(name: str) -> str:
    return f"mmcoa fetch {name} --from PATH takes an archive or image folder that is already on this machine"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
