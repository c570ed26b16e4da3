"""From training to the page: students of one and of two teachers answer alike in every form that they are shipped in.

python tests/shipping.py [FOLDER]    what is finished in FOLDER is found; exits with 1 where an answer differs

The model hub is a server on this machine that has nothing and counts who asks.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import demo_server
from demo_server import Demo
from rich import box
from rich.table import Table

from kd_lab import finished, terminal
from kd_lab.demo import choosing
from kd_lab.demo.choosing import Candidate
from kd_lab.demo.page import EXAMPLES
from kd_lab.export import record
from kd_lab.export.record import Export

RUNS = (("experiment=quickstart",), ("experiment=quickstart", "teacher=minilm+minilm5"))
WANTED = {"NLP is fun.": "positive", "a tedious, joyless mess": "negative"}
PROBABILITY = 1e-3
"""Answers may differ by it: the page shows three digits, the files are compared to 1e-4 in the logits."""
CLASSIFY = """import json, sys
from transformers import pipeline
for found in pipeline("text-classification", ".")(json.load(sys.stdin), truncation=True):
    print(found["label"], found["score"])"""

Answers = list[tuple[str, float]]
"""A label and its probability for each text."""


class Hub(BaseHTTPRequestHandler):
    """Has nothing."""

    asked: tuple[str, ...] = ()

    def answer(self) -> None:
        Hub.asked += (self.path,)
        self.send_error(503)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def door(name: str, *words: str, stdin: str | None = None) -> str:
    """What ``python -m kd_lab.NAME WORDS`` prints; without ``stdin`` the person reads it instead."""
    terminal.say(f"$ python -m kd_lab.{name} {' '.join(words)}")
    command = [sys.executable, "-m", f"kd_lab.{name}", *words]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE if stdin else None, text=True, check=True).stdout


def predicted(name: str, texts: Sequence[str], out: str) -> Answers:
    """Of kd_lab.predict."""
    lines = door("predict", name, out, stdin="\n".join(texts)).splitlines()
    return [(one["label"], one["probability"][one["label"]]) for one in map(json.loads, lines)]


def script(code: str, folder: Path, stdin: str = "") -> Answers:
    """Of Python beside an export: label and probability begin each line."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, input=stdin, capture_output=True, text=True, check=True
    )
    return [(line.split()[0], float(line.split()[1])) for line in done.stdout.splitlines()]


def shown(demo: Demo, texts: Iterable[str]) -> list[Answers]:
    """Of the page, for each text: what each model says."""
    found = []
    for text in texts:
        cells = re.findall(r'class="kd-label">(\w+)</td>\s*<td>([\d.]+)&nbsp;%', demo.answer(text))
        found.append([(label.lower(), float(share) / 100) for label, share in cells])
    return found


def exported(candidate: Candidate, folder: Path) -> tuple[Path, Export]:
    """Its export, in all formats."""
    out = f"output_dir={folder}"
    door("export", candidate.name, out)
    identity = finished.find(candidate.name, [out]).checkpoint.identity()
    every = [(path, export) for path in (folder / record.FOLDER).iterdir() if (export := record.read(path))]
    (own,) = (one for one in every if one[1].identity == identity)
    return own


def alike(first: Answers, second: Answers) -> bool:
    """The same labels, and nearly the same probabilities."""
    pairs = zip(first, second, strict=True)
    return all(a == b and abs(p - q) <= PROBABILITY for (a, p), (b, q) in pairs)


def judge(candidate: Candidate, folder: Path, on_page: Answers) -> tuple[list[str], bool]:
    """A row of the table, and whether all forms answer as the page does."""
    place, export = exported(candidate, folder)
    card = (place / record.CARD).read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "onnxruntime" in block)
    texts = list(EXAMPLES)
    answers = {
        "predict": alike(predicted(candidate.name, texts, f"output_dir={folder}"), on_page),
        "pipeline": alike(script(CLASSIFY, place, json.dumps(texts)), on_page),
        "card": alike(script(code, place), on_page[: len(WANTED)]),
        "right": [label for label, _ in on_page[: len(WANTED)]] == list(WANTED.values()),
    }
    sizes = [f"{w.bytes / 1e6:.1f}" for kind in ("onnx", "int8") if (w := export.of(kind)) and not w.refused]
    row = [candidate.role, candidate.shown, *sizes, *("yes" if same else "NO" for same in answers.values())]
    return row, all(answers.values()) and len(sizes) == 2


def main(folder: Path) -> None:
    """Train, export, ask, compare."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "WANDB_MODE": "offline"}
    os.environ.pop("HF_HUB_OFFLINE", None)
    for words in RUNS:
        door("run", *words, f"output_dir={folder}")
    candidates = choosing.choose([], folder)
    with demo_server.elsewhere(["port=0", f"output_dir={folder}"], Path.cwd()) as (demo, _):
        on_page = list(zip(*shown(demo, EXAMPLES), strict=True))
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("role", "model", "ONNX MB", "int8 MB", "predict", "pipeline", "card", "right"):
        table.add_column(heading)
    well = True
    for candidate, answers in zip(candidates, on_page, strict=True):
        row, fine = judge(candidate, folder, list(answers))
        table.add_row(*row)
        well &= fine
    door("report", str(folder))
    terminal.console.print(table)
    terminal.say(f"requests to the model hub: {', '.join(Hub.asked) or 'none'}")
    sys.exit(0 if well and not Hub.asked else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "outputs"))
