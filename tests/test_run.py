"""The door, as a person uses it: another process, another folder."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from shell import kd_lab, timed


def test_help_is_quick_and_lists_the_choices(tmp_path: Path) -> None:
    seconds, done = timed("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "method: finetune, kd, metadistil" in done.stdout
    assert "experiment=quickstart" in done.stdout
    assert seconds < 2


@pytest.mark.parametrize(
    "word",
    ["method=metadistill", "method.alpha=7", "student=", "seed=1=2", "method.alfa=1", "data=files", "teacher=bort"],
)
def test_a_mistyped_word_is_refused_quickly_and_without_a_traceback(word: str, tmp_path: Path) -> None:
    seconds, done = timed(word, folder=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    (line,) = done.stderr.strip().splitlines()
    assert word.split("=")[0] in line or word.split("=")[1] in line
    assert seconds < 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["teacher=bort", "student=bort", "teacher=tiny-bert+bort"])
def test_an_unknown_model_is_named_with_the_known_ones(word: str, tmp_path: Path) -> None:
    done = kd_lab("experiment=smoke", word, folder=tmp_path)
    assert done.returncode == 2
    assert "there is no model 'bort'; choose one of bert, roberta, distilbert" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_hub_one_line_names_the_quickstart(tmp_path: Path) -> None:
    """A closed port of this machine stands in for a hub that cannot be reached."""
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    start = time.monotonic()
    done = kd_lab("method=metadistil", "teacher=bert+roberta", folder=tmp_path, **closed)
    assert time.monotonic() - start < 20
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "cannot be reached" in line
    assert "experiment=quickstart" in line
    assert not (tmp_path / "outputs").exists()


def test_debug_shows_the_whole_traceback(tmp_path: Path) -> None:
    done = kd_lab("experiment=smoke", "student=bort", "debug=true", folder=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("torch", "hydra", "lightning", "transformers", "wandb")
    code = f"import sys, kd_lab; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_from_any_folder_ends_with_a_table_and_the_next_finds_it(tmp_path: Path) -> None:
    words = ("experiment=smoke", "teacher=tiny-bert", "max_epochs=1", "warmup_epochs=0")
    done = kd_lab(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for part in (
        "no finished teacher tiny-bert",
        "accuracy 0.",
        "teacher",
        "student",
        "smaller",
        "everything is in outputs/",
    ):
        assert part in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}
    again = kd_lab(*words, folder=tmp_path)
    assert "found finished" in again.stdout
    assert "epoch" not in again.stdout.split("found finished")[0]
