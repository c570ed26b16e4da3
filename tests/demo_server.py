"""The demo as a person starts it, in a process that writes down whom it speaks to."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

WATCH = """
import os, sys

def watch(event, details):
    if event == "socket.getaddrinfo":
        host = details[0]
    elif event == "socket.connect" and isinstance(details[1], tuple):
        host = details[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in (None, "", "127.0.0.1", "localhost", "::1"):
        with open(os.environ["ASKED_HOSTS"], "a") as file:
            file.write(f"{host}\\n")

sys.addaudithook(watch)
"""


@dataclass(frozen=True)
class Demo:
    """A running demo: its address, what it said, and the file of the hosts that its process asked."""

    url: str
    said: list[str]
    process: "subprocess.Popen[str]"
    asked: Path

    def answer(self, text: object) -> str:
        """Of gradio's API, as HTML."""
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            event = client.post("/gradio_api/call/answer", json={"data": [text]}).raise_for_status().json()["event_id"]
            stream = client.get(f"/gradio_api/call/answer/{event}").raise_for_status().text
        kind, data = re.findall(r"event: (\w+)\ndata: (.*)", stream)[-1]
        assert kind == "complete", stream
        return str(json.loads(data)[0])


@contextmanager
def running(words: Sequence[str], folder: Path) -> Iterator[Demo]:
    """``python -m kd_lab.demo WORDS``, ended by Ctrl-C."""
    watching = folder / "watching"
    watching.mkdir()
    (watching / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    path = os.pathsep.join([str(watching), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "ASKED_HOSTS": str(folder / "asked")}
    command = [sys.executable, "-m", "kd_lab.demo", *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line.strip())
            if found := re.search(r"http://\S+:\d+", line):
                break
        else:
            raise AssertionError("\n".join(said))
        try:
            yield Demo(found[0], said, process, folder / "asked")
        finally:
            process.send_signal(signal.SIGINT)
            said.extend(line.strip() for line in process.stdout)
            process.wait(20)


def users(demo: Demo, count: int, seconds: float) -> list[str]:
    """The answers to ``count`` users who ask one text after another for so long."""
    from concurrent.futures import ThreadPoolExecutor

    end = time.monotonic() + seconds

    def one(number: int) -> list[str]:
        found = []
        while time.monotonic() < end or not found:
            found.append(demo.answer(f"user {number} asks for the {len(found)}. time"))
        return found

    with ThreadPoolExecutor(count) as pool:
        return [answer for answers in pool.map(one, range(count)) for answer in answers]
