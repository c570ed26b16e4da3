"""The door that asks a finished classifier about any data."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import kd_lab
from kd_lab import composition, evaluate, finished, sources, terminal
from kd_lab.errors import UserError
from kd_lab.results import Result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("evaluated")
    words = ["experiment=smoke", "teacher=tiny-roberta", "max_epochs=1", f"output_dir={folder}"]
    return kd_lab.train([*words, "trainer.enable_progress_bar=false"])


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evaluates, and returns the figures that were kept and what was said."""
    said: list[str] = []
    monkeypatch.setattr(terminal, "say", said.append)

    def act(*words: str) -> tuple[dict[str, Any], list[str]]:
        evaluate.answer(evaluate.ask([*words, f"output_dir={tmp_path}", "trainer.enable_progress_bar=false"]))
        written = Path(said[-1].removeprefix("the figures are in "))
        return json.loads(written.read_text(encoding="utf-8")), said

    return act


def test_on_its_own_splits_it_says_what_the_run_said(run: Result, asked: Any) -> None:
    for split, scores in (("test", run.student.test), ("validation", run.student.validation)):
        found, said = asked(str(run.folder), f"split={split}")
        assert found["accuracy"] == pytest.approx(scores.accuracy)
        assert found["loss"] == pytest.approx(scores.loss, abs=1e-5)
        assert (
            found["rows"]
            == scores.rows
            == sum(map(sum, found["confusion"]))
            == sum(p["rows"] for p in found["by_length"])
        )
        assert found["warning"] is None
        assert not any(line.startswith("warning") for line in said)


def test_a_table_that_is_too_wide_loses_nothing() -> None:
    labels = ["dreadful", "negative", "neutral", "positive", "excellent"]
    table = terminal.ruled(["label, then predicted"], [f"{label} review" for label in labels])
    for label in labels:
        table.add_row(label, *["1,234"] * len(labels))
    shown = io.StringIO()
    Console(file=shown, width=80).print(table)
    assert shown.getvalue().count("1,234") == 25
    for label in labels:
        assert f"\n {label} " in shown.getvalue()


def test_a_teacher_reads_with_its_own_tokenizer(run: Result, asked: Any) -> None:
    (folder,) = (run.folder / "teachers").iterdir()
    found, _ = asked(str(folder))
    assert found["accuracy"] == pytest.approx(run.teachers[0].test.accuracy)
    assert found["loss"] == pytest.approx(run.teachers[0].test.loss, abs=1e-5)
    assert run.teachers[0].test.loss != run.student.test.loss
    assert found["title"] == f"{folder.name} on toy, test"


def test_a_folder_may_be_named_from_home(run: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.folder.parent))
    found = finished.find(f"~/{run.folder.name}", [])
    assert (found.run_folder, found.settings.data.name) == (run.folder, "toy")


def test_rows_it_was_trained_on_are_counted(run: Result, asked: Any) -> None:
    found, _ = asked(str(run.folder), "split=train")
    assert found["warning"] == "320 of these 320 texts are among those it was trained on"
    found, _ = asked(str(run.folder), "split=all")
    assert found["rows"] == 400
    assert found["warning"] == "328 of these 400 texts are among those it was trained on"
    found, _ = asked(str(run.folder / "student"), "data=toy", "data.seed=1")
    assert found["warning"].endswith("of these 40 texts are among those it was trained on")


def test_noise_is_done_to_the_sentences(run: Result, asked: Any) -> None:
    clean, _ = asked(str(run.folder), "split=all")
    noisy, _ = asked(str(run.folder), "split=all", "noise=word", "noise.p=1")
    assert noisy["accuracy"] < clean["accuracy"]
    assert noisy["title"].endswith("all, word 1.0 noise")
    for name in ("vocabulary", "deletion", "labels"):
        asked(str(run.folder), f"noise={name}")


def test_labels_are_matched_by_name(run: Result, asked: Any, tmp_path: Path) -> None:
    data = composition.settings_of(["experiment=smoke"]).data
    rows = sources.load(data)
    path = tmp_path / "own.csv"

    def write(names: dict[str, str]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = [
                (text, names[rows.label_names[label]]) for text, label in zip(rows.texts, rows.labels, strict=True)
            ]
            csv.writer(file).writerows([("text", "label"), *lines])

    toy, _ = asked(str(run.folder), "split=all")
    write({"negative": "negative", "positive": "positive"})
    own, _ = asked(str(run.folder), "data=files", f"data.path={path}", "split=all")
    assert own["accuracy"] == pytest.approx(toy["accuracy"])
    write({"negative": "sad", "positive": "glad"})
    with pytest.raises(UserError, match="student knows the labels negative, positive; the data has glad, sad"):
        asked(str(run.folder / "student"), "data=files", f"data.path={path}", "split=all")


def test_labels_numbered_the_other_way_round_are_renumbered(run: Result, asked: Any, tmp_path: Path) -> None:
    """As another framework may have numbered them."""
    toy, _ = asked(str(run.folder), "split=all")
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for path in (run.folder / "student").iterdir():
        (swapped / path.name).write_bytes(path.read_bytes())
    config = json.loads((swapped / "config.json").read_text(encoding="utf-8"))
    config["id2label"] = {"0": "positive", "1": "negative"}
    (swapped / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found, _ = asked(str(swapped), "data=toy", "split=all")
    assert found["accuracy"] == pytest.approx(1 - toy["accuracy"])
    assert found["warning"] == "trained elsewhere: it may have seen these rows"


def test_usage_is_printed_where_nothing_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ([], ["--help"]):
        monkeypatch.setattr("sys.argv", ["kd_lab.evaluate", *words])
        evaluate.main()
        assert "python -m kd_lab.evaluate RUN" in capsys.readouterr().out
