"""A hub of Hugging Face's on this machine that models are pushed to, and fetched from again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import urlsplit

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
TOKEN = "hf_of_the_tests"


@dataclass
class Repository:
    """What lies in a repository."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


class PushedTo(BaseHTTPRequestHandler):
    """Takes what huggingface_hub sends with TOKEN: weights as large files, all else within the commit."""

    repositories: ClassVar[dict[str, Repository]] = {}
    large: ClassVar[dict[str, bytes]] = {}  # by their SHA-256
    refused_cards: ClassVar[list[str]] = []  # what the hub says of every card
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        found = re.match(r"/api/models/([^/]+/[^/]+)", path)
        if path == "/":
            self._answer(b"")
        elif found and found[1] not in self.repositories:
            self._json({"error": "Repository not found"}, status=404)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/\w+)?", path):
            names = [{"rfilename": name} for name in self._of(found[1]).files]
            self._json({"id": found[1], "sha": COMMIT, "siblings": names})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/\w+", path):
            files = self._of(found[1]).files.items()
            self._json([{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            self._answer(self._of(found[1]).files[found[2]])
        else:
            self._answer(b"", status=404)

    def cut(self) -> None:
        """Ends in the middle of what is sent."""
        self.close_connection = True
        self.connection.close()

    def do_PUT(self) -> None:
        content = self._content()
        self.large[hashlib.sha256(content).hexdigest()] = content
        self._answer(b"")

    def do_POST(self) -> None:
        content, path = self._content(), urlsplit(self.path).path
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid credentials in Authorization header"}, status=401)
        elif path == "/api/repos/create":
            self._create(json.loads(content))
        elif path == "/api/validate-yaml":
            errors = [{"message": message} for message in self.refused_cards]
            self._json({"errors": errors, "warnings": []}, status=400 if errors else 200)
        elif path.endswith("/preupload/main"):
            files = [file["path"] for file in json.loads(content)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in files}
            self._json({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(content)["objects"]
            place = f"http://{self.headers['Host']}/put"
            self._json({"objects": [{**one, "actions": {"upload": {"href": place}}} for one in objects]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._commit(found[1], [json.loads(line) for line in content.splitlines()])
        else:
            self._answer(b"", status=404)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "others":
            self._json({"error": "You don't have the rights to create a model under it"}, status=403)
            return
        private = asked.get("private") or asked.get("visibility") == "private"  # before version 2, and since
        self.repositories.setdefault(name, Repository(bool(private)))
        self._json({"url": f"http://{self.headers['Host']}/{name}"})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self._of(name)
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.messages.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]
        self._json({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _of(self, name: str) -> Repository:
        return self.repositories[name]

    def _content(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _json(self, document: Any, *, status: int = 200) -> None:
        self._answer(json.dumps(document).encode(), status=status)

    def _answer(self, body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        tag = hashlib.sha256(body).hexdigest()
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""
