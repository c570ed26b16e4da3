"""Runs of several processes through the door that a person uses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
RUN = (
    "experiment=smoke",
    "method=metadistil",
    "teacher=tiny-bert",
    "logger=csv",
    "trainer.devices=2",
    "output_dir=out",
)
TWO = "trainer.devices=2"
DOOR = [sys.executable, "-m", "kd_lab.run"]


def start(*words: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([*DOOR, *RUN, TWO, *words], cwd=folder, stdout=-1, stderr=-1, text=True)


def test_it_is_interrupted_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    """The second run finds the first one's teacher; only its own folder is made anew."""
    (tmp_path / "whole").mkdir()
    done = start("max_epochs=12", folder=tmp_path / "whole")
    said, complaints = done.communicate(timeout=300)
    assert (done.returncode, complaints) == (0, "")
    assert said.count("metadistil: epoch 2/12") == 1  # one process speaks
    (tmp_path / "cut").mkdir()
    with start("max_epochs=12", "trainer.checkpoint_minutes=1000", folder=tmp_path / "cut") as cut:
        assert cut.stdout is not None
        assert cut.stderr is not None
        for line in cut.stdout:
            if line.startswith("metadistil: epoch 1/"):
                cut.send_signal(signal.SIGTERM)
        assert " of 240 is saved; the same command goes on" in cut.stderr.read()
    assert cut.returncode == 128 + signal.SIGTERM
    again = start("max_epochs=12", folder=tmp_path / "cut")
    said, complaints = again.communicate(timeout=300)
    assert (again.returncode, complaints) == (0, "")
    assert "going on from step" in said
    assert "is damaged" not in said
    assert predictions(tmp_path / "cut") == predictions(tmp_path / "whole")


def predictions(folder: Path) -> str:
    return next(folder.glob("out/metadistil*/predictions/test.csv")).read_text(encoding="utf-8")


def test_a_refusal_is_one_line_and_a_death_too(tmp_path: Path) -> None:
    refused = start("lr=1e30", "warmup_epochs=0", folder=tmp_path)
    _, complaints = refused.communicate(timeout=300)
    assert refused.returncode == 2
    assert complaints.startswith("kd_lab: the loss became")
    assert complaints.count("\n") == 1
    with start("max_epochs=500", folder=tmp_path) as dying:
        assert dying.stdout is not None
        assert dying.stderr is not None
        for line in dying.stdout:
            if line.startswith("metadistil: epoch 1/"):
                os.kill(children(dying.pid)[-1], signal.SIGKILL)
        said = dying.stderr.read()
    assert dying.returncode == 2
    assert "the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said


def children(process: int) -> list[int]:
    """The processes that have their own group, which are the ranks."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    return [int(child) for child in listed if os.getpgid(int(child)) == int(child)]
