"""What is kept of a study: for each stage its runs, as settings in the plan's order, and what the tests say of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_lab.errors import UserError
from kd_lab.report import runs
from kd_lab.report.gathering import Gathered, Group, Setting
from kd_lab.report.runs import Run
from kd_lab.study import answering, plans
from kd_lab.study.answering import Tested
from kd_lab.study.carrying import ROW
from kd_lab.study.plans import Stage


@dataclass(frozen=True)
class Kept:
    """A stage, and what is kept of its runs.

    Attributes:
        name: of the stage in the plan.
        stage: itself.
        place: the folder of its runs.
        gathered: its settings; those on other rows of the data are a group of their own.
        tested: what the tests say of each group; None where it is too early, or nothing is asked.
    """

    name: str
    stage: Stage
    place: Path
    gathered: Gathered
    tested: Sequence[Tested | None]

    @property
    def groups(self) -> list[Group]:
        """Of its settings."""
        return self.gathered.groups

    @property
    def runs(self) -> list[Run]:
        """All, in the order of groups and settings."""
        return self.gathered.runs

    @property
    def said(self) -> str:
        """How many runs of how many are there."""
        return f"{len(self.runs)} of {len(self.stage.named) * len(self.stage.seeds)} runs"


def read(name: str, keep: Path) -> list[Kept]:
    """The stages of the plan ``name``, in its order, with what ``keep`` has of their runs.

    Raises:
        UserError: if it has none, two runs are kept as the same, or one cannot be read.
    """
    found = []
    for own, stage in plans.read(name).stages.items():
        place = keep / plans.title(name, own)
        gathered = Gathered(list(_groups(stage, place)))
        found.append(Kept(own, stage, place, gathered, [answering.test(stage, group) for group in gathered.groups]))
    if not any(one.groups for one in found):
        raise UserError(f"{keep} keeps no run of the plan {name}; python -m kd_lab.study {name} keep={keep} makes them")
    return found


def _groups(stage: Stage, place: Path) -> Iterator[Group]:
    kept: dict[str, Path] = {}
    for path in sorted(place.glob(f"*/{ROW}")):
        other = kept.setdefault(said := path.read_text(encoding="utf-8").strip(), path.parent)
        if other != path.parent:
            raise UserError(f"{place} keeps two runs as {said}: {other.name} and {path.parent.name}; delete one")
    by_digest: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for label, row in stage.named.items():
        for seed in stage.seeds:
            if folder := kept.get(plans.said(row, seed)):
                run = _run(folder)
                by_digest[run.result.data.digest][label].append(run)
    for settings in by_digest.values():
        data = next(iter(settings.values()))[0].result.data
        yield Group(data.name, data.digest, data.sizes, [Setting(label, same) for label, same in settings.items()])


def _run(folder: Path) -> Run:
    if run := runs.find(folder):
        return run
    raise UserError(f"{folder} cannot be read; delete it, and the study makes its run anew")
