"""A sweep under two workers, a random process of it killed again and again, and the same command until it ends.

python tests/killing_sweeps.py [SECONDS [SEED]]    kills every SECONDS (30); exits with 1 where a result is wrong

Needs the extra kd_lab[sweeps]. The models are tiny and the sentences toys.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from killing import content

JOBS = 24
SMALL = ("experiment=smoke", "teacher_epochs=6", "data.rows=600", "logger=csv", "trainer.enable_progress_bar=false")
GRID = ("method=finetune,kd,metadistil", "seed=range(8)", "teacher=tiny-bert", "noise=word", "max_epochs=3")
SWEEP = (*SMALL, *GRID, "hydra/launcher=processes", "hydra.launcher.n_jobs=2", "trainer.checkpoint_minutes=0.02")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """The sweep as a person would start it, in a session of its own."""
    command = [sys.executable, "-m", "kd_lab.run", "-m", *SWEEP, f"output_dir={folder}"]
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=ENVIRONMENT, start_new_session=True)


def at_work(sessions: set[int]) -> dict[int, str]:
    """The living processes of the sessions, and what each is: the sweep itself or one of its workers."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) in sessions and state != "Z":
            number = int(path.parent.name)
            found[number] = "the sweep" if number in sessions else "a worker"
    return found


def finished(folder: Path, seen: dict[str, int]) -> None:
    """Add when each finished run was written, to what is known already; a later time would be a second run."""
    for path in folder.glob("*/result.json"):
        if not path.parent.name.endswith(".unfinished"):
            seen.setdefault(path.parent.name, path.stat().st_mtime_ns)


def disturbed(folder: Path, every: float, draw: random.Random) -> tuple[Counter[str], dict[str, int], int]:
    """Carry the sweep out under kills; how many of which kind, when each run was finished, how many starts it took."""
    log, seen, kills = folder.with_suffix(".log"), {}, Counter[str]()  # type: ignore[var-annotated]
    sessions, starts = set(), 0
    while True:
        sweep = start(folder, log)
        sessions.add(sweep.pid)
        starts += 1
        due = time.monotonic() + every
        while sweep.poll() is None:
            time.sleep(0.2)
            finished(folder, seen)
            if time.monotonic() > due:
                number, kind = draw.choice(sorted(at_work(sessions).items()))
                os.kill(number, signal.SIGKILL)
                kills[kind] += 1
                due += every
        print(f"start {starts} ended with {sweep.returncode}: {len(seen)} runs, kills {dict(kills)}", flush=True)
        if sweep.returncode == 0:
            return kills, seen, starts


def main(every: float = 30, seed: float = 0) -> int:
    """Compare a sweep under kills with one that nobody disturbed; the number of runs that are wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        whole, cut = Path(scratch) / "whole", Path(scratch) / "cut"
        began = time.monotonic()
        if start(whole, whole.with_suffix(".log")).wait():
            raise SystemExit(whole.with_suffix(".log").read_text()[-3000:])
        print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
        kills, seen, starts = disturbed(cut, every, random.Random(seed))
        runs = sorted(path.parent.name for path in whole.glob("*/result.json"))
        made = sorted(path.parent.name for path in cut.glob("*/result.json"))
        wrong = [name for name in runs if content(whole / name) != content(cut / name)]
        twice = [name for name, moment in seen.items() if (cut / name / "result.json").stat().st_mtime_ns != moment]
        last = cut.with_suffix(".log").read_text()
        assert len(runs) >= JOBS
        assert f"{JOBS} of {JOBS} jobs done" in last
        strange = sorted({*made} ^ {*runs})
    print(f"{len(runs)} runs, {len(runs) - len(wrong)} bit-equal after {sum(kills.values())} kills: {dict(kills)}")
    print(f"{starts} starts; made twice: {twice or 'none'}; wrong: {wrong or 'none'}; other runs: {strange or 'none'}")
    return len(wrong) + len(twice) + len(strange)


if __name__ == "__main__":
    sys.exit(1 if main(*map(float, sys.argv[1:])) else 0)
