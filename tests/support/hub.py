"""A model hub on the loopback, with as much of its protocol as an upload needs."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_tests"


class Hub(ThreadingHTTPServer):
    """What was committed to it: `files` by path, and the `repositories` with what they are."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.is_full = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, code=401)
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [_mode(path) for path in paths]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._answer({"objects": [self._place(o) for o in json.loads(body)["objects"]]})
        elif "/commit/" in self.path:
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self._answer({"error": f"no {self.path}"}, code=404)

    def do_PUT(self) -> None:
        body = self._body()
        if self.server.is_full:
            self._answer({"error": "no room"}, code=507)
            return
        assert hashlib.sha256(body).hexdigest() == self.path[1:]
        self.server.objects[self.path[1:]] = body
        self._answer({})

    def do_GET(self) -> None:
        """What is there already, for those who would delete it."""
        if not any(f"/api/models/{name}" in self.path for name in self.server.repositories):
            self._answer({"error": "Repository not found"}, code=404)
            return
        here = [
            {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
            for path, data in self.server.files.items()
        ]
        siblings = [{"rfilename": path} for path in self.server.files]
        name, asked = next(iter(self.server.repositories.items()))
        about = {"id": name, "sha": "0" * 40, "siblings": siblings}
        about["private"] = asked["visibility"] == "private"
        self._answer(here if "/tree/" in self.path else about)

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization', 'me')}/{asked['name']}"
        url = f"{self.server.url}/{name}"
        if name in self.server.repositories:
            self._answer({"error": "You already created this model repo", "url": url}, code=409)
        else:
            self.server.repositories[name] = asked
            self._answer({"url": url, "name": name, "id": name})

    def _place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.server.url}/{wanted['oid']}", "header": {}}
        return {**wanted, "authenticated": True, "actions": {"upload": upload}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.server.files[value["path"]]
        repository = next(name for name in self.server.repositories if name in self.path)
        done = {"commitUrl": f"{self.server.url}/{repository}/commit/1", "commitOid": "1" * 40}
        self._answer({**done, "success": True, "pullRequestUrl": None})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, answer: object, *, code: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub, ended with the context."""
    with Hub() as made:
        Thread(target=made.serve_forever, daemon=True).start()
        try:
            yield made
        finally:
            made.shutdown()


def _mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}
