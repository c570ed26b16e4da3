"""The dashboard: it names what runs really log, and comes to W&B once."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import kd_lab, timed, wandb_reads
from wandb_server import ENTITY, KEY, Server

import kd_lab as package
from kd_lab.dashboard import __main__ as door
from kd_lab.dashboard import definition, panels, saving
from kd_lab.errors import UserError

NOBODY = {"WANDB_MODE": "online", "WANDB_API_KEY": "", "NETRC": "/dev/null"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the offline runs of a student that learns with its teachers, and of one of these teachers."""
    folder = tmp_path_factory.mktemp("compared")
    words = ["experiment=smoke", "method=metadistil", "teacher=tiny-bert", "max_epochs=1", "logger=wandb"]
    package.train([*words, "warmup_epochs=0", "trainer.enable_progress_bar=false", f"output_dir={folder}"])
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> dict[str, Any]:
    (home,) = folder.glob("metadistil_*")
    return wandb_reads(home)


def named(spec: object) -> Iterator[tuple[str, str]]:
    """(metric or setting, name) of everything that a specification of W&B's names."""
    if isinstance(spec, list):
        for part in spec:
            yield from named(part)
    elif isinstance(spec, dict):
        for key, value in spec.items():
            if key == "metrics":
                yield from (("metric", name) for name in value)
            elif key == "groupBy":
                yield "setting", value
            elif key == "key" and value.get("type") == "string":
                yield "metric", value["val"]
            elif key in {"xAxis", "yAxis", "accessor"} and not value.startswith(("_", "summary:", "config:")):
                yield "metric", value
            elif key in {"xAxis", "yAxis", "accessor"}:
                yield from addressed(value)
            elif key == "columnOrder":
                yield from (pair for name in value for pair in addressed(name))
            else:
                yield from named(value)


def addressed(name: str) -> Iterator[tuple[str, str]]:
    section, _, rest = name.partition(":")
    if section in {"summary", "config"}:
        yield {"summary": "metric", "config": "setting"}[section], rest


@pytest.mark.parametrize("make", [definition.workspace, definition.report])
def test_it_names_only_what_a_run_holds(make: Any, run: dict[str, Any]) -> None:
    found = set(named(definition.as_json(make("", "kd_lab"))))
    logged = {name for item in run["history"] for name in item} | set(run["summary"])
    known = {("metric", name) for name in logged} | {("setting", f"{name}.value") for name in run["config"]}
    assert found - known == set()
    # What was looked for was found, down to the last curve.
    curves = {name for metrics in panels.CURVES.values() for name in metrics}
    assert {name for kind, name in found if kind == "metric"} >= curves | {
        panels.TESTED, panels.JUDGED, panels.SIZE, panels.TABLE, panels.STEP
    }  # fmt: skip
    settings = {name.removesuffix(".value") for kind, name in found if kind == "setting"}
    assert settings == {*panels.GRID, *panels.SEARCHED, *panels.GROUPS}


def test_runs_of_one_setting_differ_in_their_seed(run: dict[str, Any]) -> None:
    assert run["config"][panels.SETTING] == "metadistil: tiny-bert → tiny-distilbert on toy"
    assert run["name"] == f"{run['config'][panels.SETTING]}, seed 0"


def test_without_a_key_it_says_how_and_sends_nothing(folder: Path, tmp_path: Path) -> None:
    words = [str(folder), f"output_dir={tmp_path}", "entity=team", "project=mine"]
    done = kd_lab(*words, folder=tmp_path, door="dashboard", **NOBODY)
    assert (done.returncode, done.stderr) == (0, "")
    steps = [line.strip() for line in done.stdout.splitlines()[-3:]]
    assert steps == [
        "1. wandb login",
        f"2. wandb sync --entity team --project mine {folder}/*/wandb/offline-run-*    # 2 offline runs",
        "3. python -m kd_lab.dashboard entity=team project=mine",
    ]
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "dashboard").iterdir()}
    assert set(written) == {"workspace.json", "report.json"}
    assert json.loads(written["workspace.json"])["entity"] == "team"
    assert json.loads(written["report.json"])["project"]["name"] == "mine"
    assert json.loads(written["workspace.json"]) == definition.as_json(definition.workspace("team", "mine"))


