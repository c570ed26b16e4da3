"""The door, as a person uses it: another process, another folder."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from shell import kd_lab, timed

from kd_lab import settings


def test_help_is_quick_and_lists_the_choices(tmp_path: Path) -> None:
    seconds, done = timed("--help", folder=tmp_path, enough=1.5)
    assert done.returncode == 0
    assert "method: finetune, kd, metadistil" in done.stdout
    assert "sweep: ablation, search, table1" in done.stdout
    assert "experiment=quickstart" in done.stdout
    assert "wandb: " not in done.stdout, "conf/wandb/ is W&B's"
    assert seconds < 1.5


@pytest.mark.parametrize("word", ["teacher=bort", "student=bort", "teacher=tiny-bert+bort"])
def test_an_unknown_model_is_named_with_the_known_ones(word: str, tmp_path: Path) -> None:
    done = kd_lab("experiment=smoke", word, folder=tmp_path)
    assert done.returncode == 2
    assert "there is no model 'bort'; choose one of bert, roberta, distilbert" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never says a word, like a network that swallows packets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("network", ["closed", pytest.param("silent", marks=pytest.mark.slow)])
def test_without_the_hub_one_line_names_the_quickstart(network: str, silent_server: str, tmp_path: Path) -> None:
    """A closed port of this machine stands in for a hub that cannot be reached."""
    endpoint = silent_server if network == "silent" else "http://127.0.0.1:9"
    without = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    start = time.monotonic()
    done = kd_lab("method=metadistil", "teacher=bert+roberta", folder=tmp_path, **without)
    assert time.monotonic() - start < 20
    refused_by_the_network(done, tmp_path, "cannot be reached", "experiment=quickstart")


@pytest.mark.parametrize("network", ["closed", pytest.param("silent", marks=pytest.mark.slow)])
def test_without_the_package_registry_one_line_says_so(network: str, silent_server: str, tmp_path: Path) -> None:
    index = silent_server if network == "silent" else "http://127.0.0.1:9"
    without = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index,
        "PIP_FIND_LINKS": "",
        # Waited for twice: 6 s with the one retry, 18 and more with pip's own five.
        "PIP_DEFAULT_TIMEOUT": "3",
        "KD_LAB_CACHE": str(tmp_path / "cache"),
    }
    start = time.monotonic()
    done = kd_lab("experiment=quickstart", folder=tmp_path, **without)
    assert time.monotonic() - start < 20
    refused_by_the_network(done, tmp_path, "vaderSentiment==3.3.2", "the package registry cannot be reached")


def refused_by_the_network(done: subprocess.CompletedProcess[str], folder: Path, *said: str) -> None:
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    for part in said:
        assert part in line
    assert not (folder / "outputs").exists()


def test_the_installed_command_completes_words(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("kd_lab")
    typed = {**os.environ, "COMP_LINE": "kd_lab method=meta", "COMP_POINT": "18"}
    done = subprocess.run([command, "-sc", "query=bash"], cwd=tmp_path, env=typed, capture_output=True, text=True)
    assert done.stdout.split() == ["method=metadistil"]
    install = subprocess.run([command, "-sc", "install=bash"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert install.stdout.strip().endswith("kd_lab")


def test_the_whole_configuration_can_be_printed(tmp_path: Path) -> None:
    done = kd_lab("method=kd", "--cfg", "job", "--resolve", folder=tmp_path)
    assert done.returncode == 0
    printed = OmegaConf.create(done.stdout)
    assert isinstance(printed, DictConfig)
    assert settings.check(printed).method.name == "kd"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["debug=true", "debug=1"])
def test_debug_shows_the_whole_traceback(word: str, tmp_path: Path) -> None:
    done = kd_lab("experiment=smoke", "student=bort", word, folder=tmp_path)
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
