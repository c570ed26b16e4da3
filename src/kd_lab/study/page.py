"""The page of a study, from its plan and what is kept of its runs: answers, tables, pictures, commands, hours."""

import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from kd_lab import files, terminal
from kd_lab.report import drawing, figures, gallery, tables
from kd_lab.report.gathering import Group
from kd_lab.report.pictures import Picture
from kd_lab.report.rendering import in_markdown, of_table
from kd_lab.report.runs import Run
from kd_lab.study import answering, kept, plans, pooled
from kd_lab.study.kept import Kept
from kd_lab.study.plans import Plan

INTRODUCTION = "introduction.md"
"""In the folder of what is kept: words that the page begins with."""


def write(name: str, keep: Path, path: Path, given: Sequence[str]) -> None:
    """The page of the plan ``name`` to ``path``, its pictures into ``keep``.

    Args:
        name: of the plan, or its file.
        keep: the folder of what is kept.
        path: of the page.
        given: words that its commands are to say as well.

    Raises:
        UserError: if nothing is kept of its runs, two runs are kept as the same, or one cannot be read.
    """
    plan, stages = plans.read(name), kept.read(name, keep)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [_introduction(keep)] if (keep / INTRODUCTION).is_file() else [f"# Results of {in_markdown(name)}"]
    parts += _answers(stages, path.parent)
    # What answers stands first, what chose the settings below.
    for one in sorted((one for one in stages if one.groups), key=lambda one: not one.stage.questions):
        parts += [f"## {one.name}", *_stage(one, path.parent), *_commands(plan, one, given)]
    files.write_whole(path, "\n\n".join(parts) + "\n")
    terminal.say(f"the page of {sum(len(one.runs) for one in stages)} runs is {path}")


def _introduction(keep: Path) -> str:
    return (keep / INTRODUCTION).read_text(encoding="utf-8").strip()


def _answers(stages: Sequence[Kept], beside: Path) -> Iterator[str]:
    """What was asked, and what is answered so far: before all tables."""
    asked = [one for one in stages if one.stage.questions]
    if asked:
        yield "## Answers"
    for both in pooled.pool(asked):
        names = " and ".join(f"[{name}](#{name})" for name in both.names)
        yield f"From {names} together, on the {both.stage.split} split:"
        yield answering.lines(both.stage, both.tested)
        key = "-and-".join(both.names)
        yield from _shown(answering.picture(both.stage, both.tested, key), asked[0].place.parent, key, beside)
    for one in asked:
        yield from _answers_of(one, beside) if one.groups else _planned(one)


def _answers_of(one: Kept, beside: Path) -> Iterator[str]:
    for group, tested in zip(one.groups, one.tested, strict=True):
        where = f"the {one.stage.split} split of {in_markdown(group.title)}"
        yield f"From [{one.name}](#{one.name}), {one.said}, on {where}:"
        yield answering.lines(one.stage, tested)
        if tested:
            found = figures.of(group, [None] * len(group.settings), one.stage.split, mean=False)
            yield of_table(tables.summary(group, found))
            yield from _shown(answering.picture(one.stage, tested, _key(group)), one.place, _key(group), beside)


def _planned(one: Kept) -> Iterator[str]:
    yield f"From {one.name}, {one.said}. {in_markdown(one.stage.about)}".rstrip()
    yield answering.lines(one.stage, None)


def _key(group: Group) -> str:
    """What files about a group begin with."""
    return group.digest[:8]


def _stage(one: Kept, beside: Path) -> Iterator[str]:
    stage = one.stage
    if stage.about:
        yield in_markdown(stage.about)
    yield f"{one.said}; seeds {', '.join(map(str, stage.seeds))}. {_hours(one.runs)}"
    if stage.questions and not any(one.tested):
        yield "Tables and pictures come with the answers: nobody should judge by some of the runs."
        return
    for group, tested in zip(one.groups, one.tested, strict=True):
        found = figures.of(group, [None] * len(group.settings), stage.split, mean=False)
        yield from map(of_table, tables.of(group, found, stage.split, mean=False))
        yield from answering.test_tables(group, tested) if tested else ()
        pictures = gallery.draw(group, stage.split) if stage.questions else gallery.means(group, stage.split)
        for picture in pictures:
            yield from _shown(picture, one.place, _key(group), beside)
    if warned := tables.warnings(one.gathered):
        yield "\n".join(["Warnings of the runs:", "", *(f"- {in_markdown(line)}" for line in warned)])


def _commands(plan: Plan, one: Kept, given: Sequence[str]) -> Iterator[str]:
    shared = f"{plan.words} {one.stage.words}".split()
    rows = (shlex.join([*shared, *row.split(), *given]) for row in one.stage.named.values())
    yield "<details><summary>The command of each row, at each seed</summary>"
    yield "\n".join(["```", *(f"python -m kd_lab.run {row} seed=SEED" for row in rows), "```"])
    yield "</details>"


def _shown(picture: Picture, place: Path, key: str, beside: Path) -> Iterator[str]:
    """``picture`` as a file of its own in ``place``, and what shows it on a page in the folder ``beside``."""
    path = place / f"{key}-{picture.title.lower().replace(' ', '-')}.svg"
    files.write_whole(path, drawing.alone(picture.svg, picture.legend))
    yield f"![{in_markdown(picture.title)}]({quote(Path(os.path.relpath(path, beside)).as_posix())})"
    yield in_markdown(picture.caption)


def _hours(every: Sequence[Run]) -> str:
    """How long they took, by what they were made on and with."""
    seconds: dict[str, float] = defaultdict(float)
    for run in every:
        library = f"torch {run.result.versions.get('torch', 'unknown')}"
        seconds[f"{run.result.processor or 'a processor that is not named'}, {library}"] += run.result.seconds
    spent = (f"{terminal.duration(took)} on {where}" for where, took in seconds.items())
    return f"Training and testing, without the runs that made their teachers: {'; '.join(spent)}."
