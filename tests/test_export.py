"""Exports: what other programs load answers as the original does, or is not there."""

import json
import math
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from shell import kd_lab, timed
from transformers import pipeline

import kd_lab as package
from kd_lab import finished, predicting, significance
from kd_lab.errors import UserError
from kd_lab.export import __main__ as door
from kd_lab.export import bases, card, checking, making, record, sending, speed, speeds
from kd_lab.export.record import Export, ExportOptions
from kd_lab.results import Result

TEXTS = ["NLP is fun.", "a tedious, joyless mess", "word " * 300, "😀"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("exported")
    words = ["experiment=smoke", "teacher=tiny-roberta", "max_epochs=1", f"output_dir={folder}"]
    return package.train([*words, "trainer.enable_progress_bar=false"])


@pytest.fixture(scope="module")
def made(run: Result) -> tuple[Path, Export]:
    words = [str(run.folder), "points=100", f"output_dir={run.folder.parent}"]
    request = door.read(words)
    return making.make(request.finished, request.order, request.words)


@pytest.fixture
def copy(made: tuple[Path, Export], run: Result, tmp_path: Path) -> list[str]:
    """The words that export the same run into the test's own folder, where the export is already."""
    shutil.copytree(made[0], tmp_path / "exports" / made[0].name)
    return [str(run.folder), "points=100", f"output_dir={tmp_path}"]


def predicted(name: Path, texts: list[str]) -> list[tuple[str, float]]:
    """Label and probability of each text, by kd_lab.predict's own way."""
    predictor = predicting.Predictor(finished.find(str(name), ["precision=float32"]))
    probabilities, places = predictor.logits(texts).softmax(dim=-1).max(dim=-1)
    return [(predictor.label_names[i], p) for i, p in zip(places.tolist(), probabilities.tolist(), strict=True)]


def scripts(folder: Path) -> dict[str, str]:
    blocks = BLOCK.findall((folder / record.CARD).read_text(encoding="utf-8"))
    assert [language for language, _ in blocks] == ["python", "python", "bash"]
    return {"pipeline": blocks[0][1], "onnx": blocks[1][1], "command": blocks[2][1]}


def test_what_is_written_is_what_was_measured(made: tuple[Path, Export], run: Result) -> None:
    folder, export = made
    assert record.read(folder) == export
    assert export.rows == {"test": 40, "validation": 32, "train": 320}
    assert export.role == "student"
    assert export.fingerprint == run.fingerprint
    assert export.parameters == run.student.parameters
    for kind in record.FORMATS:
        weights = export.of(kind)
        assert weights
        assert not weights.refused
        assert weights.bytes == (folder / weights.path).stat().st_size
        assert record.holds(export, folder, kind)
    differences = [weights.difference for weights in export.weights]
    assert differences[0] < 1e-5
    assert 0 < differences[1] < 1e-5
    assert differences[1] < differences[2]


def test_the_pipeline_and_the_cards_script_give_the_answers_of_predict(made: tuple[Path, Export], run: Result) -> None:
    folder, _ = made
    wanted = predicted(run.folder, TEXTS)
    for (label, p), (own, again) in zip(wanted, predicted(folder, TEXTS), strict=True):
        assert own == label
        assert again == pytest.approx(p, abs=1e-5)
    classify = pipeline("text-classification", str(folder))
    for (label, p), found in zip(wanted, classify(TEXTS, truncation=True), strict=True):
        assert found["label"] == label
        assert found["score"] == pytest.approx(p, abs=1e-5)
    script = scripts(folder)["onnx"]
    assert len([line for line in script.splitlines() if line.strip()]) <= 12
    assert "torch" not in script
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    said = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert [text for _, _, text in said] == TEXTS[:2]
    for (label, p), (own, odds, _) in zip(wanted, said, strict=False):
        assert own == label
        assert float(odds) == pytest.approx(p, abs=1e-5)


def matrices_of(path: Path) -> Counter[str]:
    """The kinds of operation of a graph in which no large matrix is of floats."""
    graph = onnx.load(path).graph
    floats = [i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT and len(i.dims) > 1]
    largest = max(math.prod(i.dims) for i in graph.initializer)
    assert max((math.prod(i.dims) for i in floats), default=0) < largest / 10
    return Counter(node.op_type for node in graph.node)


def test_all_matrices_have_8_bits(made: tuple[Path, Export]) -> None:
    kinds = matrices_of(made[0] / record.PATHS["int8"])
    assert kinds["MatMulInteger"] > 0
    int8 = made[1].of("int8")
    assert int8
    assert int8.scale == "batch"
    assert "MatMulNBits" not in kinds


def test_one_that_strays_when_made_fast_is_made_with_care(
    copy: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wide products are scaled in blocks then; what is said of it is about the file that is there."""
    judge = checking._refusal
    first = iter(["loses 7 points"])
    monkeypatch.setattr(
        checking, "_refusal", lambda f, r, o: next(first, None) if f.format == "int8" else judge(f, r, o)
    )
    request = door.read([*copy, "format=int8", "rows=50"])
    folder, export = making.make(request.finished, request.order, request.words)
    (int8,) = export.weights
    assert int8.scale == "blocks"
    assert not int8.refused
    assert "int8 scaled by batch loses 7 points: once more, by blocks" in capsys.readouterr().out
    kinds = matrices_of(folder / record.PATHS["int8"])
    assert kinds["MatMulInteger"] > 2 * kinds["MatMulNBits"] > 0
    assert not (folder / record.PATHS["onnx"]).exists()
    assert "in blocks of each token's" in (folder / record.CARD).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "difference", "lost", "said"),
    [
        ("int8", 9.0, 0.5, None),
        ("int8", 0.0, -3.0, None),
        ("int8", 0.0, 0.6, "loses 0.60 points of accuracy, more than points=0.5"),
        ("onnx", 1e-4, 9.0, None),
        ("onnx", 2e-4, 0.0, "differs from the original by 0.0002, more than difference=0.0001"),
        ("safetensors", math.nan, 0.0, "differs from the original by nan, more than difference=0.0001"),
    ],
)
def test_int8_is_judged_by_its_accuracy_and_the_others_by_their_logits(
    kind: str, difference: float, lost: float, said: str | None
) -> None:
    found: Any = SimpleNamespace(format=kind, difference=difference, accuracy=0.9 - lost / 100)
    rows: Any = SimpleNamespace(accuracy=0.9)
    order: Any = SimpleNamespace(points=0.5, difference=1e-4)
    assert checking._refusal(found, rows, order) == said


def test_times_faster_are_those_of_the_first_models_over_the_lines_own() -> None:
    def line(model: str, kind: str, milliseconds: float) -> Any:
        timing = SimpleNamespace(median=milliseconds)
        return SimpleNamespace(model=model, format=kind, threads=1, timing=timing, timings=[timing])

    lines = [line("teacher", "torch", 9.0), line("teacher", "onnx", 8.0), line("student", "int8", 2.0)]
    assert [speeds.faster(one, lines) for one in lines] == [8 / 9, 1, 4]
    assert speeds.faster(lines[2], lines[::2]) is None


def test_the_scripts_are_as_short_as_they_look(made: tuple[Path, Export]) -> None:
    assert len(scripts(made[0])["pipeline"].splitlines()) == 3
    assert "python -m kd_lab.export " in scripts(made[0])["command"]


def test_one_that_strays_is_removed_and_ends_with_1(
    run: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher, with a tokenizer of its own, of which nothing is allowed to differ."""
    (teacher,) = (run.folder / "teachers").iterdir()
    words = [str(teacher), "format=onnx", "rows=50", "difference=0", f"output_dir={tmp_path}"]
    with pytest.raises(SystemExit) as end:
        door.carry_out(door.read(words))
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"kd_lab: onnx differs from the original by .*, more than difference=0: removed", line)
    (folder,) = (tmp_path / "exports").iterdir()
    export = record.read(folder)
    assert export
    assert export.role == "teacher"
    assert export.rows == {"test": 40, "validation": 10}
    assert export.parameters == run.teachers[0].parameters
    assert 0 < export.weights[0].difference < 1e-5
    assert str(export.weights[0].refused).startswith("differs")
    assert not list(folder.glob("**/*.onnx"))
    assert not (folder / "model.safetensors").exists()
    text = (folder / record.CARD).read_text(encoding="utf-8")
    assert f"Accuracy {100 * run.teachers[0].test.accuracy:.2f}% on 40 test rows" in text
    assert "refused: differs" in text
    assert "```python" not in text


def test_one_that_is_there_is_found_and_formats_stay(
    copy: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    request = door.read([*copy, "format=int8"])
    folder, _ = making.make(request.finished, request.order, request.words)
    assert f"found finished: {folder}" in capsys.readouterr().out
    orders: list[ExportOptions] = []

    def write(found: object, identity: str, order: ExportOptions, *rest: object) -> Export:
        orders.append(order)
        raise UserError("enough")

    monkeypatch.setattr(making, "_write", write)
    (folder / "onnx" / "model_int8.onnx").write_bytes(b"damaged")
    for words, formats in {
        ("format=onnx", "points=99"): ("folder", "onnx"),
        ("format=int8",): ("folder", "onnx", "int8"),
        ("format=folder", "force=true"): ("folder",),
        ("format=folder", "rows=7"): ("folder",),
    }.items():
        request = door.read([*copy, *words])
        with pytest.raises(UserError, match="enough"):
            making.make(request.finished, request.order, request.words)
        assert orders.pop().format == formats
    assert (folder / record.FILE).is_file(), "what was there stays until the new one is whole"


def test_the_card_says_what_is_known_and_escapes_it(made: tuple[Path, Export], run: Result) -> None:
    found = finished.find(str(run.folder), [])
    named = made[1].model_copy(update={"name": "a|b<script>", "label_names": ["sad`", "*glad*"]})
    text = card.text(found, named, run)
    for part in (
        "# a\\|b\\<script\\>\n",
        "sad\\`, \\*glad\\*",
        "| method | metadistil |",
        "| teachers | tiny-roberta |",
        "train 320, quiz 8, validation 32, test 40",
        "| began as | tiny-distilbert, random weights |",
        "unknown: ask the base model's",
        "the data has no more",
        f"| typos | 0.3 | {100 * run.under_noise[-1].accuracy:.2f} |",
    ):
        assert part in text
    scores = run.student.test
    low, high = significance.share(round(scores.accuracy * scores.rows), scores.rows)
    assert low < run.student.test.accuracy < high or run.student.test.accuracy in (0, 1)
    assert f"{100 * low:.2f} to {100 * high:.2f} (Wilson)" in text


def test_a_teacher_is_known_by_its_runs_name_for_it_and_a_renamed_one_is_a_model(run: Result, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (teacher,) = (tmp_path / "run" / "teachers").iterdir()
    found = finished.find(str(teacher), [])
    assert (found.teacher, making._role(found)) == (0, "teacher")
    renamed = finished.find(str(teacher.rename(teacher.with_name("tutor"))), [])
    assert (renamed.teacher, making._role(renamed)) == (None, "model")
    assert finished.find(str(tmp_path / "run"), []).teacher is None


def test_the_licence_is_the_base_models_as_its_card_names_it(tmp_path: Path, run: Result) -> None:
    base = tmp_path / "base"
    shutil.copytree(run.folder / "student", base)
    assert bases.of(finished.find(str(base), [])) == bases.Base()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    assert bases.of(finished.find(str(base), [])).licence == "apache-2.0"
    grown = tmp_path / "grown"
    shutil.copytree(run.folder, grown)
    config = (grown / "config.yaml").read_text(encoding="utf-8")
    (grown / "config.yaml").write_text(
        re.sub(r"^student: .*$", f"student: {base}", config, flags=re.MULTILINE), encoding="utf-8"
    )
    assert bases.of(finished.find(str(grown), [])) == bases.Base("base", None, "apache-2.0")
    (base / "README.md").write_text("---\nlicense: [\n---\n", encoding="utf-8")
    assert bases.of(finished.find(str(grown), [])) == bases.Base("base")


def test_usage_and_bad_words_are_answered_quickly(run: Result, tmp_path: Path) -> None:
    for name in ("export", "export.speed"):
        seconds, done = timed("--help", folder=tmp_path, enough=1.5, door=name)
        assert f"python -m kd_lab.{name} RUN" in done.stdout
        assert seconds < 1.5
    for words, said in {
        ("format=pdf",): "format.0=pdf: should be 'folder', 'onnx' or 'int8'",
        ("rows=0",): "rows=0: should be greater than or equal to 1",
        ("points=-1",): "points=-1: should be greater than or equal to 0",
        ("upload=alone",): "upload=alone: should match pattern",
        ("yes=perhaps",): "yes=perhaps: should be a valid boolean",
        ("second",): "name one run",
    }.items():
        with pytest.raises(UserError, match=re.escape(said)):
            door.read([str(run.folder), *words])
    bad: dict[tuple[str, ...], str] = {
        (): "name at least one run",
        (str(run.folder), "threads=0"): "threads.0=0: should be greater than or equal to 1",
        (str(run.folder), "repeats=0"): "repeats=0: should be",
    }
    for some, said in bad.items():
        with pytest.raises(UserError, match=re.escape(said)):
            speed.read(some)


def test_an_export_made_on_the_way_to_its_speed_names_the_command_that_makes_it_alone(run: Result) -> None:
    name = str(run.folder)
    race = speed.read([name, "repeats=1", "rows=50", "threads=1", "precision=float32"])
    assert (race.names, race.asked) == ([name], ["rows=50", "precision=float32"])


def test_packages_that_are_missing_are_named(run: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(UserError, match=r"ONNX needs no_such_package: pip install 'kd_lab\[export\]'"):
        door.read([str(run.folder)])
    door.read([str(run.folder), "format=folder"])


class Uploads(BaseHTTPRequestHandler):
    """As much of the hub as takes a commit."""

    def do_HEAD(self) -> None:
        self.answer({})

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))  # type: ignore[attr-defined]
        here = f"http://{self.headers['Host']}/lab/small"
        if self.path.endswith("/preupload/main"):
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": file["path"], **plain} for file in json.loads(body)["files"]]})
        else:
            self.answer({"url": here, "commitUrl": f"{here}/commit/1", "commitOid": "1", "errors": [], "warnings": []})

    def answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Uploads) as server:
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("answer", "agreed"), [("", False), ("n", False), ("x", False), ("y", True), (" YES ", True)])
def test_a_person_agrees_by_saying_yes(answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda asked: answer)
    assert sending._agreed() == agreed
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    assert not sending._agreed()


