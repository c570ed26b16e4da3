"""The demo as a person starts it, in this process or another, with an ear for whom it speaks to."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from kd_lab import terminal
from kd_lab.demo import __main__ as door

OWN = (None, "", "127.0.0.1", "localhost", "::1")
asked: list[object] = []
"""Hosts that this process asked, beside its own."""


def watch(event: str, details: Any) -> None:
    """A hook of sys.addaudithook."""
    if event == "socket.getaddrinfo":
        host = details[0]
    elif event == "socket.connect" and isinstance(details[1], tuple):
        host = details[1][0]
    else:
        return
    if (host.decode() if isinstance(host, bytes) else host) not in OWN:
        asked.append(host)


sys.addaudithook(watch)


@dataclass
class Demo:
    """A running demo: its address, and what it said."""

    url: str = ""
    said: list[str] = field(default_factory=list)

    def answer(self, text: object) -> str:
        """Of gradio's API, as HTML."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            event = client.post("/gradio_api/call/answer", json={"data": [text]}).raise_for_status().json()["event_id"]
            stream = client.get(f"/gradio_api/call/answer/{event}").raise_for_status().text
        kind, data = re.findall(r"event: (\w+)\ndata: (.*)", stream)[-1]
        assert kind == "complete", stream
        return str(json.loads(data)[0])


@contextmanager
def here(words: Sequence[str], patch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """The door in a thread of this process, until the end of the block."""
    import uvicorn

    demo, servers, there = Demo(), [], threading.Event()

    class Kept(uvicorn.Server):
        def __init__(self, config: uvicorn.Config):
            super().__init__(config)
            servers.append(self)

    def say(line: str) -> None:
        demo.said.append(line)
        if found := re.search(r"http://\S+:\d+", line):
            demo.url = found[0]
            there.set()

    patch.setattr(uvicorn, "Server", Kept)
    patch.setattr(terminal, "say", say)
    order = door.read(words)
    thread = threading.Thread(target=lambda: door.show(order))
    thread.start()
    assert there.wait(120)
    yield demo
    servers[0].should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@contextmanager
def elsewhere(words: Sequence[str], folder: Path) -> Iterator[tuple[Demo, "subprocess.Popen[str]"]]:
    """``python -m kd_lab.demo WORDS`` in a process of its own, ended by Ctrl-C."""
    command = [sys.executable, "-m", "kd_lab.demo", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        demo = Demo()
        for line in process.stdout:
            demo.said.append(line.strip())
            if found := re.search(r"http://\S+:\d+", line):
                demo.url = found[0]
                break
        try:
            assert demo.url, demo.said
            yield demo, process
        finally:
            process.send_signal(signal.SIGINT)
            demo.said.extend(line.strip() for line in process.stdout)
            process.wait(20)


def users(demo: Demo, count: int, seconds: float) -> list[str]:
    """The answers to ``count`` users who ask one text after another for so long."""
    end = time.monotonic() + seconds

    def one(number: int) -> list[str]:
        found: list[str] = []
        while time.monotonic() < end or not found:
            found.append(demo.answer(f"user {number} asks for the {len(found)}. time"))
        return found

    with ThreadPoolExecutor(count) as pool:
        return [answer for answers in pool.map(one, range(count)) for answer in answers]
