"""Exports of the runs in the report: a quantized teacher is a row like any other."""

import csv
from pathlib import Path

import pytest
import simulated

from kd_lab import results
from kd_lab.export.record import FORMATS, Export, Order, Weights
from kd_lab.report import __main__ as door

BYTES = {"folder": 90_870_000, "onnx": 91_000_000, "int8": 23_300_000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that was exported in three formats, one of them refused, and an export of no run."""
    run = results.read(simulated.run(tmp_path, "finetune", 3))
    assert run is not None
    for name, fingerprint in (("minilm", run.fingerprint), ("elsewhere", None)):
        place = tmp_path / "exports" / name
        place.mkdir(parents=True)
        weights = [
            Weights(
                format=kind,
                path=kind,
                bytes=BYTES[kind],
                sha256="0" * 64,
                difference=3.8e-6 if kind != "int8" else 0.25,
                accuracy=0.8635 if kind != "int8" else 0.8610,
                agreement=0.99,
                refused="loses 0.25 points <of> accuracy" if (kind, fingerprint) == ("int8", None) else None,
            )
            for kind in FORMATS
        ]
        Export(
            name=name,
            role="student" if fingerprint else "model",
            run=None,
            fingerprint=fingerprint,
            identity="1" * 64,
            parameters=22_000_000,
            label_names=["negative", "positive"],
            max_length=128,
            data={},
            rows={"test": 2000},
            accuracy=0.8635,
            order=Order(),
            weights=weights,
            command="",
            versions={},
        ).write(place)
    (tmp_path / "exports" / "damaged").mkdir()
    (tmp_path / "exports" / "damaged" / "export.json").write_text("{", encoding="utf-8")
    door.report(door.read([str(tmp_path)]))
    return tmp_path / "report"


def test_every_format_is_a_row_with_its_size_and_what_it_loses(folder: Path) -> None:
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "export"]
    assert [row["format"] for row in rows] == [*FORMATS, *FORMATS]
    quantized = rows[-1]
    assert quantized["setting"] == "finetune: distilbert, seed 3 (student minilm)"
    assert (quantized["megabytes"], quantized["of folder"]) == ("23.3", "0.26")
    assert (quantized["exported"], quantized["exported difference"]) == ("86.10", "-0.25")
    assert rows[2]["refused"] == "loses 0.25 points <of> accuracy"


def test_they_stand_in_all_forms_and_are_escaped(folder: Path) -> None:
    for form in ("md", "tex", "html"):
        text = (folder / f"report.{form}").read_text(encoding="utf-8")
        assert "Exports" in text
        assert all(figure in text for figure in ("86.10", "23.3", "2,000"))
    assert "&lt;of&gt; accuracy" in (folder / "report.html").read_text(encoding="utf-8")
