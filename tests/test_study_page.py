"""The page of a study: verdicts, tables and pictures from what is kept, and from nothing else."""

import csv
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import simulated
from scipy import stats

from kd_lab import results
from kd_lab.errors import UserError
from kd_lab.report import __main__ as report
from kd_lab.report import drawing
from kd_lab.report.comparing import Comparison
from kd_lab.report.gathering import Setting
from kd_lab.study import __main__ as study
from kd_lab.study import answering, plans
from kd_lab.study.carrying import ROW
from kd_lab.study.plans import Stage

PLAN = """
words: data=sst2
stages:
  confirmation:
    about: Whether <it> helps.
    words: max_epochs=3 data.rest=true
    seeds: [0, 1, 2, 3]
    split: rest
    questions:
      Does MetaDistil help?: [MetaDistil, distillation]
      More than its control?: [MetaDistil, the control]
      Is the control worse?: [the control, distillation]
    claims:
      It is the method.: ["Does MetaDistil help?", "More than its control?"]
      It is the control.: ["Does MetaDistil help?", "Is the control worse?"]
    rows:
      distillation: method=kd
      MetaDistil: method=metadistil
      the control: method=kd lr=1
  later:
    seeds: [0]
    rows: [method=finetune]
"""
ACCURACY = {"method=kd": 0.80, "method=metadistil": 0.83, "method=kd lr=1": 0.79}
ROWS = 2000
WHERE = "data.path=SST-2"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan, and what is kept of its first stage."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "mine.yml").write_text(PLAN, encoding="utf-8")
    rows = {}
    for row, accuracy in ACCURACY.items():
        method = row.split()[0].partition("=")[2]
        more: dict[str, Any] = {"lr": 1.0} if "lr" in row else {}
        for seed in range(4):
            path = simulated.run(folder / "runs", method, seed, accuracy=accuracy, rest=ROWS, **more)
            rows[path.name] = plans.said(row, seed)
    report.report(report.read([str(folder / "runs"), f"keep={folder / 'kept' / 'mine-confirmation'}"]))
    for name, row in rows.items():
        (folder / "kept" / "mine-confirmation" / name / ROW).write_text(row + "\n", encoding="utf-8")
    (folder / "kept" / "introduction.md").write_text("# A study of mine\n\nNo figures here.\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(desk: Path) -> str:
    study.carry_out([str(desk / "mine.yml"), f"keep={desk / 'kept'}", f"page={desk / 'results.md'}", WHERE])
    return (desk / "results.md").read_text(encoding="utf-8")


def test_verdicts_are_those_of_the_t_test(desk: Path, page: str) -> None:
    accuracies = {}
    for path in (desk / "runs").glob("*/predictions/rest.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            right = [row["label"] == row["prediction"] for row in csv.DictReader(file)]
        accuracies[path.parents[1].name] = sum(right) / len(right)
    meta = [a for name, a in sorted(accuracies.items()) if name.startswith("metadistil")]
    plain = [a for name, a in sorted(accuracies.items()) if name.startswith("kd") and "lr-1" not in name]
    p = stats.ttest_rel(meta, plain).pvalue
    pattern = r"^- Does MetaDistil help\? \*MetaDistil\* minus \*distillation\*: (.*)$"
    (line,) = re.findall(pattern, page, re.MULTILINE)
    difference = 100 * (sum(meta) - sum(plain)) / 4
    assert p < 0.05 < 1
    assert line.startswith(f"{difference:+.2f} points [")
    said = "<0.001" if p < 0.0005 else f"{p:.3f}"
    judged, _, beside = line.partition("; on the test split ")
    assert judged.endswith(f"], p = {said}, 4 seeds: **MetaDistil is better**")
    assert "points [" in beside
    assert "**" not in beside, "no verdict on what the stage is not judged on"
    assert "- It is the method. Better in 2 of the 2 comparisons that it needs: **it holds**." in page
    assert "- It is the control. Better in 1 of the 2 comparisons that it needs: **it was not shown**." in page
    assert "- More than its control? *MetaDistil* minus *the control*: " in page
    assert re.findall(r"^\| 2 \| MetaDistil \| # (\d) \| 4 \|", page, re.MULTILINE) == ["1", "3"] * 2
    assert page.index("### Large holdout") < page.index("### Results"), "first what the stage is judged on"
    assert [page.index(f"On the {split} split.") for split in ("rest", "test")] == sorted(
        page.index(f"On the {split} split.") for split in ("rest", "test")
    ), "first what the stage is judged on"


def test_rows_are_called_as_in_the_plan_and_come_in_its_order(page: str) -> None:
    assert page.startswith(
        "# A study of mine\n\nNo figures here.\n\n## Answers\n\nFrom [confirmation](#confirmation), 12 of 12 runs, on"
    )
    assert "\n\n## confirmation\n\nWhether \\<it> helps.\n\n12 of 12 runs; seeds 0, 1, 2, 3." in page
    assert re.findall(r"^\| (\d) \| ([\w ]+) \| 4 \|", page, re.MULTILINE)[:3] == [
        ("1", "distillation"),
        ("2", "MetaDistil"),
        ("3", "the control"),
    ]
    assert [page.count(f"### Tests on the {split} split of sst2") for split in ("rest", "test")] == [1, 1]
    assert (
        "python -m kd_lab.run data=sst2 max_epochs=3 data.rest=true method=kd lr=1 data.path=SST-2 seed=SEED\n" in page
    )
    assert "\n## later" not in page, "nothing is kept of it"


def test_accuracy_and_size_stand_with_the_answers(desk: Path, page: str) -> None:
    answers = page.partition("## Answers")[2].partition("## confirmation")[0]
    (line,) = [line for line in answers.splitlines() if line.startswith("| MetaDistil |")]
    runs = [result for path in (desk / "runs").glob("metadistil*") if (result := results.read(path))]
    rest = [100 * run.rest.accuracy for run in runs if run.rest]
    mean, deviation = sum(rest) / 4, stats.tstd(rest)
    assert line.startswith(f"| MetaDistil | 4 | {mean:.2f} ± {deviation:.2f} | ")
    assert f" | {runs[0].student.parameters:,} | {runs[0].times_smaller:.1f} | " in line


def test_pictures_are_files_of_their_own(desk: Path, page: str) -> None:
    names = re.findall(r"!\[[^]]*\]\((.*\.svg)\)", page)
    assert len(names) > 5, "a stage that asks questions has all that a report has"
    for name in names:
        picture = (desk / name).read_text(encoding="utf-8")
        assert picture.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert "MetaDistil" in picture


def test_the_picture_of_the_answers_says_what_the_verdicts_say(desk: Path, page: str) -> None:
    said = re.findall(r"^- .*: ([+-][\d.]+) points \[", page, re.MULTILINE)
    name = "dddddddd-differences-with-their-intervals.svg"
    drawn = (desk / "kept" / "mine-confirmation" / name).read_text(encoding="utf-8")
    beside = re.findall(r">([+-]\d+\.\d\d)</text>", drawn)
    assert beside[::-1] == said != []
    assert page.index(name) < page.index("\n## confirmation")


def test_the_page_is_the_same_wherever_it_is_made(desk: Path, page: str, tmp_path: Path) -> None:
    shutil.copytree(desk / "kept", tmp_path / "kept")
    study.carry_out([str(desk / "mine.yml"), f"keep={tmp_path / 'kept'}", f"page={tmp_path / 'results.md'}", WHERE])
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == page


def test_pictures_are_found_from_a_page_elsewhere(desk: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "results.md"
    study.carry_out([str(desk / "mine.yml"), f"keep={desk / 'kept'}", f"page={path}"])
    names = re.findall(r"!\[[^]]*\]\((.*\.svg)\)", path.read_text(encoding="utf-8"))
    assert names
    assert all((path.parent / name).is_file() for name in names)


def test_what_cannot_be_a_page_is_said(desk: Path, tmp_path: Path) -> None:
    plan = str(desk / "mine.yml")
    with pytest.raises(UserError, match="name the folder of what is kept"):
        study.carry_out([plan, f"page={tmp_path / 'results.md'}"])
    with pytest.raises(UserError, match="keeps no run of the plan"):
        study.carry_out([plan, f"keep={tmp_path}", f"page={tmp_path / 'results.md'}"])
    twice = tmp_path / "twice"
    shutil.copytree(desk / "kept", twice)
    one, two, *_ = sorted((twice / "mine-confirmation").glob("*/row.txt"))
    shutil.copyfile(one, two)
    with pytest.raises(UserError, match=f"keeps two runs as .*: {one.parent.name} and {two.parent.name}"):
        study.carry_out([plan, f"keep={twice}", f"page={tmp_path / 'results.md'}"])
    with pytest.raises(UserError, match="a page is of all stages"):
        study.carry_out([plan, f"keep={desk / 'kept'}", f"page={tmp_path / 'results.md'}", "stage=later"])
    shutil.rmtree(two.parent)
    for file, damage in (("config.yaml", "models: [x]\nteacher: bert\n"), ("result.json", "{}")):
        one.with_name(file).write_text(damage, encoding="utf-8")
        with pytest.raises(UserError, match=f"{one.parent.name} cannot be read; delete it"):
            study.carry_out([plan, f"keep={twice}", f"page={tmp_path / 'results.md'}"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("MetaDistil, distillation]", "MetaDistil, destillation]", "destillation is none of distillation, MetaDistil"),
        ('"Is the control worse?"]', '"Is the control better?"]', "Is the control better.* is none of Does MetaDistil"),
        ("[0, 1, 2, 3]", "[0, 1, 2, 1]", "seeds: 1 stands there twice"),
        ("the control: method=kd lr=1", "the control: method=kd", "rows: method=kd stands there twice"),
        ("  later:", "  Main part:", "Main part.*should match pattern"),
        ("seeds: [0]", "seeds: [0", "is no YAML: while parsing a flow sequence"),
    ],
)
def test_a_plan_that_cannot_be_judged_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "other.yml"
    assert PLAN.count(old) == 1
    path.write_text(PLAN.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=said) as caught:
        plans.read(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"difference": 0.01, "p": 0.03, "p_holm": 0.04}, "4 seeds: **the *one* is better**"),
        ({"difference": -0.01, "p": 0.03, "p_holm": 0.04}, "4 seeds: **the *one* is worse**"),
        ({"difference": 0.01, "p": 0.03, "p_holm": 0.12}, "better** (not after Holm's correction)"),
        (
            {"difference": 0.01, "p": 0.03, "p_holm": 0.04, "over_rows": (-0.01, 0.02)},
            "better** (for other rows too the interval holds 0)",
        ),
        ({"difference": 0.01, "p": 0.05, "p_holm": 0.05}, "4 seeds: **no difference was found**"),
        ({"difference": 0.01, "p": None}, "no variance, nothing is tested"),
    ],
)
def test_an_answer_says_what_speaks_against_it(found: dict[str, Any], said: str) -> None:
    line = answer({"test": compared(**found), "rest": None})
    assert line.startswith(r"- Is it? *the \*one\** minus *the other*: ")
    assert line.replace("\\", "").endswith(f"{said}.")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"difference": 0.01, "p": 0.03, "p_holm": 0.12}, "p = 0.030, 4 seeds (p = 0.120 after Holm's correction)."),
        ({"difference": 0.01, "p": 0.06, "p_holm": 0.12}, "p = 0.060, 4 seeds."),
        ({"difference": 0.01, "p": None}, "+1.00 points, no variance, nothing is tested."),
    ],
)
def test_on_the_other_split_there_are_figures_and_no_verdict(found: dict[str, Any], said: str) -> None:
    line = answer({"rest": compared(difference=0.01, p=0.2), "test": compared(**found)})
    assert line.partition("**no difference was found**; on the test split ")[2].endswith(said)


