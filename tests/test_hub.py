"""The model hub as it is: slow, cut off, closed, out of order, gone. Each ends well or in one line, in a bounded time.

The hub is tests/hub_server.py, its clients are the real ones, in another process.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hub_server import Hub, Repository, Trouble

from kd_lab import catalogue, composition, toy
from kd_lab.hub import in_words

SECONDS = 40  # for a bad day to end on a busy machine; on a quiet one, 24 at most
SECONDS_OF_TRAINING = 240
TOKEN, WANDB_KEY = "hf_" + "secret" * 5, "5ec12e7" * 5 + "5ec12"
TINY = ["method=finetune", "student=lab/open", "data=toy"]
SST2 = ["data=sst2", "data.train=64", "data.quiz=8", "data.validation=16", "data.test=16"]
PLAN = """
import sys
from kd_lab import composition, planning
plan = planning.plan(composition.settings_of(sys.argv[1:]))
print(plan.student.folder, len(plan.rows.texts), plan.rows.validation)
"""


@pytest.fixture(scope="module")
def model() -> dict[str, bytes]:
    """A tiny random model's files by name, with a tokenizer trained on the toy sentences."""
    known = composition.settings_of(["experiment=smoke"]).models
    return {path.name: path.read_bytes() for path in catalogue.locate("tiny-roberta", known).folder.iterdir()}


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Toy sentences in GLUE's shape."""
    from datasets import Dataset

    texts, labels = toy.sentences(200)
    path, files = tmp_path_factory.mktemp("glue") / "part.parquet", {}
    for split, rows in (("train", slice(184)), ("validation", slice(184, 200))):
        table = Dataset.from_dict({"sentence": texts[rows], "label": labels[rows], "idx": [*range(200)][rows]})
        table.to_parquet(str(path))
        files[f"sst2/{split}-00000-of-00001.parquet"] = path.read_bytes()
    return files


@pytest.fixture
def hub(model: dict[str, bytes], glue: dict[str, bytes]) -> Iterator[Hub]:
    pickled = {name.replace("model.safetensors", "pytorch_model.bin"): content for name, content in model.items()}
    running = Hub(
        {
            "models/lab/open": Repository(model),
            "models/lab/private": Repository(model, token=TOKEN),
            "models/lab/gated": Repository(model, token=TOKEN, gated=True),
            "models/lab/pickled": Repository(pickled),
            "models/lab/large": Repository({**model, "model.safetensors": bytes(12_000_000)}),
            "datasets/nyu-mll/glue": Repository(glue),
        }
    )
    yield running
    running.close()


