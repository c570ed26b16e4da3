"""Runs killed at random moments and started again until they end, compared with runs that nobody killed.

python tests/killing.py RUNS [SEED]    prints a line per run, then a table; exits with 1 where a result differs

A process of its own, which imports once and forks for every start. The models are tiny and the sentences toys.
"""

import hashlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

from kd_lab import composition, experiment, results, training

SMALL = ("experiment=smoke", "teacher_epochs=2", "logger=csv", "trainer.enable_progress_bar=false")
METHODS = (
    ("method=finetune", "student=tiny-bert"),
    ("method=kd", "teacher=tiny-bert"),
    ("method=kd", "teacher=tiny-bert+tiny-roberta"),
    ("method=metadistil", "teacher=tiny-bert", "method.teacher_every=2"),
    ("method=metadistil", "teacher=tiny-bert+tiny-roberta"),
)
NOISE = (("noise=none",), ("noise=word", "noise.p=0.2"))
WORKERS = (("trainer.workers=0",), ("trainer.workers=2",))
OFTEN = ("trainer.checkpoint_minutes=0", "trainer.checkpoint_minutes=0.01")
NOT_COMPARED = {"config.yaml", "result.json"}  # the one names the folder, the other is compared without its seconds


def start(words: tuple[str, ...], folder: Path) -> int:
    """Fork a process that carries out the run; its number."""
    if child := os.fork():
        return child
    status = 1
    try:
        with (folder.parent / f"{folder.name}.log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            experiment.train(composition.settings_of([*SMALL, *words, f"output_dir={folder}"]))
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def whole(words: tuple[str, ...], folder: Path) -> float:
    """Carry the run out; its seconds."""
    started = time.monotonic()
    _, status = os.waitpid(start(words, folder), 0)
    if status:
        raise SystemExit((folder.parent / f"{folder.name}.log").read_text()[-3000:])
    return time.monotonic() - started


def killed(words: tuple[str, ...], folder: Path, seconds: float, draw: random.Random, kills: int = 3) -> list[str]:
    """Kill the run at random moments, ``kills`` times, then let it end; where it was each time."""
    where = []
    for _ in range(kills):
        child = start(words, folder)
        time.sleep(draw.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        where.append(place(folder) if status else "at its end")
    whole(words, folder)
    return where


def place(folder: Path) -> str:
    """What a killed run was at, as far as its folder tells."""
    if not (unfinished := sorted(folder.glob("*.unfinished"))):
        return "before or between runs"
    stage = "making a teacher" if unfinished[0].name.startswith("finetune") and len(unfinished) == 1 else "training"
    if (unfinished[0] / "student").exists():
        return "saving"
    return f"{stage}, writing a checkpoint" if list(unfinished[0].rglob("*.partial")) else stage


def content(folder: Path) -> dict[str, str]:
    """A digest of every file of every run, and the results without their seconds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in NOT_COMPARED and path.suffix != ".lock":
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "result.json":
            result = results.read(path.parent)
            assert result is not None
            found[str(path.relative_to(folder))] = result.without_times().model_dump_json()
    return found


def main(runs: int, seed: int = 0) -> int:
    """Kill ``runs`` runs, in turn of every kind; the number of those that ended otherwise."""
    assert training  # imported before the first fork
    draw, kinds = random.Random(seed), list(itertools.product(METHODS, NOISE, WORKERS))
    draw.shuffle(kinds)
    seen: Counter[str] = Counter()
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        expected: dict[int, tuple[dict[str, str], float]] = {}
        for number in range(runs):
            kind = number % len(kinds)
            words = tuple(itertools.chain(*kinds[kind], [draw.choice(OFTEN)]))
            if kind not in expected:
                seconds = whole(words, Path(scratch) / f"whole-{kind}")
                expected[kind] = content(Path(scratch) / f"whole-{kind}"), seconds
            folder = Path(scratch) / f"killed-{number}"
            where = killed(words, folder, expected[kind][1], draw)
            seen.update(where)
            wrong = sorted({name for name, _ in content(folder).items() ^ expected[kind][0].items()})
            different += bool(wrong)
            print(
                f"{number + 1}/{runs} {' '.join(words)}: killed {', '.join(where)}: {wrong or 'bit-equal'}", flush=True
            )
            shutil.rmtree(folder)
    print(f"{runs - different} of {runs} runs ended bit-equal, after {sum(seen.values())} kills: {dict(seen)}")
    return different


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:])) else 0)
