"""The report: one row per setting, the same figures everywhere, and a word on whatever is not in it."""

import csv
import html
import re
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import simulated
from scipy import stats
from shell import kd_lab, timed

from kd_lab import results, significance
from kd_lab.errors import UserError
from kd_lab.outcomes import Outcome
from kd_lab.report import __main__ as door
from kd_lab.report import answers, baselines, comparing, drawing, figures, gathering, published, rendering, tables
from kd_lab.report.figures import Figures

Typed = Callable[..., tuple[int, str, str]]
NUMBER = re.compile(r"[<+-]?\d[\d,]*(?:\.\d+)?")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """The words of a command line, typed in the test's own folder: exit code, standard output and error."""

    def type_(*words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["kd_lab.report", *words])
        with pytest.raises(SystemExit) as end:
            door.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return type_


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table 1, three seeds each, with its report."""
    folder = tmp_path_factory.mktemp("outputs")
    simulated.table1(folder, sentences=True, rest=400, milliseconds=4.5, warnings=["teacher bert fell to 91.17%"])
    door.report(door.read([str(folder), "smaller=mean"]))
    return folder


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """The settings in report.csv by their labels."""
    with (folder / "report" / "report.csv").open(encoding="utf-8", newline="") as file:
        return {row["setting"]: row for row in csv.DictReader(file) if row["kind"] == "own"}


def compared(folder: Path, *words: str) -> dict[str, Figures]:
    """The figures of each setting by its label, without the files and pictures."""
    _, found = door.compare(door.read([str(folder), *words]))
    return {row["setting"]: row for group in found for row in group}


def labels(folder: Path) -> list[str]:
    return [setting.label for group in gathering.gather(folder).groups for setting in group.settings]


def test_a_table_has_one_row_per_setting(sweep: Path) -> None:
    found = rows_of(sweep)
    assert len(found) == len(simulated.TABLE1)
    for row in found.values():
        assert row["seeds"] == "3"
    row = found["metadistil: bert → distilbert"]
    values = [
        r.student.test.accuracy
        for r in all_results(sweep, "metadistil_bert-distilbert", "metadistil_bert-and-distilbert")
    ]
    assert row["test"] == f"{100 * sum(values) / 3:.2f}"
    interval = stats.t.interval(0.95, 2, sum(values) / 3, stats.sem(values))
    assert (row["test low"], row["test high"]) == tuple(f"{100 * end:.2f}" for end in interval)
    assert row["test deviation"] == f"{100 * stats.tstd(values):.2f}"
    assert row["test loss"] == f"{1 - sum(values) / 3:.3f}"
    assert row["test loss deviation"] == f"{stats.tstd(values):.3f}"
    assert row["rest loss"] == f"{1 - float(row['rest']) / 100:.3f}"
    assert row["milliseconds"] == "4.50"
    assert row["published"] == "93.10"
    assert found["metadistil: bert + bert → distilbert"]["published"] == "93.55"
    assert row["teachers before"] == "94.00"


def all_results(folder: Path, *heads: str) -> list[results.Result]:
    found = [results.read(path) for path in sorted(folder.iterdir()) if path.name.startswith(heads)]
    return [result for result in found if result]


def test_how_teachers_learned_is_told_where_they_did(sweep: Path) -> None:
    found = rows_of(sweep)
    row = found["metadistil: bert + bert → distilbert"]
    assert (row["quiz loss before"], row["quiz loss"]) == ("0.5000", "0.4100")
    assert (row["gradient norm"], row["teachers moved"]) == ("0.0300", "0.20")
    assert (row["gradient cosine"], row["gradient cosine size"]) == ("0.1667", "0.5000"), "to and fro"
    runs = all_results(sweep, "metadistil_bert-and-bert-and-distilbert")
    means = [sum(run.teachers[k].test.loss for run in runs) / 3 for k in (0, 1)]
    assert row["teachers loss after"] == " + ".join(f"{mean:.3f}" for mean in means)
    assert not found["kd: bert → distilbert"]["teachers moved"]
    page = (sweep / "report" / "report.md").read_text(encoding="utf-8")
    assert "| 0.5000 → 0.4100 | 0.0300 | 0.1667 | 0.5000 | 0.20 |" in page.partition("How the teachers learned")[2]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "One seed each."),
        (2, "Mean ± standard deviation over seeds."),
        (3, "Mean ± standard deviation over seeds, 95% t interval of the mean."),
    ],
)
def test_notes_speak_of_what_is_there_alone(seeds: int, said: str, tmp_path: Path) -> None:
    for seed in range(seeds):
        simulated.run(tmp_path, "kd", seed, rest=50)
    door.report(door.read([str(tmp_path)]))
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if said in line]
    assert len(lines) == 2, "of the results, and of the large holdout"


def test_what_some_runs_logged_is_no_mean_of_all(tmp_path: Path) -> None:
    paths = [simulated.run(tmp_path, "metadistil", seed) for seed in range(2)]
    door.report(door.read([str(tmp_path)]))
    assert rows_of(tmp_path)["metadistil: bert → distilbert"]["quiz loss"] == "0.4100"
    log = paths[0] / "metrics.csv"
    log.write_text(log.read_text(encoding="utf-8").replace("quiz/loss,", "quiz/other,"), encoding="utf-8")
    door.report(door.read([str(tmp_path)]))
    found = rows_of(tmp_path)["metadistil: bert → distilbert"]
    assert "quiz loss" not in found
    assert found["quiz loss before"] == "0.5000"


def test_a_difference_is_the_paired_t_test_over_seeds(sweep: Path) -> None:
    row = rows_of(sweep)["metadistil: bert → tinybert"]
    assert row["against"] == "kd: bert → tinybert"
    own, base = (
        [r.student.test.accuracy for r in all_results(sweep, f"{method}_bert-and-tinybert")]
        for method in ("metadistil", "kd")
    )
    test = stats.ttest_rel(own, base)
    interval = test.confidence_interval()
    assert row["seeds in common"] == "3"
    assert row["p"] == figures.probability(test.pvalue)
    assert (row["low"], row["high"]) == (figures.points(interval.low), figures.points(interval.high))
    assert float(row["over rows low"]) <= float(row["difference"]) <= float(row["over rows high"])
    assert (row["rows"], row["clusters"]) == ("200", "50")
    assert len(row["mcnemar"].split(", ")) == 3


def test_holm_corrects_over_the_whole_table(sweep: Path) -> None:
    (group,) = gathering.gather(sweep).groups
    found = comparing.compare(group.settings, baselines.choose([group], None, [])[0], "test")
    tested = [(one.p, one.p_holm) for one in found if one and one.p is not None and one.p_holm is not None]
    assert len(tested) >= 4
    assert [corrected for _, corrected in tested] == significance.holm([p for p, _ in tested])
    shown = sorted(row["p holm"] for row in rows_of(sweep).values() if row["p holm"])
    assert shown == sorted(figures.probability(corrected) for _, corrected in tested)


def test_sizes_are_compared_as_in_the_slides(sweep: Path) -> None:
    found = rows_of(sweep)
    assert found["finetune: distilbert"]["times smaller"] == "1.7"
    assert found["kd: bert → tinybert"]["times smaller"] == "8.2"
    assert found["finetune: bert"]["times smaller"] == "", "a teacher is not smaller than itself"


def test_every_figure_is_the_same_everywhere(sweep: Path) -> None:
    folder = sweep / "report"
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    lines = [line for line in markdown.splitlines() if line.startswith("| ") and "---" not in line]
    latex = (folder / "report.tex").read_text(encoding="utf-8")
    for sign, mathematical in (("-", "$-$"), ("<", "$<$"), ("±", r"$\pm$"), ("→", r"$\to$")):
        latex = latex.replace(mathematical, sign)
    typeset = [line for line in latex.splitlines() if line.endswith(r"\\") and " & " in line]
    assert len(lines) == len(typeset) > 4 * len(simulated.TABLE1)
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        kept = {row["setting"]: row for row in csv.DictReader(file)}
    numbers = 0
    for line, set_ in zip(lines, typeset, strict=True):
        cells = [cell.strip().replace("\\", "") for cell in line.strip("|").split(" | ")]
        assert NUMBER.findall(" ".join(cells)) == NUMBER.findall(set_.replace("{}", ""))
        if row := kept.get(cells[0]) or kept.get(cells[1]):
            for number in NUMBER.findall(" ".join(cells)):
                numbers += 1
                assert any(number in NUMBER.findall(value) for value in row.values()), (number, row)
        for cell in cells:
            assert f">{cell}<" in page
    assert numbers > 300


def test_the_page_asks_no_host_for_anything(sweep: Path) -> None:
    page = (sweep / "report" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:https?|file|data|ftp):|//|@import|<script|<link|<img|<iframe", page)
    assert not [target for target in re.findall(r"""(?:href|src)=["']?([^"'\s>]*)""", page) if target[0] != "#"]
    assert not [target for target in re.findall(r"url\(([^)]*)\)", page) if target[0] != "#"]
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r"""href="#([^"]*)""", page)) | set(re.findall(r"url\(#([^)]*)\)", page)) <= set(names)
    assert page.count("<figure") == page.count("<figcaption") == page.count('role="img"') == 6
    assert all("n = " in caption for caption in re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL))