def child(
    hub: Hub, folder: Path, seconds: float, *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A process of python, ended after so many ``seconds``; it knows this hub alone, whatever its user has set."""
    home = str(folder / "home")
    caches = {"HF_HOME": home, "HF_HUB_CACHE": f"{home}/hub", "HF_DATASETS_CACHE": f"{home}/datasets", "HF_TOKEN": ""}
    network = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1,localhost"}
    variables = {**os.environ, **caches, **network, **environment}
    command = (sys.executable, *command)
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds)


def refused(hub: Hub, folder: Path, *words: str, **environment: str) -> str:
    """The one line in which a run ends."""
    done = child(hub, folder, SECONDS, "-m", "kd_lab.run", *TINY, *words, **environment)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert not (folder / "outputs").exists()
    return line


def planned(hub: Hub, folder: Path, *words: str) -> tuple[dict[str, bytes], str]:
    """The student's files as a run would read them, and what is said of the data."""
    done = child(hub, folder, SECONDS, "-c", PLAN, *TINY, *words)
    assert (done.returncode, done.stderr) == (0, "")
    student, rows = done.stdout.strip().splitlines()[-1].split(" ", 1)
    return {path.name: path.read_bytes() for path in Path(student).iterdir()}, rows


def flipped(content: bytes) -> bytes:
    """As long as ``content``, and another in its last byte."""
    return content[:-1] + bytes([content[-1] ^ 1])


def shorter(content: bytes) -> bytes:
    return content[:-10]


@pytest.mark.slow
def test_a_run_on_the_hubs_files_writes_no_secret_and_is_found_when_the_hub_is_gone(hub: Hub, tmp_path: Path) -> None:
    door = ("-m", "kd_lab.run", *TINY, *SST2, "student=lab/private", "max_epochs=1")
    done = child(hub, tmp_path, SECONDS_OF_TRAINING, *door, HF_TOKEN=TOKEN, WANDB_API_KEY=WANDB_KEY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "training finetune: lab/private on sst2, seed 0 (64 train, 8 quiz, 16 validation, 16 test)" in done.stdout
    files = [(host, token) for request, host, token in hub.asked if re.search("resolve|elsewhere", request)]
    assert set(files) == {(hub.endpoint[7:], TOKEN), (hub.elsewhere[7:], "")}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.yaml", "result.json"} <= {path.name for path in written}
    assert any(path.suffix == ".wandb" for path in written)
    said = [done.stdout.encode(), *(path.read_bytes() for path in written)]
    assert not any(secret.encode() in text for secret in (TOKEN, WANDB_KEY) for text in said)
    hub.close()
    again = child(hub, tmp_path, SECONDS, *door)
    assert (again.returncode, again.stderr) == (0, "")
    assert "found finished: finetune: lab/private" in again.stdout


LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


@pytest.mark.parametrize(
    ("words", "token", "said"),
    [
        (["student=lab/missing"], "", f"shows no model lab/missing: check the name; if it is private, {LOG_IN}"),
        (["student=lab/missing"], TOKEN, "shows no model lab/missing: check the name"),
        (["student=lab/private"], "", f"shows no model lab/private: check the name; if it is private, {LOG_IN}"),
        (["student=lab/private"], "hf_" + "wrong" * 6, "does not know the token it is given"),
        (["student=lab/gated"], "", f"/lab/gated, then {LOG_IN}"),
        (["student=tinybert"], "", "shows no model huawei-noah/TinyBERT_General_4L_312D"),
        (["student=old", "+models.old={hub:lab/open,revision:old}"], "", "has no such revision"),
        (["student=lab/pickled"], "", "holds no *.safetensors; other weights are not read: name another model"),
        (["student=lab/pickled"], "hf_in\vtwo", "did not arrive from the model hub"),
    ],
)
def test_what_is_not_there_or_not_open(words: list[str], token: str, said: str, hub: Hub, tmp_path: Path) -> None:
    line = refused(hub, tmp_path, *words, HF_TOKEN=token)
    assert said in line
    assert not token or token not in line.encode().decode("unicode_escape")
    assert not list(tmp_path.rglob("*.bin"))


def test_a_reason_is_passed_on_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = in_words(OSError(f"http://me:word@proxy:1 refuses {TOKEN}.\nMore."), "model", "lab/open")
    assert said == "the model lab/open did not arrive from the model hub (http://proxy:1 refuses …): run again"


def slowly(*case: object) -> object:
    """One that waits for the network to give up."""
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Trouble("/revision/", 503), "out of order (503) for the model lab/open: run again later"),
        (Trouble("/tree/", 502, {"Retry-After": "600"}), "out of order (502)"),
        (Trouble("HEAD .*safetensors", 503), "out of order (503)"),
        (Trouble("GET /elsewhere/", 504), "out of order (504)"),
        (Trouble("/tree/", 429, {"Retry-After": "600"}), f"run again in 600 seconds, or {LOG_IN}"),
        (Trouble("HEAD .*safetensors", 429, {"RateLimit": '"api";r=0;t=290'}), "run again in 290 seconds"),
        slowly(Trouble("/revision/", after=0, then="silent"), "cannot be reached for the model lab/open"),
        slowly(Trouble("GET /elsewhere/", after=20_000, then="silent"), "it says nothing more"),
        (Trouble("GET /elsewhere/", body=shorter), "did not arrive from the model hub (Consistency check failed"),
    ],
)
def test_bad_days_end_in_a_line_and_good_ones_well(trouble: Trouble, said: str, hub: Hub, tmp_path: Path) -> None:
    hub.troubles = [trouble]
    line = refused(hub, tmp_path)
    assert said in line
    assert "experiment=quickstart" in line
    assert max(Counter(request for request, *_ in hub.asked).values()) <= 4