def test_runs_that_are_synced_are_not_named_again(tmp_path: Path) -> None:
    for name, end in (("a", ".wandb"), ("b", ".wandb.synced")):
        inner = tmp_path / name / "wandb" / f"offline-run-1-{name}"
        inner.mkdir(parents=True)
        (inner / f"run-{name}{end}").touch()
    assert [path.name for path in door.offline_runs(tmp_path)] == ["offline-run-1-a"]
    assert [path.name for path in door.offline_runs(tmp_path / "a")] == ["offline-run-1-a"]


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def asked(server: Server, folder: Path) -> subprocess.CompletedProcess[str]:
    mine = {"WANDB_MODE": "online", "WANDB_BASE_URL": server.endpoint, "WANDB_API_KEY": KEY}
    return kd_lab("project=mine", folder=folder, door="dashboard", **mine)


def test_with_a_key_both_are_made_once_and_then_brought_up_to_date(server: Server, tmp_path: Path) -> None:
    first, again = asked(server, tmp_path), asked(server, tmp_path)
    for done in (first, again):
        assert (done.returncode, done.stderr) == (0, "")
    assert server.projects == ["mine"]
    views = {view["type"]: view for view in server.views.values()}
    assert len(server.views) == 2
    for kind, name, make in (
        (saving.WORKSPACES, "workspace", definition.workspace),
        (saving.REPORTS, "report", definition.report),
    ):
        assert views[kind]["displayName"] == definition.NAME
        assert json.loads(views[kind]["spec"]) == definition.as_json(make(ENTITY, "mine"))["spec"]
        (line,) = (line for line in again.stdout.splitlines() if line.startswith(f"{name}: "))
        assert line.startswith(f"{name}: {server.endpoint}/{ENTITY}/mine")
        assert line in first.stdout
    files = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "outputs" / "dashboard").iterdir())
    assert KEY not in files + first.stdout


def test_a_refusal_is_one_line(server: Server, tmp_path: Path) -> None:
    server.refuses = True
    done = asked(server, tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("kd_lab: W&B did not take the dashboard of your/mine: ")


def test_a_server_that_cannot_be_reached_is_one_line(server: Server, tmp_path: Path) -> None:
    server.close()
    done = asked(server, tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "connection refused" in line


def test_a_variable_that_w_and_b_refuses_is_one_line(tmp_path: Path) -> None:
    done = kd_lab(folder=tmp_path, door="dashboard", WANDB_MODE="perhaps")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("kd_lab: a WANDB_ variable or a settings file of W&B's is not right: ")
    assert "perhaps" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["entity=a/b"], "entity=a/b: should be a user or a team"),
        (["project=a/b"], "logger.project=a/b: should match pattern"),
        (["nowhere"], "nowhere: there is no such folder of runs"),
        ([".", ".."], "name one folder of runs"),
        (["colour=red"], "Could not override 'colour'"),
    ],
)
def test_a_bad_word_is_named(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        door.read(words)


def test_without_its_package_it_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(door, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'kd_lab\[dashboard\]'"):
        door.make(door.read([f"output_dir={tmp_path}"]))
    assert list(tmp_path.iterdir()) == []


def test_help_and_bad_words_are_answered_quickly(tmp_path: Path) -> None:
    seconds, done = timed("--help", folder=tmp_path, enough=1.5, door="dashboard")
    assert "python -m kd_lab.dashboard [FOLDER]" in done.stdout
    assert seconds < 1.5
    seconds, done = timed("entity=a/b", folder=tmp_path, enough=2, door="dashboard")
    assert done.returncode == 2
    assert seconds < 2
