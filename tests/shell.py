"""The doors as a person uses them: another process, another folder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def kd_lab(*words: str, folder: Path, door: str = "run", **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m kd_lab.DOOR WORDS`` in ``folder``."""
    command = [sys.executable, "-m", f"kd_lab.{door}", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def timed(
    *words: str, folder: Path, enough: float = 0, door: str = "run"
) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The fastest of at most three, in seconds: another test may be using the processor."""
    runs: list[tuple[float, subprocess.CompletedProcess[str]]] = []
    while len(runs) < 3 and not any(seconds < enough for seconds, _ in runs):
        start = time.monotonic()
        done = kd_lab(*words, folder=folder, door=door)
        runs.append((time.monotonic() - start, done))
    return min(runs, key=lambda run: run[0])


def wandb_reads(folder: Path) -> dict[str, Any]:
    """What W&B's own reader finds in the file of an offline run."""
    (run,) = (folder / "wandb").glob("offline-run-*")

    def read(*options: str) -> str:
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    found: dict[str, Any] = json.loads(read("--summary"))
    records = [json.loads(line) for line in read().splitlines() if line]
    (described,) = [record["run"] for record in records if record["type"] == "run"]
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    return {**found, "group": described["run_group"], "job_type": described["job_type"], "history": history}