@pytest.mark.slow
def test_a_file_that_never_gets_past_a_byte_is_given_up(hub: Hub, tmp_path: Path) -> None:
    """Left alone the client would fetch the same ten megabytes for ever: a byte arrives every time."""
    hub.troubles = [Trouble("GET /elsewhere/", after=11_000_000, resumes=False)]
    assert "breaks off at the same byte" in refused(hub, tmp_path, "student=lab/large")


def test_a_download_that_is_cut_off_is_not_trusted_and_the_next_is_whole(
    hub: Hub, model: Mapping[str, bytes], tmp_path: Path
) -> None:
    hub.troubles = [Trouble("GET /elsewhere/", after=20_000)]
    assert "did not arrive from the model hub (peer closed connection" in refused(hub, tmp_path)
    hub.troubles = [Trouble("", 503)]
    assert "out of order (503)" in refused(hub, tmp_path)
    hub.troubles = []
    assert planned(hub, tmp_path)[0] == model
    assert not list(tmp_path.rglob("*.incomplete"))


def test_a_slow_hub_is_waited_for(hub: Hub, model: Mapping[str, bytes], tmp_path: Path) -> None:
    hub.troubles = [Trouble("GET /elsewhere/", pause=0.4)]
    start = time.monotonic()
    assert planned(hub, tmp_path)[0] == model
    assert time.monotonic() - start > 0.4 * len(model["model.safetensors"]) / 16_384


def test_other_bytes_of_the_same_number_are_not_trusted(hub: Hub, model: Mapping[str, bytes], tmp_path: Path) -> None:
    hub.troubles = [Trouble("GET /elsewhere/", body=flipped)]
    assert "is damaged, as is what the model hub sends: run again later" in refused(hub, tmp_path)
    hub.troubles = []
    assert planned(hub, tmp_path)[0] == model


def test_files_that_were_damaged_in_the_cache_are_brought_again(
    hub: Hub, model: Mapping[str, bytes], tmp_path: Path
) -> None:
    planned(hub, tmp_path)
    for path in tmp_path.rglob("blobs/*"):
        path.write_bytes(flipped(path.read_bytes()))
    assert planned(hub, tmp_path)[0] == model


def test_what_is_in_the_cache_needs_no_hub(hub: Hub, model: Mapping[str, bytes], tmp_path: Path) -> None:
    known = (model, "200 range(184, 200)")
    assert planned(hub, tmp_path, *SST2) == known
    for status in (503, 429):
        hub.troubles = [Trouble("", status, {"Retry-After": "600"})]
        assert planned(hub, tmp_path)[0] == model
    hub.close()
    assert planned(hub, tmp_path, *SST2) == known


def test_a_data_set_that_is_not_parquet(hub: Hub, glue: Mapping[str, bytes], tmp_path: Path) -> None:
    hub.repositories["datasets/nyu-mll/glue"] = Repository(dict.fromkeys(glue, b"no parquet"))
    assert "cannot be read as UTF-8 parquet" in refused(hub, tmp_path, *SST2)


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        ({}, "shows no dataset nyu-mll/glue: check the name"),
        ({"datasets/nyu-mll/glue": Repository({"README.md": b""})}, "no sst2/train-*.parquet; give data.path=FOLDER"),
    ],
)
def test_a_data_set_that_is_not_there(datasets: dict[str, Repository], said: str, hub: Hub, tmp_path: Path) -> None:
    hub.repositories = datasets
    assert said in refused(hub, tmp_path, *SST2)
