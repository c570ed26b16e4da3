"""The page of a study, from its plan and what is kept of its runs: verdicts, tables, pictures, commands, hours."""

import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_lab import results, terminal
from kd_lab.errors import UserError
from kd_lab.report import drawing, figures, gallery, runs, tables
from kd_lab.report.gathering import Gathered, Group, Setting
from kd_lab.report.pictures import Picture
from kd_lab.report.rendering import in_markdown, of_table
from kd_lab.report.runs import Run
from kd_lab.study import answering, plans
from kd_lab.study.answering import Tested
from kd_lab.study.carrying import ROW
from kd_lab.study.plans import Plan, Stage

INTRODUCTION = "introduction.md"
"""In the folder of what is kept: words that the page begins with."""


@dataclass(frozen=True)
class Kept:
    """A stage of which runs are kept: its own name, its folder, its settings, and the tests of each group of them."""

    name: str
    stage: Stage
    place: Path
    groups: Sequence[Group]
    tested: Sequence[Tested | None]

    @property
    def runs(self) -> list[Run]:
        """All, in the order of groups and settings."""
        return [run for group in self.groups for setting in group.settings for run in setting.runs]


def write(name: str, keep: Path, path: Path) -> None:
    """The page of the plan ``name`` to ``path``, its pictures into ``keep``.

    Raises:
        UserError: if nothing is kept of its runs, or two runs as the same.
    """
    plan = plans.read(name)
    kept = [
        Kept(own, stage, keep / plans.title(name, own), groups, [answering.test(stage, group) for group in groups])
        for own, stage in plan.stages.items()
        if (groups := list(_groups(stage, keep / plans.title(name, own))))
    ]
    if not kept:
        raise UserError(f"{keep} keeps no run of the plan {name}; python -m kd_lab.study {name} keep={keep} makes them")
    parts = [_introduction(keep)] if (keep / INTRODUCTION).is_file() else [f"# Results of {in_markdown(name)}"]
    parts += _answers(kept, path.parent)
    for one in kept:
        parts += [f"## {one.name}", *_stage(plan, one, path.parent)]
    results.write_whole(path, "\n\n".join(parts) + "\n")
    terminal.say(f"the page of {sum(len(one.runs) for one in kept)} runs is {path}")


def _introduction(keep: Path) -> str:
    return (keep / INTRODUCTION).read_text(encoding="utf-8").strip()


def _groups(stage: Stage, place: Path) -> Iterator[Group]:
    """The rows of a stage in the plan's order; those on other rows of the data are a group of their own."""
    kept: dict[str, Path] = {}
    for path in sorted(place.glob(f"*/{ROW}")):
        other = kept.setdefault(said := path.read_text(encoding="utf-8").strip(), path.parent)
        if other != path.parent:
            raise UserError(f"{place} keeps two runs as {said}: {other.name} and {path.parent.name}; delete one")
    by_digest: dict[str, list[Setting]] = defaultdict(list)
    for label, row in stage.named.items():
        folders = [kept[said] for seed in stage.seeds if (said := plans.said(row, seed)) in kept]
        same = [runs.read(result) for folder in folders if (result := results.read(folder))]
        if same:
            by_digest[same[0].result.data.digest].append(Setting(label, same))
    for settings in by_digest.values():
        data = settings[0].first.result.data
        yield Group(data.name, data.digest, data.sizes, settings)


def _answers(kept: Sequence[Kept], beside: Path) -> Iterator[str]:
    """What was asked, and what is answered so far: before all tables."""
    asked = [one for one in kept if one.stage.questions]
    if asked:
        yield "## Answers"
    for one in asked:
        for group, tested in zip(one.groups, one.tested, strict=True):
            yield f"From [{one.name}](#{one.name}), on the {one.stage.split} split of {in_markdown(group.title)}:"
            yield answering.lines(one.stage, tested)
            if tested:
                yield from _shown(answering.picture(one.stage, tested, group.digest[:8]), one, group, beside)


def _stage(plan: Plan, kept: Kept, beside: Path) -> Iterator[str]:
    stage = kept.stage
    if stage.about:
        yield in_markdown(stage.about)
    wanted = len(stage.named) * len(stage.seeds)
    yield f"{len(kept.runs)} of {wanted} runs; seeds {', '.join(map(str, stage.seeds))}. {_hours(kept.runs)}"
    for group, tested in zip(kept.groups, kept.tested, strict=True):
        yield from answering.test_tables(group, tested) if tested else ()
        found = figures.of(group, [None] * len(group.settings), stage.split, mean=False)
        yield from map(of_table, tables.of(group, found, stage.split, mean=False))
        drawn = gallery.draw(group, stage.split)
        for picture in drawn if stage.questions else drawn[:1]:  # the first are means with intervals
            yield from _shown(picture, kept, group, beside)
    if warned := tables.warnings(Gathered(list(kept.groups))):
        yield "\n".join(["Warnings of the runs:", "", *(f"- {in_markdown(line)}" for line in warned)])
    yield "<details><summary>The command of each row, at each seed</summary>"
    rows = (shlex.join([*plan.words.split(), *stage.words.split(), *row.split()]) for row in stage.named.values())
    yield "\n".join(["```", *(f"python -m kd_lab.run {row} data.path=SST-2 seed=SEED" for row in rows), "```"])
    yield "</details>"


def _shown(picture: Picture, kept: Kept, group: Group, beside: Path) -> Iterator[str]:
    """``picture`` as a file of its own, and what shows it on a page in the folder ``beside``."""
    path = kept.place / f"{group.digest[:8]}-{picture.title.lower().replace(' ', '-')}.svg"
    results.write_whole(path, drawing.alone(picture.svg, picture.legend))
    yield f"![{in_markdown(picture.title)}]({Path(os.path.relpath(path, beside)).as_posix()})"
    yield in_markdown(picture.caption)


def _hours(every: Sequence[Run]) -> str:
    """How long they took, by what they were made on and with."""
    seconds: dict[str, float] = defaultdict(float)
    for run in every:
        library = f"torch {run.result.versions.get('torch', 'unknown')}"
        seconds[f"{run.result.processor or 'a processor that is not named'}, {library}"] += run.result.seconds
    spent = (f"{terminal.duration(took)} on {where}" for where, took in seconds.items())
    return f"Training and testing, teachers apart: {'; '.join(spent)}."
