"""Every example of the docs is run, on tiny models and toy sentences."""

import asyncio
import csv
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import kd_lab
from kd_lab import evaluate, predict, run, toy
from kd_lab.bench import __main__ as bench
from kd_lab.bench import estimate
from kd_lab.dashboard import __main__ as dashboard
from kd_lab.demo import __main__ as demo
from kd_lab.demo import serving
from kd_lab.export import __main__ as export
from kd_lab.export import speed
from kd_lab.report import __main__ as report
from kd_lab.study import __main__ as study


def demo_once() -> None:
    """The demo, closed as soon as its page is there."""

    async def built(build: Callable[[], object]) -> None:
        build()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "serve", lambda build, listening: asyncio.run(built(build)))
        demo.main()


DOCS = Path(__file__).parents[1] / "docs"
COMMAND = re.compile(r"^python -m kd_lab\.([\w.]+)(.*)$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUICK = {
    "models": "tiny",
    "data": "toy",
    "max_epochs": "1",
    "teacher_epochs": "6",
    "lr": "5e-3",
    "teacher_finetune_lr": "5e-3",
    "batch_size": "16",
    "teacher_batch_size": "16",
    "logger": "csv",
    "data.train": "0.8",
    "data.quiz": "0.02",
    "data.validation": "0.08",
    "data.test": "0.1",
}
BENCH = {name: value for name, value in QUICK.items() if name.startswith(("data", "models"))}
BENCH |= {"batch_size": "8", "bench.quick": "true", "bench.rows": "finetune,kd"}
ESTIMATE = {name: value for name, value in QUICK.items() if name.startswith(("data.", "models"))}
DOORS: dict[str, tuple[Callable[[], None], dict[str, str], str]] = {
    "run": (run.main, QUICK, "everything is in"),
    "evaluate": (evaluate.main, {"models": "tiny"}, "the figures are in"),
    "bench": (bench.main, BENCH, "the figures are in"),
    "bench.estimate": (estimate.main, ESTIMATE, "which nobody has run"),
    "dashboard": (dashboard.main, {}, "workspace.json and report.json are in"),
    "demo": (demo_once, {"models": "tiny"}, "the page is at"),
    "predict": (predict.main, {}, "label"),
    "export": (export.main, {"models": "tiny", "points": "100"}, "export is in"),
    "export.speed": (speed.main, {"models": "tiny", "points": "100"}, "the figures are in"),
    "report": (report.main, {}, "the report is in"),
    "study": (study.main, {"list": "true"}, "python -m kd_lab.run data=sst2"),
}
"""Of each: what it does, the words that make it quick, and what it says at the end."""
SIZES = {"models", "max_epochs", "teacher_epochs", "data.train", "lr"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands() -> Iterator[tuple[str, str, str]]:
    for page in sorted(DOCS.glob("*.md")):
        for text in blocks(page, "bash"):
            yield from ((page.stem, door, words.strip()) for door, words in COMMAND.findall(text))


def tiny(door: str, words: list[str]) -> list[str]:
    """The same command on tiny models: all words stay but models=, the longest sizes, and data that must be fetched."""
    quick = DOORS[door][1]
    kept = [word for word in words if word.partition("=")[0] not in SIZES and word != "data=snippets"]
    given = {word.partition("=")[0] for word in kept}
    searched = {"lr"} if "sweep=search" in words else set()
    kept = [word.replace("hub:google-bert/bert-base-uncased,layers:4", "stand_in:tiny-bert") for word in kept]
    return kept + [f"{name}={value}" for name, value in quick.items() if name not in given | searched]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the docs speak of: an own file, GLUE's files, and the files of the walk."""
    folder = tmp_path_factory.mktemp("desk")
    texts, labels = toy.sentences(400)
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    (folder / "SST-2").mkdir()
    lines = [f"{text}\t{label}" for text, label in zip(texts, labels, strict=True)]
    for name, part in (("train", lines[:340]), ("dev", lines[340:])):
        (folder / "SST-2" / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *part]) + "\n", encoding="utf-8")
    for language in ("python", "yaml"):
        for text in blocks(DOCS / "add-a-method.md", language):
            path = folder / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def desk(furnished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person sits there; runs of earlier examples are found, as they would be."""
    monkeypatch.chdir(furnished)
    monkeypatch.syspath_prepend(str(furnished))
    return furnished


def type_(door: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [f"kd_lab.{door}", *words])
    try:
        DOORS[door][0]()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def quick(page: str, door: str, words: str) -> object:
    """An example as a case of the test: sweeps and benches but the first are slow, and have tests of their own."""
    long = words.startswith("-m ") or " -m " in words or "micro_batch_size" in words
    first = "--quick" in words or "format=folder" in words or door not in {"bench", "export", "export.speed"}
    return pytest.param(page, door, words, marks=() if first and not long else pytest.mark.slow)


@pytest.mark.parametrize(("page", "door", "words"), [quick(*command) for command in commands()])
def test_an_example_runs(
    page: str, door: str, words: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = shlex.split(words)
    subprocess.run(["bash", "-n", "-c", f"python {words}"], check=True)
    if "RUN" in typed:
        trained = kd_lab.train(
            [f"{name}={value}" for name, value in QUICK.items() if name != "data"]
            + ["data=files", "data.path=reviews.csv", "method=finetune", "student=tinybert"]
        )
        typed[typed.index("RUN")] = str(trained.folder)
    if door in {"demo", "report"}:
        for method in ("finetune", "kd"):
            kd_lab.train([*(f"{name}={value}" for name, value in QUICK.items()), f"method={method}", "teacher=bert"])
        capsys.readouterr()
    asks = {"--help", "--cfg", "--info"} & set(typed)
    assert type_(door, typed if asks else tiny(door, typed), monkeypatch) == 0
    said = capsys.readouterr()
    assert said.err == ""
    expected = "results" if "-m" in typed else DOORS[door][2]
    assert asks or expected in said.out


def test_every_axis_has_a_page_with_an_example() -> None:
    pages = {page for page, _, _ in commands()}
    wanted = {
        "methods",
        "teachers",
        "students",
        "data",
        "noise",
        "warm-up",
        "sweeps",
        "tracking",
        "evaluate",
        "runs",
        "performance",
        "reliability",
        "dashboard",
        "reproduce",
        "report",
        "results",
        "study",
        "protocol",
        "predict",
        "export",
        "demo",
    }
    assert wanted | {"add-a-method"} == pages


def test_the_python_of_the_docs_runs() -> None:
    for page in DOCS.glob("*.md"):
        if page.stem != "add-a-method":
            for text in blocks(page, "python"):
                exec(compile(text, str(page), "exec"), {})  # noqa: S102


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]:
        for link in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_it_is_cited_by_its_version() -> None:
    cited = yaml.safe_load((DOCS.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == kd_lab.__version__