def test_seeds_of_teachers_given_as_runs_are_one_setting(tmp_path: Path) -> None:
    for seed in range(3):
        name = f"finetune_bert_sst2_seed{seed}_{seed}234567f"
        simulated.run(tmp_path, "kd", seed, teachers=(name,), teacher=f"/somewhere/{name}")
    assert labels(tmp_path) == ["kd: bert → distilbert"]


def test_a_setting_that_older_runs_do_not_name_keeps_no_seeds_apart(tmp_path: Path) -> None:
    simulated.run(tmp_path, "kd", 0)
    simulated.run(tmp_path, "kd", 1, teacher_train_on_quiz=False)
    simulated.run(tmp_path, "kd", 1, teacher_train_on_quiz=True)
    differs = "kd: bert → distilbert, teacher_train_on_quiz"
    assert sorted(labels(tmp_path)) == [f"{differs}=False", f"{differs}=True"]


def test_labels_name_what_differs_and_nothing_else(tmp_path: Path) -> None:
    for seed in range(2):
        simulated.run(tmp_path, "kd", seed, of_method={"alpha": 0.5})
        simulated.run(tmp_path, "kd", seed, of_method={"alpha": 0.9})
        simulated.run(tmp_path, "kd", seed, noise="typos 0.1", warmup=1)
        simulated.run(tmp_path, "kd", seed, student="tinybert", force=bool(seed), batch_size=16)
    assert sorted(labels(tmp_path)) == [
        "kd: bert → distilbert, method.alpha=0.5",
        "kd: bert → distilbert, method.alpha=0.9",
        "kd: bert → distilbert, typos 0.1 noise, warm-up 1",
        "kd: bert → tinybert",
    ]