def compared(**found: Any) -> Comparison:
    return Comparison(baseline=Setting("the other", []), n=4, low=-0.02, high=0.03, **found)


def answer(by_split: dict[str, Comparison | None]) -> str:
    asked = {"Is it?": ("the *one*", "the other")}
    stage = Stage(seeds=(0,), rows={"the *one*": "a", "the other": "b"}, questions=asked, claims={})
    found = {split: [one] for split, one in by_split.items()}
    return answering.lines(stage, answering.Tested([Setting("the *one*", [])], found))


@pytest.fixture(scope="module")
def twice(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages that found the same: two of three questions are asked by both. A third that is yet to come."""
    folder = tmp_path_factory.mktemp("twice")
    again = PLAN.partition("  confirmation:")[2].partition("  later:")[0]
    again = again.partition("    claims:")[0] + again[again.index("    rows:") :]
    again = again.replace("max_epochs=3", "max_epochs=3 data.seed=1").replace("Is the control worse?", "Is it worse?")
    last = again.replace("?:", " For the last time?:")
    (folder / "mine.yml").write_text(f"{PLAN}  again:{again}  last:{last}", encoding="utf-8")
    shutil.copytree(desk / "kept", folder / "kept")
    shutil.copytree(desk / "kept" / "mine-confirmation", folder / "kept" / "mine-again")
    study.carry_out([str(folder / "mine.yml"), f"keep={folder / 'kept'}", f"page={folder / 'results.md'}"])
    return folder


def test_what_two_stages_ask_is_answered_together(twice: Path) -> None:
    page = (twice / "results.md").read_text(encoding="utf-8")
    first, second = page.index("together, on the rest split:"), page.index("From [confirmation](#confirmation), 12 of")
    both, alone = page[first:second], page[second:]
    assert re.findall("^- ([^?]*\\?)", both, re.MULTILINE) == ["Does MetaDistil help?", "More than its control?"]
    pattern = (
        r"^- Does MetaDistil help\? .*: ([+-][\d.]+) points \[([+-][\d.]+), ([+-][\d.]+)\], .* (\d+) seeds: \*\*Meta"
    )
    (mean, low, high, seeds), *_ = re.findall(pattern, both, re.MULTILINE)
    (mean_alone, low_alone, high_alone, _), *_ = re.findall(pattern, alone, re.MULTILINE)
    assert mean == mean_alone
    assert seeds == "8"
    # The same differences twice: the error of the mean is smaller by the root of two, with 6 degrees of freedom for 3.
    narrower = stats.t.isf(0.025, 6) / stats.t.isf(0.025, 3) / 2**0.5
    wanted = narrower * (float(high_alone) - float(low_alone))
    assert float(high) - float(low) == pytest.approx(wanted, abs=0.021)
    assert both.count("after Holm's correction") == 2, "over the two questions, on the test split"
    assert "![Differences" in both
    assert (twice / "kept" / "confirmation-and-again-differences-with-their-intervals.svg").is_file()


def test_what_is_planned_is_asked_and_what_answers_stands_first(twice: Path, page: str) -> None:
    text = (twice / "results.md").read_text(encoding="utf-8")
    assert (
        "From last, 0 of 12 runs. Whether \\<it> helps.\n\nAnswered when all runs are there:\n\n- Does MetaDistil"
        in text
    )
    assert re.findall("^## (.*)$", text, re.MULTILINE) == ["Answers", "confirmation", "again"]
    assert "together" not in page


def test_what_a_third_stage_still_has_to_answer_is_not_answered_together(twice: Path, tmp_path: Path) -> None:
    plan = (twice / "mine.yml").read_text(encoding="utf-8")
    (tmp_path / "mine.yml").write_text(plan.replace(" For the last time?:", "?:"), encoding="utf-8")
    study.carry_out([str(tmp_path / "mine.yml"), f"keep={twice / 'kept'}", f"page={tmp_path / 'results.md'}"])
    assert "together" not in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_what_chose_the_settings_stands_below(twice: Path, tmp_path: Path) -> None:
    shutil.copytree(twice / "kept", tmp_path / "kept")
    plan = (twice / "mine.yml").read_text(encoding="utf-8")
    asks = plan.partition("    questions:")[2].partition("    rows:")[0]
    (tmp_path / "mine.yml").write_text(plan.replace(f"    questions:{asks}", "", 1), encoding="utf-8")
    study.carry_out([str(tmp_path / "mine.yml"), f"keep={tmp_path / 'kept'}", f"page={tmp_path / 'results.md'}"])
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == ["Answers", "again", "confirmation"]


def test_runs_on_other_rows_are_not_of_the_same_setting(desk: Path, tmp_path: Path) -> None:
    shutil.copytree(desk / "kept", tmp_path / "kept")
    other = next(p for p in (tmp_path / "kept").glob("*/*/row.txt") if "method=kd seed=3" in p.read_text("utf-8"))
    result = other.with_name("result.json")
    result.write_text(result.read_text("utf-8").replace("d" * 64, "e" * 64), encoding="utf-8")
    study.carry_out([str(desk / "mine.yml"), f"keep={tmp_path / 'kept'}", f"page={tmp_path / 'results.md'}"])
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert page.count("Answered when all runs are there") == 2
    assert "data eeeeeeee" in page


def test_nothing_is_answered_before_all_runs_are_there(desk: Path, tmp_path: Path) -> None:
    """A verdict on the way is no test, and Holm's correction would be over fewer questions."""
    shutil.copytree(desk / "kept", tmp_path / "kept")
    lost = next(p for p in (tmp_path / "kept").glob("*/*/row.txt") if "lr=1 seed=3" in p.read_text("utf-8"))
    shutil.rmtree(lost.parent)
    study.carry_out([str(desk / "mine.yml"), f"keep={tmp_path / 'kept'}", f"page={tmp_path / 'results.md'}"])
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "11 of 12 runs" in page
    assert "From [confirmation](#confirmation), 11 of 12 runs, on" in page
    assert "Answered when all runs are there:\n\n- Does MetaDistil help? *MetaDistil* minus *distillation*\n" in page
    assert "p =" not in page
    assert "###" not in page
    assert ".svg" not in page


def test_a_picture_of_its_own_has_its_legend_in_it() -> None:
    figure, (axes,) = drawing.canvas(100)
    axes.plot([0, 1], [0, 1])
    swatch = drawing.swatch(drawing.style(0), "one", line=True)
    label = "MetaDistil & its <control>, with words that take more than one line of the legend below"
    bare, whole = (
        ElementTree.fromstring(drawing.alone(drawing.svg(figure, "x"), legend))  # noqa: S314  # of our own making
        for legend in ((), [(swatch, label), (swatch, "kd")])
    )
    lines = [text for text in whole.findall("{*}text") if text.text]
    assert " ".join(str(text.text) for text in lines) == f"{label} kd"
    assert len(lines) == 3
    heights = [float(text.attrib["y"]) for text in lines]
    left, top, width, height = map(float, whole.attrib["viewBox"].split())
    below = float(bare.attrib["viewBox"].split()[3])
    assert below < heights[0] < heights[1] < heights[2] < top + height
    assert all(left < float(text.attrib["x"]) < left + width for text in lines)
    assert [len(one.findall("{*}svg")) for one in (bare, whole)] == [1, 3]
