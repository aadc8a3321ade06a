"""Uploads, against a Hub on the loopback that huggingface_hub's own client talks to."""

from __future__ import annotations

import base64
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from evomerge.errors import UserError
from evomerge.release import push, require_hub

TOKEN = "hf_secret_of_the_test"


class FakeHub:
    """Repositories in memory, behind the few addresses that an upload asks."""

    def __init__(self):
        self.repos: dict[str, dict] = {}
        self.refuse: int | None = None
        self.tokens: set[str | None] = set()

    def answer(self, path, body):
        """Return status and content."""
        if self.refuse is not None:
            return self.refuse, {"error": "not today"}
        if path == "/api/repos/create":
            return self._created(**json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        found = re.fullmatch(r"/api/models/(\w+/\w+)(?:/(\w+)/main)?", path)
        if found is None:
            return 404, {"error": path}
        name, what = found.groups()
        return 200, getattr(self, f"_{what or 'info'}")(name, self.repos[name], body)

    def _created(self, name, organization=None, visibility=None, **_):
        name = f"{organization or 'me'}/{name}"
        if name in self.repos:
            return 409, {"error": "exists", "url": f"{self.address}/{name}"}
        private = visibility == "private"
        self.repos[name] = {"private": private, "files": {".gitattributes": b""}}
        return 200, {"url": f"{self.address}/{name}"}

    def _info(self, name, repo, body):
        return {"id": name, "private": repo["private"], "sha": "0" * 40}

    def _tree(self, name, repo, body):
        return [
            {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
            for file, content in repo["files"].items()
        ]

    def _preupload(self, name, repo, body):
        modes = {"uploadMode": "regular", "shouldIgnore": False}
        return {"files": [{"path": one["path"], **modes} for one in json.loads(body)["files"]]}

    def _commit(self, name, repo, body):
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                repo["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del repo["files"][value["path"]]
            elif line["key"] == "header":
                repo["message"] = value["summary"]
        url = f"{self.address}/{name}/commit/{'1' * 40}"
        return {"success": True, "commitOid": "1" * 40, "commitUrl": url}


@contextmanager
def serving(hub):
    class Handler(BaseHTTPRequestHandler):
        def _serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self._chunks() if "chunked" in str(self.headers.get("Transfer-Encoding")) else (
                self.rfile.read(length)
            )  # fmt: skip
            authorization = self.headers.get("Authorization") or ""
            path = urlsplit(self.path).path
            if path.startswith(("/api/models/", "/api/repos/")):
                hub.tokens.add(authorization.removeprefix("Bearer ") or None)
            status, content = hub.answer(path, body)
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def _chunks(self):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = _serve  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def online(monkeypatch):
    """Let huggingface_hub ask, with a token and without its own storage protocol."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


@pytest.fixture
def hub(online, monkeypatch):
    fake = FakeHub()
    with serving(fake):
        monkeypatch.setattr(constants, "ENDPOINT", fake.address)
        yield fake


def folder_of(path):
    path.mkdir()
    (path / "README.md").write_text("---\nlicense: mit\n---\n\n# Merge\n")
    (path / "model.safetensors").write_bytes(bytes(range(256)))
    return path


def test_everything_arrives(hub, tmp_path):
    folder = folder_of(tmp_path / "out")
    url = push(folder, "merge", private=False, replace=False, message="Trial 5")
    assert url == f"{hub.address}/me/merge"
    repo = hub.repos["me/merge"]
    assert not repo["private"]
    assert repo["message"] == "Trial 5"
    files = {name: text for name, text in repo["files"].items() if name != ".gitattributes"}
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.tokens == {TOKEN}


def test_private_means_private(hub, tmp_path):
    folder = folder_of(tmp_path / "out")
    push(folder, "team/merge", private=True, replace=False, message="m")
    assert hub.repos["team/merge"]["private"]
    hub.repos["team/open"] = {"private": False, "files": {}}
    with pytest.raises(UserError, match="team/open exists and is public"):
        push(folder, "team/open", private=True, replace=False, message="m")
    assert hub.repos["team/open"]["files"] == {}


def test_what_is_there_is_replaced_only_when_asked(hub, tmp_path):
    folder = folder_of(tmp_path / "out")
    old = {".gitattributes": b"", "README.md": b"old", "model-00001-of-00002.safetensors": b"old"}
    hub.repos["me/merge"] = {"private": False, "files": dict(old)}
    with pytest.raises(UserError, match=r"holds files already.*--force"):
        push(folder, "me/merge", private=False, replace=False, message="m")
    assert hub.repos["me/merge"]["files"] == old
    push(folder, "me/merge", private=False, replace=True, message="m")
    found = set(hub.repos["me/merge"]["files"])
    assert found == {".gitattributes", "README.md", "model.safetensors"}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "may not write there"),
        (403, "may not write there"),
        (400, "the Hub refused: not today"),
    ],
)
def test_a_refusal_is_a_line_without_the_token(status, why, hub, tmp_path):
    folder = folder_of(tmp_path / "out")
    hub.refuse = status
    with pytest.raises(UserError, match=why) as caught:
        push(folder, "me/merge", private=False, replace=False, message="m")
    text = str(caught.value)
    assert "\n" not in text
    assert TOKEN not in text
    assert f"hf upload me/merge {folder}" in text


def test_no_network_is_a_line(online, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(UserError, match="the Hub cannot be reached") as caught:
        push(folder_of(tmp_path / "o"), "me/merge", private=False, replace=False, message="m")
    assert "\n" not in str(caught.value)


def test_what_cannot_work_is_said_before_the_work(online, monkeypatch):
    require_hub("me/merge")
    with pytest.raises(UserError, match="--push-to-hub a/b/c"):
        require_hub("a/b/c")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
    with pytest.raises(UserError, match="there is no token; type 'hf auth login'"):
        require_hub("me/merge")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        require_hub("me/merge")