def test_nothing_is_sent_that_was_not_shown_and_agreed_to(
    copy: list[str], hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    online = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
        "HF_TOKEN": "hf_" + "s" * 30,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    words = (*copy, "upload=lab/small")
    done = kd_lab(*words, folder=tmp_path, door="export", **online)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("nothing was sent; to send it: yes=true")
    assert "## How good it is" in done.stdout
    assert "MB  onnx/model_int8.onnx" in done.stdout
    assert "private, if it is new" in done.stdout
    asked: list[tuple[str, str, bytes]] = hub.asked  # type: ignore[attr-defined]
    assert asked == []
    done = kd_lab(*words, "yes=true", folder=tmp_path, door="export", **online)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "/lab/small/commit/1" in done.stdout
    assert online["HF_TOKEN"] not in done.stdout
    created, (path, _, commit) = json.loads(asked[0][2]), asked[-1]
    assert (created["name"], created["organization"]) == ("small", "lab")
    assert created.get("private") is True or created.get("visibility") == "private"
    assert path == "/api/models/lab/small/commit/main"
    lines = [json.loads(line) for line in commit.splitlines()]
    sent = {line["value"]["path"] for line in lines if line["key"] == "file"}
    (folder,) = (tmp_path / "exports").iterdir()
    assert sent == {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {"README.md", "export.json", "model.safetensors", "onnx/model.onnx"} <= sent


def test_without_a_network_one_line_says_so(copy: list[str], tmp_path: Path) -> None:
    for offline in ({"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = kd_lab(*copy, "upload=lab/small", "yes=true", folder=tmp_path, door="export", **offline)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("kd_lab: the model hub cannot be reached: nothing was sent; the export stays in ")


@pytest.mark.slow
def test_real_models_keep_their_answers_and_become_small_and_fast(quickstart: Result, tmp_path: Path) -> None:
    (teacher,) = (quickstart.folder / "teachers").iterdir()
    path = speed.run(speed.read([str(teacher), str(quickstart.folder), "threads=1", f"output_dir={tmp_path}"]))
    for folder in (tmp_path / "exports").iterdir():
        export = record.read(folder)
        assert export
        assert sum(export.rows.values()) == 2000
        onnx, int8 = export.of("onnx"), export.of("int8")
        assert onnx
        assert int8
        assert onnx.difference <= 1e-4
        assert int8.bytes <= 0.30 * onnx.bytes
        assert 100 * (export.accuracy - int8.accuracy) <= 0.5
        assert "Of the model it began as: apache-2.0." in (folder / record.CARD).read_text(encoding="utf-8")
    file = speeds.SpeedFile.model_validate_json(path.read_text(encoding="utf-8"))
    times = {(line.model, line.format): line.timing.median for line in file.lines}
    assert times[quickstart.folder.name, "int8"] <= times[teacher.name, "onnx"] / 3
    assert path.with_suffix(".png").is_file()