def test_whatever_is_not_in_the_table_is_said(tmp_path: Path) -> None:
    for seed in range(2):
        simulated.run(tmp_path, "kd", seed)
    simulated.run(tmp_path, "metadistil", 0, digest="e" * 64)
    again = simulated.run(tmp_path, "kd", 0, debug=True)
    (tmp_path / "kd_x_seed9_12345678.unfinished").mkdir()
    broken = simulated.run(tmp_path, "finetune", 5)
    (broken / "result.json").write_text("{", encoding="utf-8")
    without = simulated.run(tmp_path, "finetune", 6)
    (without / "config.yaml").unlink()
    half = simulated.run(tmp_path, "finetune", 7)
    (half / "result.json").unlink()
    (tmp_path / "evaluations").mkdir()
    found = gathering.gather(tmp_path)
    assert [len(group.settings) for group in found.groups] == [1, 1]
    assert [run.result.folder == again for run in found.groups[0].settings[0].runs] == [True, False]
    assert len(found.runs) == 3
    for said in (
        "unfinished: kd_x_seed9_12345678.unfinished",
        f"cannot be read: {broken.name}",
        f"cannot be read: {without.name}",
        f"no result: {half.name}",
        "not comparable, other rows than most: sst2, data eeeeeeee (1 run); a table of its own",
    ):
        assert said in found.notes
    assert [
        note for note in found.notes if note.startswith("two runs of one setting and seed, the later counts: not kd")
    ]
    assert len(found.notes) == 6


