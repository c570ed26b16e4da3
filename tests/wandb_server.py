"""A W&B on this machine: as much of its GraphQL as the dashboard needs."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, KEY = "somebody", "0123456789" * 4
PAGE = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


class Server:
    """A running one.

    Attributes:
        endpoint: its address.
        views: what was saved, by id.
        refuses: whether it takes nobody's key.
    """

    def __init__(self) -> None:
        self.views: dict[str, dict[str, Any]] = {}
        self.projects: list[str] = []
        self.refuses = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Desk", (Desk,), {"server_of": self}))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        if "upsertModel" in query:
            self.projects.append(given["input"]["name"])
            project = {"id": "p", "name": given["input"]["name"], "entityName": ENTITY}
            made = project | {"description": "", "access": "", "views": "{}"}
            return {"result": {"project": made, "model": made, "inserted": True}}
        if "models(" in query:
            rest = {"__typename": "Project", "createdAt": "2020-01-01", "isBenchmark": False, "user": None}
            nodes = [{"id": "p", "name": name, "entityName": ENTITY, **rest} for name in self.projects]
            return {"models": {"pageInfo": PAGE, "edges": [{"node": node} for node in nodes]}}
        if "upsertView" in query:
            return {"upsertView": {"view": self._upsert(given), "inserted": not given.get("id")}}
        if "allViews" in query:
            found = [{"node": view} for view in self.views.values() if view["type"] == given["type"]]
            return {"project": {"allViews": {"edges": found}} if given["project"] in self.projects else None}
        return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": None}}

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        number = given.get("id") or f"view{len(self.views)}"
        project = {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}
        names = {name: given[name] for name in ("type", "name", "displayName", "description", "spec")}
        self.views[number] = {"id": number, "project": project, **names}
        return self.views[number]


class Desk(BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    server_of: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        answer = {"data": self.server_of.answer(asked["query"], asked.get("variables") or {})}
        text = json.dumps({"errors": [{"message": "not this key"}]} if self.server_of.refuses else answer).encode()
        self.send_response(403 if self.server_of.refuses else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        """Say nothing."""
