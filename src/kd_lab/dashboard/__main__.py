"""The door: python -m kd_lab.dashboard [FOLDER] [name=value ...]: the runs compared in W&B."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kd_lab import composition, doors, files, terminal
from kd_lab.errors import UserError
from kd_lab.sections import Section

USAGE = """The runs of a project compared in W&B: a workspace and a report, made anew or brought up to date.

python -m kd_lab.dashboard [FOLDER] [name=value ...]

FOLDER       where runs are that were written offline; without it, output_dir
entity=      user or team; without it, WANDB_ENTITY or whoever is logged in
project=     without it, WANDB_PROJECT or logger.project

Without an API key nothing is sent: what would be made is written to output_dir/dashboard, with or without a network.
Every other word of kd_lab.run is understood as well, such as output_dir=."""
ENTITY = re.compile(r"[\w.-]{1,128}")
OFFLINE = ("wandb/offline-run-*", "*/wandb/offline-run-*")
SYNCED = ".wandb.synced"


class Ways(Section):
    """The door's own words."""

    entity: str | None = None
    project: str | None = None


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        folder: of runs.
        entity: user or team; empty for whoever is logged in.
        project: of the runs in W&B.
        written: the folder for the files.
        named: entity and project, as far as they were typed.
    """

    folder: Path
    entity: str
    project: str
    written: Path
    named: dict[str, str]


def main() -> None:
    """Read the command line, make workspace and report, and say where they are."""
    doors.opened(USAGE, lambda words: make(read(words)))


def read(words: Sequence[str]) -> Request:
    """The request that the words of a command line make.

    Raises:
        UserError: for a bad word, or a folder that is not there.
    """
    names, rest = doors.named(words, "one folder of runs")
    ways, given = doors.own(Ways, rest)
    named = ways.model_dump(exclude_none=True)
    entity = named.get("entity", os.environ.get("WANDB_ENTITY", ""))
    if entity and not ENTITY.fullmatch(entity):
        raise UserError(f"entity={entity}: should be a user or a team of W&B: letters, digits, - _ and .")
    if project := named.get("project", os.environ.get("WANDB_PROJECT", "")):
        given.append(f"logger.project={project}")
    checked = composition.settings_of(given)
    folder = Path(names[0]) if names else checked.output_dir
    if names and not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of runs")
    files.refuse_unwritable(checked.output_dir)
    return Request(folder, entity, checked.logger.project, checked.output_dir / "dashboard", named)


def make(request: Request) -> None:
    """Write what workspace and report are, and bring them to W&B where it is known who asks."""
    if find_spec("wandb_workspaces") is None:
        raise UserError("the dashboard needs one more package: pip install 'kd_lab[dashboard]'")
    # Seconds of imports, after everything that can be refused.
    from kd_lab.dashboard import definition, saving

    request.written.mkdir(parents=True, exist_ok=True)
    for name, build in definition.BUILD.items():
        text = json.dumps(definition.as_json(build(request.entity, request.project)), indent=2, ensure_ascii=False)
        files.write_whole(request.written / f"{name}.json", text + "\n")
    terminal.say(f"workspace.json and report.json are in {request.written}")
    unsynced = offline_runs(request.folder)
    if not saving.logged_in():
        say_how(request, unsynced)
        return
    if unsynced:
        terminal.say(f"{_counted(unsynced)} not in W&B yet; to sync: {_sync(request)}")
    for name, url in saving.save(request.entity, request.project).items():
        terminal.say(f"{name}: {url}")


def offline_runs(folder: Path) -> list[Path]:
    """The folders of W&B's offline runs in a run's folder, or in a folder of runs, that have not been synced."""
    found = [path for pattern in OFFLINE for path in sorted(folder.glob(pattern))]
    return [path for path in found if not any(file.name.endswith(SYNCED) for file in path.iterdir())]


def say_how(request: Request, unsynced: Sequence[Path]) -> None:
    """The steps that lead from here to W&B."""
    sync = [f"{_sync(request)}    # {_counted(unsynced)}"] if unsynced else []
    again = ["python -m kd_lab.dashboard", *(f"{name}={value}" for name, value in request.named.items())]
    terminal.say("no API key of W&B is known here, or W&B is switched off: nothing was sent. To see it there:")
    for number, step in enumerate(["wandb login", *sync, " ".join(again)], 1):
        terminal.say(f"  {number}. {step}")


def _counted(runs: Sequence[Path]) -> str:
    return f"{len(runs)} offline run{'s' if len(runs) > 1 else ''}"


def _sync(request: Request) -> str:
    pattern = next(pattern for pattern in OFFLINE if any(request.folder.glob(pattern)))
    options = [f"--{name} {shlex.quote(value)}" for name, value in request.named.items()]
    return " ".join(["wandb sync", *options, f"{shlex.quote(str(request.folder))}/{pattern}"])


if __name__ == "__main__":
    main()
