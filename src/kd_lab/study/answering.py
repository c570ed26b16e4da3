"""Answers to the questions of a stage, by what its protocol counts as one."""

from collections.abc import Iterator

from kd_lab.report import comparing, figures, tables
from kd_lab.report.comparing import SPLITS, Comparison
from kd_lab.report.gathering import Group
from kd_lab.report.rendering import in_markdown, of_table
from kd_lab.study.plans import Stage

LEVEL = 0.05


def answers(stage: Stage, group: Group) -> Iterator[str]:
    """A line for each question, and the tests: on the split the stage is judged on, and on the other one.

    Nothing is said before all rows that are asked about have all their seeds: a verdict that is looked at while runs
    come in is no test any more, and Holm's correction is over all questions.
    """
    if not stage.questions:
        return
    known = {setting.label: setting for setting in group.settings}
    whole = {name for name, setting in known.items() if len(setting.runs) == len(stage.seeds)}
    pairs = stage.questions.values()
    if not all(whole.issuperset(pair) for pair in pairs):
        yield "\n".join(
            ["### Questions", "", "Answered when all runs are there:", "", *map(_asked, stage.questions.items())]
        )
        return
    first, second = [known[one] for one, _ in pairs], [known[other] for _, other in pairs]
    compared = {split: comparing.compare(first, second, split) for split in SPLITS}
    lines = [_line(*one) for one in zip(stage.questions.items(), compared[stage.split], strict=True)]
    yield "\n".join(["### Answers", "", *lines])
    for split in sorted(SPLITS, key=lambda split: split != stage.split):
        if any(compared[split]):
            yield of_table(tables.tests(group, figures.of(group, compared[split], split, False, first), split))


def _asked(question: tuple[str, tuple[str, str]]) -> str:
    asked, pair = question
    return f"- {in_markdown(asked)} {' less '.join(map(in_markdown, pair))}"


def _line(question: tuple[str, tuple[str, str]], one: Comparison | None) -> str:
    """What the protocol says of a difference and its p-value."""
    if one is None:
        return f"{_asked(question)}: nothing to compare."
    who = f"{_asked(question)}: {figures.points(one.difference)} points"
    if one.p is None or one.low is None or one.high is None:
        return f"{who}; {figures.ONE_SEED if one.n == 1 else figures.NO_VARIANCE}, nothing is tested."
    found = "no difference was found" if one.p >= LEVEL else "it helps" if one.difference > 0 else "it harms"
    interval = f"[{figures.points(one.low)}, {figures.points(one.high)}]"
    corrected = f" (Holm {figures.probability(one.p_holm)})" if one.p_holm is not None else ""
    return f"{who} {interval}, p = {figures.probability(one.p)}{corrected}, {one.n} seeds: **{found}**."