def test_a_sweeps_folder_stands_for_its_runs(tmp_path: Path) -> None:
    sweep = tmp_path / "sweeps" / "now"
    sweep.mkdir(parents=True)
    (sweep / "sweep.json").write_text("{}", encoding="utf-8")
    simulated.run(tmp_path, "finetune", 0)
    for seed in range(2):
        Outcome(number=seed, words=["seed=0"], folder=simulated.run(tmp_path, "kd", seed)).write(sweep)
    Outcome(number=2, words=["lr=1"], error="it diverged").write(sweep)
    found = gathering.gather(sweep)
    assert len(found.runs) == 2
    assert found.notes == ["failed: job 3 (lr=1): it diverged"]


@pytest.fixture
def alphas(tmp_path: Path) -> Path:
    for seed in range(2):
        for method in ("kd", "metadistil"):
            simulated.run(tmp_path, method, seed, of_method={"alpha": 0.5}, accuracy=0.9 if method == "kd" else 0.92)
        simulated.run(tmp_path, "kd", seed, of_method={"alpha": 0.9}, accuracy=0.85)
        simulated.run(tmp_path, "metadistil", seed, of_method={"alpha": 0.7})
    return tmp_path


def test_the_baseline_is_the_nearest_of_the_method(alphas: Path) -> None:
    found = compared(alphas)
    assert (
        found["metadistil: bert → distilbert, method.alpha=0.5"]["against"] == "kd: bert → distilbert, method.alpha=0.5"
    )
    assert "difference" not in found["metadistil: bert → distilbert, method.alpha=0.7"]
    assert found["kd: bert → distilbert, method.alpha=0.5"]["difference"] == "baseline"


@pytest.mark.parametrize("words", ["kd alpha=0.9", "kd: bert → distilbert, method.alpha=0.9"])
def test_words_choose_one_baseline_for_all(words: str, alphas: Path) -> None:
    found = compared(alphas, f"baseline={words}")
    assert sum(row.get("against", "").endswith("alpha=0.9") for row in found.values()) == 3


def test_a_baseline_that_may_be_several_is_an_error_with_the_choices(alphas: Path) -> None:
    groups = gathering.gather(alphas).groups
    with pytest.raises(UserError, match=r"baseline=kd: for .*0\.7 it may be any of '.*=0\.5'; '.*=0\.9'"):
        baselines.choose(groups, "kd", [])
    with pytest.raises(UserError, match="baseline=best: no setting is called that; choose 'kd: bert"):
        baselines.choose(groups, "best", [])


def test_one_seed_and_no_variance_give_a_difference_and_no_p(tmp_path: Path) -> None:
    simulated.run(tmp_path, "kd", 0)
    simulated.run(tmp_path, "metadistil", 0, accuracy=0.95)
    row = compared(tmp_path)["metadistil: bert → distilbert"]
    assert (row["p"], row["seeds in common"]) == ("one seed", "1")
    assert "p holm" not in row
    assert float(row["difference"]) > 0
    assert float(row["mcnemar"].lstrip("<")) < 1
    assert "low" not in row
    for method in ("kd", "metadistil"):
        path = simulated.run(tmp_path, method, 1, accuracy=0.9 if method == "kd" else 0.95)
        shutil.copy(next(tmp_path.glob(f"{method}_*_seed0_*")) / "predictions" / "test.csv", path / "predictions")
        result, first = results.read(path), results.read(next(tmp_path.glob(f"{method}_*_seed0_*")))
        assert result
        assert first
        result.student.test = first.student.test
        result.write(path)
    row = compared(tmp_path)["metadistil: bert → distilbert"]
    assert (row["p"], row["seeds in common"]) == ("no variance", "2")
    assert float(row["difference"]) > 0


def test_the_large_holdout_can_be_what_is_tested(sweep: Path) -> None:
    folder, label = sweep, "metadistil: bert → tinybert"
    row = compared(folder, "split=rest")[label]
    assert (row["split"], row["rows"], row["clusters"], row["rest seeds"]) == ("rest", "400", "100", "3")
    with (next(folder.glob("kd_bert-and-tinybert*seed0*")) / "predictions" / "rest.csv").open(encoding="utf-8") as file:
        right = [line["label"] == line["prediction"] for line in csv.DictReader(file)]
    setting = next(s for s in gathering.gather(folder).groups[0].settings if s.label == "kd: bert → tinybert")
    assert setting.first.accuracy("rest") == sum(right) / 400
    assert row["difference"] != rows_of(sweep)[label]["difference"]


