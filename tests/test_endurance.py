"""Long runs: killed ones end as if nothing had been, and none grows."""

import gc
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_lab import experiment
from kd_lab.distiller import Distiller
from kd_lab.settings import Settings

pytestmark = pytest.mark.reliability
PAGE = 4096  # bytes
STEPS, SETTLED = 2000, 600  # the first steps still fill caches of every shape there is


def test_runs_killed_at_random_end_bit_equal() -> None:
    """A few; ``make reliability`` kills a hundred."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killing.py")), "4", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 runs ended bit-equal, after 12 kills" in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the system's own count")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("noise=none",), id="the same widths every epoch"),
        # bfloat16 products keep some code for every shape there is, and noise goes on making new widths.
        pytest.param(("noise=word", "data.max_length=8"), id="noise, all batches of one width"),
    ],
)
def test_memory_does_not_grow(
    words: tuple[str, ...],
    compose: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held: dict[int, int] = {}
    original = Distiller.on_train_batch_end

    def count(self: Distiller, *args: object) -> None:
        original(self, *args)  # type: ignore[arg-type]
        if not self.prefix and self.teachers is not None and self.global_step % 50 == 0:
            gc.collect()
            held[self.global_step] = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE

    monkeypatch.setattr(Distiller, "on_train_batch_end", count)
    # Long epochs: what is watched are steps, not evaluations.
    moving = ("method=metadistil", "method.teacher_every=1")
    long = ("data.rows=5000", "teacher_epochs=1", "warmup_epochs=0", "max_epochs=11")
    result = experiment.train(compose(*moving, *long, *words))
    assert result.steps == result.teacher_updates >= STEPS
    late = {step: size for step, size in held.items() if step > SETTLED}
    slope = statistics.linear_regression(list(late), [size / 2**20 for size in late.values()]).slope * 1000
    with capsys.disabled():
        print(f"{' '.join(words)}: {slope:.2f} MB more per 1,000 meta-steps, at {held[max(held)] / 2**20:,.0f} MB")
    assert slope < 1
