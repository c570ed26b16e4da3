"""The page of a study, from its plan and what is kept of its runs: verdicts, tables, pictures, commands, hours."""

import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from kd_lab import results, terminal
from kd_lab.errors import UserError
from kd_lab.report import comparing, drawing, figures, marks, runs, tables
from kd_lab.report.comparing import Comparison
from kd_lab.report.gathering import Group, Setting
from kd_lab.report.pictures import Picture
from kd_lab.report.rendering import in_markdown, of_table
from kd_lab.report.runs import Run
from kd_lab.study import plans
from kd_lab.study.carrying import ROW
from kd_lab.study.plans import Plan, Stage

LEVEL = 0.05
INTRODUCTION = "introduction.md"
"""In the folder of what is kept: words that the page begins with."""


def write(name: str, keep: Path, path: Path) -> None:
    """The page of the plan ``name`` to ``path``, its pictures into ``keep``.

    Raises:
        UserError: if nothing is kept of its runs.
    """
    plan = plans.read(name)
    parts = [_introduction(keep)] if (keep / INTRODUCTION).is_file() else [f"# Results of {in_markdown(name)}"]
    written = 0
    for own, stage in plan.stages.items():
        if groups := list(_groups(stage, keep / plans.title(name, own))):
            written += sum(len(setting.runs) for group in groups for setting in group.settings)
            place = keep / plans.title(name, own)
            parts += [f"## {own}", *_stage(plan, stage, groups, place, path.parent)]
    if not written:
        raise UserError(f"{keep} keeps no run of the plan {name}; python -m kd_lab.study {name} keep={keep} makes them")
    results.write_whole(path, "\n\n".join(parts) + "\n")
    terminal.say(f"the page of {written} runs is {path}")


def _introduction(keep: Path) -> str:
    return (keep / INTRODUCTION).read_text(encoding="utf-8").strip()


def _groups(stage: Stage, place: Path) -> Iterator[Group]:
    """The rows of a stage in the plan's order; those on other rows of the data are a group of their own."""
    kept = {path.read_text(encoding="utf-8").strip(): path.parent for path in sorted(place.glob(f"*/{ROW}"))}
    by_digest: dict[str, list[Setting]] = defaultdict(list)
    for label, row in stage.named.items():
        folders = [kept[said] for seed in stage.seeds if (said := plans.said(row, seed)) in kept]
        same = [runs.read(result) for folder in folders if (result := results.read(folder))]
        if same:
            by_digest[same[0].result.data.digest].append(Setting(label, same))
    for settings in by_digest.values():
        data = settings[0].first.result.data
        yield Group(data.name, data.digest, data.sizes, settings)


def _stage(plan: Plan, stage: Stage, groups: Sequence[Group], place: Path, beside: Path) -> Iterator[str]:
    every = [run for group in groups for setting in group.settings for run in setting.runs]
    wanted = len(stage.named) * len(stage.seeds)
    yield f"{len(every)} of {wanted} runs; seeds {', '.join(map(str, stage.seeds))}. {_hours(every)}"
    for group in groups:
        yield from _group(stage, group, place, beside)
    yield "The commands, at each seed:"
    rows = (shlex.join([*plan.words.split(), *stage.words.split(), *row.split()]) for row in stage.named.values())
    yield "\n".join(["```", *(f"python -m kd_lab.run {row} data.path=SST-2 seed=SEED" for row in rows), "```"])


def _group(stage: Stage, group: Group, place: Path, beside: Path) -> Iterator[str]:
    yield from _answers(stage, group)
    found = figures.of(group, [None] * len(group.settings), stage.split, mean=False)
    yield from map(of_table, tables.of(group, found, stage.split, mean=False))
    if (picture := _picture(group, stage.split)) is not None:
        path = place / f"{group.digest[:8]}.svg"
        results.write_whole(path, drawing.alone(picture.svg))
        yield f"![{in_markdown(picture.title)}]({Path(os.path.relpath(path, beside)).as_posix()})"
        yield in_markdown(picture.caption)


def _answers(stage: Stage, group: Group) -> Iterator[str]:
    """To the questions about rows of the group: a line each, and a table of their tests."""
    known = {setting.label: setting for setting in group.settings}
    asked = {q: (known[a], known[b]) for q, (a, b) in stage.questions.items() if a in known and b in known}
    first, second = [a for a, _ in asked.values()], [b for _, b in asked.values()]
    compared = comparing.compare(first, second, stage.split)
    lines = [_verdict(q, s, one) for q, s, one in zip(asked, first, compared, strict=True) if one]
    if lines:
        yield "\n".join(["### Answers", "", *lines])
        yield of_table(tables.tests(group, figures.of(group, compared, stage.split, False, first), stage.split))


def _verdict(question: str, setting: Setting, one: Comparison) -> str:
    """What the protocol says of a difference and its p-value."""
    pair = f"{in_markdown(setting.label)} less {in_markdown(one.baseline.label)}"
    who = f"- {in_markdown(question)} {pair}: {figures.points(one.difference)} points"
    if one.p is None or one.low is None or one.high is None:
        return f"{who}; {figures.ONE_SEED if one.n == 1 else figures.NO_VARIANCE}, nothing is tested."
    found = "no difference was found" if one.p >= LEVEL else "it helps" if one.difference > 0 else "it harms"
    interval = f"[{figures.points(one.low)}, {figures.points(one.high)}]"
    corrected = f" (Holm {figures.probability(one.p_holm)})" if one.p_holm is not None else ""
    return f"{who} {interval}, p = {figures.probability(one.p)}{corrected}, {one.n} seeds: **{found}**."


def _picture(group: Group, split: str) -> Picture | None:
    whole = [one for one in enumerate(group.settings) if comparing.spread(one[1], split)]
    return marks.forest(whole, split, group.digest[:8]) if whole else None


def _hours(every: Sequence[Run]) -> str:
    """How long they took, by what they were made on."""
    seconds: dict[str, float] = defaultdict(float)
    for run in every:
        seconds[run.result.processor or "a processor that is not named"] += run.result.seconds
    return " ".join(f"{terminal.duration(took)} of training and testing on {where}." for where, took in seconds.items())
