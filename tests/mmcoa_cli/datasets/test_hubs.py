"""A hub of Hugging Face's layout on 127.0.0.1, and a local cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants
from safetensors.torch import save

from mmcoa_cli.datasets.sources.hubs import repository_folder
from mmcoa_cli.models.clip import load_clip
from mmcoa_cli.models.library import clip_path, fetch_clip
from mmcoa_cli.models.new_clip import new_clip
from mmcoa_cli.models.save import choose_clip_files
from mmcoa_cli.settings import Home
from store.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"open_clip_config.json": b"{}", "open_clip_model.safetensors": b"w" * 1000, "setup.py": b"evil"}


class Hub(BaseHTTPRequestHandler):
    """Serves one repository, org/clip."""

    requests: ClassVar[list[str]] = []
    errors: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.requests.append(self.path)
        for part, (status, code) in self.errors.items():
            if part in self.path:
                self._send(status, b"", {"X-Error-Code": code})
                return
        if self.path.startswith("/api/models/org/clip"):
            siblings = [{"rfilename": name} for name in FILES]
            self._send(200, json.dumps({"id": "org/clip", "sha": COMMIT, "siblings": siblings}).encode(), {})
        elif self.path.startswith(f"/org/clip/resolve/{COMMIT}/"):
            content = FILES[self.path.split("/")[-1]]
            self._send(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'})
        else:
            self._send(200 if self.path == "/" else 404, b"", {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(at_hub: Callable[[type], None]) -> type[Hub]:
    Hub.requests, Hub.errors = [], {}
    at_hub(Hub)
    return Hub


def folder_of(repository: str = "org/clip", revision: str = "") -> Path:
    return repository_folder(repository, revision=revision, choose=choose_clip_files, name="x")


def test_only_the_files_that_are_needed_at_one_commit(hub: type[Hub]) -> None:
    folder = folder_of()
    assert folder.name == COMMIT
    assert sorted(path.name for path in folder.iterdir()) == ["open_clip_config.json", "open_clip_model.safetensors"]
    assert (folder / "open_clip_model.safetensors").read_bytes() == FILES["open_clip_model.safetensors"]


def test_what_is_in_the_cache_needs_no_network(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(revision=COMMIT)
    hub.requests.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert folder_of(revision=COMMIT) == folder
    assert hub.requests == []
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(UserError, match="no network"):
        folder_of(revision=COMMIT)


def test_offline_is_respected(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE") as caught:
        folder_of()
    assert "--from" in caught.value.hint
    assert hub.requests == []


def test_no_such_repository(hub: type[Hub]) -> None:
    with pytest.raises(UserError, match="has no org/none"):
        folder_of("org/none")


def test_a_name_that_no_repository_has(hub: type[Hub]) -> None:
    with pytest.raises(UserError):
        folder_of("a/b/c d")


def test_a_gated_repository_says_what_to_accept_and_to_set(hub: type[Hub]) -> None:
    hub.errors = {"/api/": (403, "GatedRepo")}
    with pytest.raises(UserError, match="accept its licence") as caught:
        folder_of()
    assert "HF_TOKEN" in caught.value.hint


def test_a_repository_without_weights(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FILES, "open_clip_model.safetensors")
    with pytest.raises(UserError, match="no weights"):
        folder_of()


def test_a_clip_from_the_hub_is_a_published_one(
    hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision = {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    monkeypatch.setitem(FILES, "open_clip_config.json", json.dumps(config).encode())
    monkeypatch.setitem(FILES, "open_clip_model.safetensors", save(new_clip(config, name="small", seed=0).tensors()))
    home = Home(tmp_path / "home", "")
    assert fetch_clip("hf-hub:org/clip", home)
    about = json.loads((clip_path("hf-hub:org/clip", home) / "source.json").read_text())
    assert about["source"] == f"org/clip@{COMMIT}"
    assert load_clip(clip_path("hf-hub:org/clip", home), name="hf-hub:org/clip").origin.kind == "published"
