"""docs/results.md: made of what is committed beside it, by commands that still mean what they meant."""

import re
import shutil
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from kd_lab import composition
from kd_lab.study import __main__ as study
from kd_lab.study import plans
from kd_lab.study.carrying import ROW

DOCS = Path(__file__).parents[1] / "docs"
PAGE, KEPT, README = DOCS / "results.md", DOCS / "results", DOCS.parent / "README.md"
COMMAND = re.compile(r"^python -m kd_lab\.run (.*) data\.path=SST-2 seed=SEED$", re.MULTILINE)
DIFFERENCE = re.compile(r"([+-]\d\.\d\d)(?: points)? (\[[+-]\d\.\d\d, [+-]\d\.\d\d\])")
STAGES = plans.read("sst2").stages


def test_the_page_is_what_its_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(KEPT, tmp_path / "docs" / "results", ignore=shutil.ignore_patterns("*.svg"))
    monkeypatch.chdir(tmp_path)
    study.carry_out(["sst2", "data.path=SST-2", "keep=docs/results", "page=docs/results.md"])
    assert (tmp_path / "docs" / "results.md").read_text("utf-8") == PAGE.read_text("utf-8")
    drawn, shown = (
        {path.relative_to(place): path.read_bytes() for path in place.glob("results/**/*.svg")}
        for place in (tmp_path / "docs", DOCS)
    )
    assert drawn == shown != {}


def test_the_table_of_the_readme_is_that_of_two_stages_without_a_row_left_out() -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = README.read_text(encoding="utf-8").partition("## What our own study found")[2].partition("\n## ")[0]
    answers = [page.partition(f"\nFrom [{name}](#{name})")[2] for name in ("confirmation", "confirmation2")]
    expected = [row for text in answers for row in table(text.partition("\n### Accuracy and size on ")[2])]
    assert len(table(found)) > 3
    assert table(found) == list(dict.fromkeys(expected))


def table(text: str) -> list[str]:
    """The rows of the first table in it."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    return list(takewhile(lambda line: line.startswith("|"), lines[start:]))


@pytest.mark.parametrize("path", [README, KEPT / "introduction.md"], ids=["README", "introduction"])
def test_differences_that_are_said_in_words_are_the_pages(path: Path) -> None:
    said = DIFFERENCE.findall(" ".join(path.read_text(encoding="utf-8").split()))
    answers = PAGE.read_text(encoding="utf-8").partition("## Answers")[2].partition("\n## ")[0]
    assert len(said) >= 3
    assert set(said) <= set(DIFFERENCE.findall(answers))


def test_a_printed_command_has_the_settings_of_its_runs() -> None:
    """Also after a default has changed: what a row relied on has to be said in the plan then."""
    parts = re.split(rf"^## ({'|'.join(STAGES)})$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    checked = 0
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        commands = dict(zip(STAGES[name].named.values(), COMMAND.findall(text), strict=True))
        meant = {row: said(command) for row, command in commands.items()}
        for path in (KEPT / plans.title("sst2", name)).glob(f"*/{ROW}"):
            row, seed = path.read_text(encoding="utf-8").strip().rsplit(" seed=", 1)
            kept = yaml.safe_load((path.parent / "config.yaml").read_text(encoding="utf-8"))
            kept["trainer"].pop("strategy", None)  # a setting that did nothing, and has gone
            assert differences(kept, meant[row] | {"seed": int(seed)}) == [], path.parent
            checked += 1
    assert checked == len(list(KEPT.glob(f"*/*/{ROW}"))) > 0


def said(command: str) -> dict[str, Any]:
    return composition.settings_of(command.split()).model_dump(mode="json", by_alias=True)


def differences(kept: Any, meant: Any, name: str = "") -> list[str]:
    """What ``kept`` has otherwise than ``meant``; settings that came in later are not in it."""
    if isinstance(kept, dict) and isinstance(meant, dict):
        return [found for key in kept for found in differences(kept[key], meant.get(key), f"{name}.{key}")]
    return [] if kept == meant else [f"{name}: {kept} is now {meant}"]
