"""Exports of the runs in the report: a quantized teacher is a row like any other."""

import csv
import re
from pathlib import Path

import pytest
import simulated

from kd_lab import results, significance
from kd_lab.export.record import FORMATS
from kd_lab.report import __main__ as door
from kd_lab.report import exported, gathering


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that was exported in three formats, an export of no run with one of them refused, and a damaged one."""
    run = results.read(simulated.run(tmp_path, "finetune", 3))
    assert run is not None
    simulated.export(tmp_path, "minilm", run.fingerprint)
    simulated.export(tmp_path, "elsewhere", refused="loses 0.25 points <of> accuracy")
    (tmp_path / "exports" / "damaged").mkdir()
    (tmp_path / "exports" / "damaged" / "export.json").write_text("{", encoding="utf-8")
    return door.report(door.read([str(tmp_path)]))


def test_every_format_is_a_row_with_its_size_and_what_it_loses(folder: Path) -> None:
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "export"]
    assert [row["format"] for row in rows] == [*FORMATS, *FORMATS]
    quantized = rows[-1]
    assert quantized["setting"] == "finetune: distilbert, seed 3"
    assert (quantized["megabytes"], quantized["of folder"]) == ("23.3", "0.26")
    assert (quantized["exported"], quantized["exported difference"]) == ("86.10", "-0.25")
    assert rows[2]["refused"] == "loses 0.25 points <of> accuracy"


def test_a_teacher_that_learned_is_told_from_the_student_of_its_run(folder: Path) -> None:
    result = next(found for path in folder.parent.iterdir() if (found := results.read(path)))
    simulated.export(folder.parent, "1-minilm", result.fingerprint, role="teacher")
    labels = [label for label, _ in exported.find(folder.parent, gathering.gather(folder.parent))]
    assert labels == ["finetune: distilbert, seed 3, teacher 1-minilm", "elsewhere", "finetune: distilbert, seed 3"]


def test_they_stand_in_all_forms_and_are_escaped(folder: Path) -> None:
    for form in ("md", "tex", "html"):
        text = (folder / f"report.{form}").read_text(encoding="utf-8")
        assert "Exports" in text
        assert all(figure in text for figure in ("86.10", "23.3", "2,000"))
    assert "&lt;of&gt; accuracy" in (folder / "report.html").read_text(encoding="utf-8")


def test_accuracy_against_size_is_a_picture_for_each_set_of_rows(folder: Path) -> None:
    def pictures() -> list[str]:
        page = (folder / "report.html").read_text(encoding="utf-8")
        return re.findall(r"<h3>Accuracy against size</h3>.*?</figure>", page, re.DOTALL)

    (picture,) = pictures()
    low, high = significance.share(1727, 2000)
    assert f"{100 * low:.0f} < 86.35 < {100 * high:.0f}" == "85 < 86.35 < 88"
    assert "elsewhere" in picture
    assert "finetune: distilbert, seed 3" in picture
    simulated.export(folder.parent, "other rows", data={"name": "elsewhere"})
    door.report(door.read([str(folder.parent)]))
    assert ["other rows" in picture for picture in pictures()] == [True, False]


def test_what_was_refused_is_not_drawn(folder: Path) -> None:
    """A mark is hollow for 8 bits; one of the two exports has none."""
    found = exported.find(folder.parent, gathering.gather(folder.parent))
    hollow = {e.name: exported.draw([(label, e)])[0].svg.count("fill-opacity: 0") for label, e in found}
    assert hollow["minilm"] > hollow["elsewhere"] == 0
