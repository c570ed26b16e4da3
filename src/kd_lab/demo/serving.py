"""The page on a port of this machine, under rules that let it speak to nobody else."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from kd_lab.errors import UserError

if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

NEXT = 20
"""Ports that are tried after one that is taken."""
LARGEST = 100_000
"""Bytes of a request: a text of 5,000 characters needs at most 60,000."""
RULES = {
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Whatever gradio's page may want: the browser asks no other host for it."""


def listen(host: str, port: int) -> socket.socket:
    """A socket on ``port`` of ``host``, or on the next that is free.

    Raises:
        UserError: if there is none, or ``host`` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in range(port, min(port + NEXT, 65_535) + 1):
        try:
            return socket.create_server((host, number), family=family, backlog=2048)
        except socket.gaierror as error:
            raise UserError(f"host={host}: there is no such address ({error.strerror})") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            name = "port" if error.errno == errno.EACCES else "host"
            value = port if name == "port" else host
            raise UserError(f"{name}={value}: cannot be had here ({error.strerror})") from error
    raise UserError(f"port={port}: it and the {NEXT} after it are taken; name another")


def url(listening: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def application(blocks: "Blocks") -> "ASGIApp":
    """The page as an application, without gradio's upload of files, its documentation and its links to elsewhere."""
    import gradio
    from fastapi import FastAPI

    from kd_lab.demo import page, rendering

    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    options = {"footer_links": [], "run_history": False, "ssr_mode": False, "pwa": False, "mcp_server": False}
    return Guard(
        gradio.mount_gradio_app(
            outer,
            blocks,
            path="/",
            theme=page.theme(),
            css=rendering.style(),
            max_file_size=1,
            enable_monitoring=False,
            show_error=False,
            **options,
        )
    )


class Guard:
    """Refuses large requests and files, and sends the rules with every answer.

    Args:
        inner: the application behind it.
    """

    def __init__(self, inner: "ASGIApp"):
        self.inner = inner

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return

        async def ruled(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in RULES.items())]
            await send(message)

        refused = _refusal(scope)
        if refused:
            await ruled({"type": "http.response.start", "status": refused, "headers": []})
            await ruled({"type": "http.response.body"})
            return
        await self.inner(scope, receive, ruled)


def _refusal(scope: "Scope") -> int | None:
    if scope["path"].endswith("/upload"):
        return 404
    length = dict(scope["headers"]).get(b"content-length")
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return None
    if length is None or not length.isdigit():
        return 411
    return 413 if int(length) > LARGEST else None


def serve(build: Callable[[], "ASGIApp"], listening: socket.socket) -> None:
    """What ``build`` makes, until Ctrl-C."""
    import uvicorn

    async def served() -> None:
        # Where no loop is running, gradio makes some of its own and never closes them.
        config = uvicorn.Config(build(), log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listening])

    with suppress(KeyboardInterrupt):
        asyncio.run(served())


def keep_to_oneself() -> None:
    """What gradio and the hub's client read when they are imported: they send nothing to their makers."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
