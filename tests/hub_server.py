"""A hub on this machine: as much of the Hugging Face hub's protocol as its clients need, and its bad days."""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

PIECE = 16_384  # bytes written at a time
LARGE = 10_000  # bytes; like the hub, what is larger is kept elsewhere and redirected to


@dataclass(frozen=True)
class Repository:
    """Files under a name.

    Attributes:
        files: their content by path.
        token: the one that opens it; empty for everybody's.
        gated: whether everybody may see it, but only the token open it.
    """

    files: Mapping[str, bytes]
    token: str = ""
    gated: bool = False

    @cached_property
    def large(self) -> dict[str, bytes]:
        """The large files by the SHA-256 of their content."""
        return {sha256(content): content for content in self.files.values() if len(content) > LARGE}

    @cached_property
    def commit(self) -> str:
        """Of the content, 40 hexadecimal digits."""
        return git_name("".join(f"{path} {git_name(self.files[path])}\n" for path in sorted(self.files)).encode())


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with requests.

    Attributes:
        at: a pattern of ``METHOD /path``.
        status, headers: of the answer instead of the right one.
        after: the first so many bytes of a body come; what happens then, ``then`` says.
        then: ``close`` the connection or be ``silent``.
        resumes: whether the rest of a file can be asked for.
        pause: seconds between pieces of a body.
        body: makes another body out of the right one.
    """

    at: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None
    then: str = "close"
    resumes: bool = True
    pause: float = 0
    body: Callable[[bytes], bytes] = bytes


class Hub:
    """A running hub.

    Attributes:
        endpoint: its address.
        elsewhere: under another name, the address of large files; the client must not take its token there.
        repositories: by ``models/NAME`` or ``datasets/NAME``.
        troubles: the first whose pattern matches a request happens.
        asked: ``METHOD /path`` of every request, with its host and its token.
    """

    def __init__(self, repositories: Mapping[str, Repository]):
        self.repositories = dict(repositories)
        self.troubles: list[Trouble] = []
        self.asked: list[tuple[str, str, str]] = []
        self.closing = threading.Event()
        hub = self
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Desk", (Desk,), {"hub": hub}))
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.endpoint, self.elsewhere = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """From now on connections are refused."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class Desk(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    trouble: Trouble | None = None

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.hub.asked.append((request, self.headers.get("Host") or "", self.token))
        self.trouble = next((trouble for trouble in self.hub.troubles if re.search(trouble.at, request)), None)
        if self.trouble and self.trouble.status:
            self.send(self.trouble.status, b"<html>a page for people</html>", self.trouble.headers)
        elif path == "/":
            self.send(200, b"a hub")
        elif found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(revision|tree)/(.+)", path):
            kind, name, what, revision = found.groups()
            self.describe(f"{kind}/{name}", what, revision)
        elif found := re.fullmatch(r"(?:/(datasets))?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            kind, name, revision, file = found.groups()
            self.file(f"{kind or 'models'}/{name}", revision, file)
        elif found := re.fullmatch(r"/elsewhere/(.+)/(\w{64})", path):
            self.large_file(*found.groups())
        else:
            self.send(404, b"")

    def open(self, name: str, *, revision: str, content: bool) -> Repository | None:
        """The repository, where there is one for whoever asks; says so where not."""
        found = self.hub.repositories.get(name)
        known = {repository.token for repository in self.hub.repositories.values()} | {""}
        if self.token not in known:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif found and found.gated and content and self.token != found.token:
            self.refuse(403 if self.token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif not found or (found.token and not found.gated and self.token != found.token):
            # Of what is private the hub says no more than of what does not exist.
            self.refuse(*((404, "RepoNotFound") if self.token else (401, "")), "Repository not found")
        elif revision not in ("main", found.commit):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return found
        return None

    def describe(self, name: str, what: str, revision: str) -> None:
        if not (repository := self.open(name, revision=revision, content=False)):
            return
        if what == "revision":
            siblings = [{"rfilename": path} for path in repository.files]
            known = {"id": name.partition("/")[2], "sha": repository.commit, "siblings": siblings, "private": False}
            self.send(200, json.dumps(known).encode(), {"Content-Type": "application/json"})
            return
        tree = []
        for path, content in repository.files.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": git_name(content)}
            if len(content) > LARGE:
                entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
            tree.append(entry)
        self.send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})

    def file(self, name: str, revision: str, path: str) -> None:
        if not (repository := self.open(name, revision=revision, content=True)):
            return
        headers = {"X-Repo-Commit": repository.commit}
        if path not in repository.files:
            self.refuse(404, "EntryNotFound", "Entry not found", headers)
            return
        content = repository.files[path]
        if len(content) > LARGE:
            headers |= {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
            self.send(302, b"", headers | {"Location": f"{self.hub.elsewhere}/elsewhere/{name}/{sha256(content)}"})
        else:
            self.send_range(content, headers | {"ETag": f'"{git_name(content)}"'})

    def large_file(self, name: str, digest: str) -> None:
        self.send_range(self.hub.repositories[name].large[digest], {"ETag": f'"{digest}"'})

    def send_range(self, content: bytes, headers: Mapping[str, str]) -> None:
        """The content, or the end of it that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not asked or (self.trouble and not self.trouble.resumes):
            self.send(200, content, headers)
            return
        start = int(asked[1])
        self.send(
            206, content[start:], {**headers, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        )

    def refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] = {}) -> None:
        body = json.dumps({"error": message}).encode()
        names = {"X-Error-Code": code} if code else {}
        self.send(status, body, {**headers, **names, "X-Error-Message": message, "Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        trouble = self.trouble or Trouble("")
        if self.command == "GET":
            body = trouble.body(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = body[: trouble.after]
        for start in range(0, len(body), PIECE) if trouble.pause else ():
            self.wfile.write(body[start : start + PIECE])
            time.sleep(trouble.pause)
        self.wfile.write(b"" if trouble.pause else body)
        if trouble.after is not None:
            self.close_connection = True
            if trouble.then == "silent":
                self.wfile.flush()
                self.hub.closing.wait()


def sha256(content: bytes) -> str:
    """What the hub calls a large file."""
    return hashlib.sha256(content).hexdigest()


def git_name(content: bytes) -> str:
    """What git, and so the hub, calls a small file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
