"""A Hugging Face hub on the loopback interface: the calls that create a repository, commit files
and download them, as the real client makes them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


class FakeHub(ThreadingHTTPServer):
    """Repositories in memory."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[dict[str, Any]] = []
        self.objects: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.refuse: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def revision(files: dict[str, bytes]) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    for name in sorted(files):
        digest.update(name.encode() + files[name])
    return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self) -> None:
        body = self._body()
        path, hub = urlsplit(self.path).path, self.server
        hub.tokens.add(self.headers.get("Authorization", ""))
        if hub.refuse is not None:
            return self._answer({"error": hub.refuse}, 403)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            hub.repositories.setdefault(name, {})
            hub.private[name] = asked.get("private") or asked.get("visibility") == "private"
            return self._answer({"url": f"{hub.url}/{name}", "name": name, "id": "1"})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if "/preupload/" in path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith("safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": one["oid"],
                    "size": one["size"],
                    "actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}", "header": {}}},
                }
                for one in json.loads(body)["objects"]
            ]
            return self._answer({"transfer": "basic", "objects": objects})
        assert "/commit/" in path, path
        name, branch = path.removeprefix("/api/models/").split("/commit/")
        repository = hub.repositories[name]
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                hub.commits.append({"branch": unquote(branch), "query": self.path, **value})
            elif entry["key"] == "lfsFile":
                repository[value["path"]] = hub.objects[value["oid"]]
            else:
                repository[value["path"]] = base64.b64decode(value["content"])
        oid = revision(repository)
        answer = {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{hub.url}/{name}/commit/{oid}",
            "hookOutput": "",
        }
        if "create_pr=1" in self.path:
            answer["pullRequestUrl"] = f"{hub.url}/{name}/discussions/1"
        return self._answer(answer)

    def do_PUT(self) -> None:
        self.server.objects[self.path.rsplit("/", 1)[-1]] = self._body()
        self._answer(b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, hub = urlsplit(self.path).path, self.server
        if path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/").split("/revision/")[0].split("/tree/")[0]
            if name not in hub.repositories:
                error = {"X-Error-Code": "RepoNotFound"}
                return self._answer({"error": "Repository not found"}, 404, error)
            files = hub.repositories[name]
            if "/tree/" in path:
                rows = [
                    {"type": "file", "path": file, "size": len(files[file]), "oid": "0" * 40}
                    for file in files
                ]
                return self._answer(rows)
            siblings = [{"rfilename": file} for file in files]
            told = {"id": name, "sha": revision(files), "siblings": siblings, "tags": []}
            return self._answer({**told, "private": False, "downloads": 0, "likes": 0})
        name, _, rest = path.lstrip("/").partition("/resolve/")
        _, _, file = rest.partition("/")
        files = hub.repositories.get(name, {})
        if unquote(file) not in files:
            return self._answer({}, 404, {"X-Error-Code": "EntryNotFound"})
        content = files[unquote(file)]
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": revision(files),
        }
        return self._answer(content, headers=headers)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running(folder: Path) -> Iterator[FakeHub]:
    """A hub that the client uses, with its cache in a folder."""
    from huggingface_hub import constants

    with FakeHub() as hub, pytest.MonkeyPatch.context() as patch:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        patch.setattr(constants, "HF_HUB_CACHE", str(folder))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        for name in ("TAMIS_OFFLINE", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        patch.setenv("no_proxy", "127.0.0.1")
        yield hub
        hub.shutdown()
        thread.join()
