"""What is kept of runs to be committed: small, without texts, and the same report."""

import csv
from pathlib import Path

import pytest
import simulated
import yaml

from kd_lab.errors import UserError
from kd_lab.report import __main__ as door

ROWS = 3000


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of runs, and what is kept of it; both have been reported on."""
    folder, place = tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("docs") / "results"
    simulated.table1(folder, sentences=True, rest=ROWS)
    for path in folder.glob("*/config.yaml"):
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        settings["data"] = {**settings.get("data", {}), "path": "/home/nobody/SST-2"}
        if settings.get("teacher"):
            names = settings["teacher"].split("+")
            settings["teacher"] = "+".join(f"/home/nobody/runs/finetune_{n}_sst2_seed0_0a1b2c3d/student" for n in names)
        path.write_text(yaml.safe_dump({**settings, "output_dir": "/home/nobody/outputs"}), encoding="utf-8")
    door.report(door.read([str(folder), "split=rest", f"keep={place}"]))
    door.report(door.read([str(place), "split=rest"]))
    return folder, place


def test_the_report_on_what_is_kept_is_the_same(kept: tuple[Path, Path]) -> None:
    written = [(place / "report" / "report.csv").read_text(encoding="utf-8") for place in kept]
    assert written[0] == written[1]
    assert len(written[0].splitlines()) > 10
    assert ",rest," in written[0]


def test_it_is_small_and_names_no_place(kept: tuple[Path, Path]) -> None:
    folder, place = kept
    files = [path for path in place.rglob("*") if path.is_file() and "report" not in path.parts]
    assert not any(b"nobody" in path.read_bytes() for path in files)
    answers = [path.stat().st_size for path in files if path.name == "rest.npz"]
    originals = [path.stat().st_size for path in folder.glob("*/predictions/rest.csv")]
    assert len(answers) == len(originals)
    assert max(answers) < 4 * ROWS < min(originals) / 4
    assert len(list((place / "rows").iterdir())) == 2, "once for all runs: test and rest"


def test_kept_files_hold_numbers_alone(kept: tuple[Path, Path]) -> None:
    import numpy as np

    for path in kept[1].rglob("*.npz"):
        with np.load(path, allow_pickle=False) as found:
            assert all(found[name].dtype.kind in "ui" for name in found)


def test_a_run_that_lost_its_curves_is_kept_without(tmp_path: Path) -> None:
    (simulated.run(tmp_path / "outputs", "kd", 0) / "metrics.csv").unlink()
    door.report(door.read([str(tmp_path / "outputs"), f"keep={tmp_path / 'kept'}"]))
    assert len(list((tmp_path / "kept").glob("*/result.json"))) == 1


def test_a_folder_that_keeps_other_rows_of_the_same_data_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    for name, rest in (("first", 100), ("second", 120)):
        simulated.run(tmp_path / name, "kd", 0, rest=rest)
    door.report(door.read([str(tmp_path / "first"), f"keep={place}"]))
    with pytest.raises(UserError, match="holds other rows than"):
        door.report(door.read([str(tmp_path / "second"), f"keep={place}"]))


def test_a_damaged_file_costs_only_what_needs_it(kept: tuple[Path, Path], tmp_path: Path) -> None:
    import shutil

    place = tmp_path / "damaged"
    shutil.copytree(kept[1], place)
    for path in place.glob("*/predictions/rest.npz"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="split=rest: no run has"):
        door.report(door.read([str(place), "split=rest"]))
    door.report(door.read([str(place)]))
    with (place / "report" / "report.csv").open(encoding="utf-8", newline="") as file:
        assert any(row["p"] for row in csv.DictReader(file))