def test_a_group_without_the_large_holdout_has_its_tables(tmp_path: Path) -> None:
    simulated.run(tmp_path, "kd", 0, rest=100)
    simulated.run(tmp_path, "metadistil", 0, digest="e" * 64)
    found = compared(tmp_path, "split=rest")
    assert ["rest" in row for row in found.values()] == [True, False]


def test_sentences_that_one_run_names_count_for_all_on_the_same_rows(tmp_path: Path) -> None:
    for seed in range(2):
        simulated.run(tmp_path, "kd", seed, rest=100)
        simulated.run(tmp_path, "metadistil", seed, rest=100, accuracy=0.95, sentences=True)
    row = compared(tmp_path, "split=rest")["metadistil: bert → distilbert"]
    assert (row["rows"], row["clusters"]) == ("100", "25")


def test_predictions_that_cannot_be_read_cost_only_what_needs_them(tmp_path: Path) -> None:
    for seed in range(2):
        simulated.run(tmp_path, "kd", seed)
        path = simulated.run(tmp_path, "metadistil", seed, accuracy=0.95)
    (path / "predictions" / "test.csv").write_text("row,label\n1", encoding="utf-8")
    row = compared(tmp_path)["metadistil: bert → distilbert"]
    assert row["difference"]
    assert row["p"]
    assert "mcnemar" not in row


def test_calibration_is_measured_as_evaluate_does(sweep: Path) -> None:
    import numpy as np
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    path = next(sweep.glob("kd_bert-and-tinybert*seed0*")) / "predictions" / "test.csv"
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    logits = torch.tensor([[float(line["logit negative"]), float(line["logit positive"])] for line in lines])
    labels = torch.tensor([line["label"] == "positive" for line in lines]).long()
    expected = multiclass_calibration_error(logits.softmax(-1), labels, 2, n_bins=15)
    found = answers.of_csv(path)
    assert found is not None
    assert found.calibration_error == pytest.approx(expected.item(), abs=1e-5)
    assert np.mean(found.right) == pytest.approx((logits.argmax(-1) == labels).double().mean().item())


def test_no_two_settings_look_the_same() -> None:
    styles = [drawing.style(number) for number in range(56)]
    assert len({(how.color, how.marker) for how in styles}) == 56
    assert len({how.marker for how in styles[:8]}) == 8, "in grey as well"


HOSTILE = 'a|b_c<script>alert("&")</script>$x$ {} % # ^ ~ [x](y) `z`'


def test_names_are_escaped_for_where_they_stand(tmp_path: Path) -> None:
    for seed in range(2):
        simulated.run(tmp_path, "kd", seed, teachers=("bert",))
    for path in tmp_path.iterdir():
        written = (path / "result.json").read_text(encoding="utf-8")
        result = results.Result.model_validate_json(written)
        result.student.name = HOSTILE
        result.warnings = [HOSTILE]
        result.write(path)
    door.report(door.read([str(tmp_path)]))
    page, markdown, latex = (
        (tmp_path / "report" / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md", "tex")
    )
    assert "<script" not in page
    assert html.escape(HOSTILE.split()[0], quote=False) in page.replace("&#34;", '"')
    assert "\\<script>" in markdown
    assert "a\\|b\\_c" in markdown
    assert "](y)" not in markdown
    assert rendering.in_latex(HOSTILE) in latex
    body = rendering.in_latex(HOSTILE).replace("$<$", "").replace("$>$", "")
    assert not re.findall(r"(?<!\\)[&%$#_]", body)


def test_published_figures_have_sources_and_stay_apart(sweep: Path) -> None:
    known = published.load()
    assert len(known) >= 25
    assert all(entry.source and 80 < entry.accuracy < 100 for entry in known)
    table = tables.of_published(known)
    assert len(table.rows) == len(known)
    with (sweep / "report" / "report.csv").open(encoding="utf-8", newline="") as file:
        printed = [row for row in csv.DictReader(file) if row["kind"] == "published"]
    assert len(printed) == len(known)
    assert not any(row["test"] or row["p"] for row in printed)


def test_a_report_on_other_data_has_no_published_figures(tmp_path: Path) -> None:
    simulated.run(tmp_path, "kd", 0, data="files")
    door.report(door.read([str(tmp_path)]))
    for kind in ("html", "md", "csv", "tex"):
        assert "published" not in (tmp_path / "report" / f"report.{kind}").read_text(encoding="utf-8").lower()


def test_noise_and_warm_up_have_published_figures_of_their_own(tmp_path: Path) -> None:
    simulated.run(tmp_path, "metadistil", 0, warmup=1)
    simulated.run(tmp_path, "metadistil", 0, noise="word 0.2", teachers=("bert", "bert"))
    simulated.run(tmp_path, "metadistil", 0, noise="typos 0.2", teachers=("bert", "bert"))
    assert [row.get("published") for row in compared(tmp_path).values()] == ["92.45", "88.55", None]


def test_help_is_quick() -> None:
    seconds, done = timed("--help", folder=Path.cwd(), enough=1.5, door="report")
    assert done.returncode == 0
    assert "baseline=" in done.stdout
    assert seconds < 1.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere", "nowhere: there is no such folder"),
        ("", "outputs: there is no such folder"),
        ("empty", "empty holds no finished run"),
        ("empty full", "name one folder"),
        ("full colour=red", "colour=red: there is no setting colour; choose one of baseline, split, keep, smaller"),
        ("full split=train", "split=train: should be 'test' or 'rest'"),
        ("full split=rest", "split=rest: no run has predictions/rest.csv"),
        ("full smaller=", "smaller=: say what it should be, or leave it out"),
        ("full smaller=MEAN", "smaller=MEAN: should be 'largest' or 'mean'"),
        ("full keep=", "keep=: say what it should be"),
        ("full baseline=best", "baseline=best: no setting is called that; choose 'kd: bert → distilbert'"),
        ("full/{run}", "is a single run; name the folder that holds it"),
    ],
)
def test_a_bad_word_is_one_line(words: str, said: str, tmp_path: Path, typed: Typed) -> None:
    (tmp_path / "empty").mkdir()
    run = simulated.run(tmp_path / "full", "kd", 0)
    code, out, err = typed(*words.format(run=run.name).split())
    assert (code, out) == (2, "")
    (line,) = err.strip().splitlines()
    assert said in line
    assert not list(tmp_path.rglob("report"))


def test_a_bad_word_is_refused_within_two_seconds(tmp_path: Path) -> None:
    simulated.run(tmp_path / "full", "kd", 0)
    seconds, done = timed("full", "split=rest", folder=tmp_path, enough=2, door="report")
    assert done.returncode == 2
    assert seconds < 2


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, typed: Typed) -> None:
    simulated.run(tmp_path / "outputs", "kd", 0)
    (tmp_path / "outputs" / "report").write_text("mine", encoding="utf-8")
    code, _, err = typed()
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_ctrl_c_is_one_line(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gathering, "gather", interrupted)
    assert typed() == (130, "", "kd_lab: interrupted\n")


@pytest.mark.slow
def test_a_sweep_of_twelve_runs_takes_at_most_ten_seconds(tmp_path: Path) -> None:
    """Of the processor: others may be using it."""
    simulated.table1(tmp_path / "outputs", seeds=1, rows=10_000)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = kd_lab(folder=tmp_path, door="report")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "finetune: bert" in done.stdout
    assert "the report is in outputs/report: report.html, report.md, report.csv, report.tex" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_spreads_and_comparisons_count_their_seeds(tmp_path: Path) -> None:
    for seed in range(4):
        simulated.run(tmp_path, "kd", seed)
    for seed in range(1, 3):
        simulated.run(tmp_path, "metadistil", seed)
    group = gathering.gather(tmp_path).groups[0]
    found = comparing.compare(group.settings, baselines.choose([group], None, [])[0], "test")
    assert found[0] is None
    assert found[1] is not None
    assert found[1].n == 2
    spread = comparing.spread(group.settings[0], "test")
    assert spread is not None
    assert spread.n == 4
