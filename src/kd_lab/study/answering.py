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

    Nothing is said of a question before both its rows have all their seeds: a verdict that is looked at while runs come
    in is no test any more.
    """
    if not stage.questions or stage.split not in SPLITS:
        return
    known = {setting.label: setting for setting in group.settings}
    whole = {name for name, setting in known.items() if len(setting.runs) == len(stage.seeds)}
    asked = {question: pair for question, pair in stage.questions.items() if whole.issuperset(pair)}
    first, second = [known[one] for one, _ in asked.values()], [known[other] for _, other in asked.values()]
    compared = {split: comparing.compare(first, second, split) for split in SPLITS}
    verdicts = dict(zip(asked, compared[stage.split], strict=True))
    lines = [_line(question, pair, verdicts.get(question)) for question, pair in stage.questions.items()]
    yield "\n".join(["### Answers", "", *lines])
    for split in sorted(SPLITS, key=lambda split: split != stage.split):
        if any(compared[split]):
            yield of_table(tables.tests(group, figures.of(group, compared[split], split, False, first), split))


def _line(question: str, pair: tuple[str, str], one: Comparison | None) -> str:
    """What the protocol says of a difference and its p-value."""
    who = f"- {in_markdown(question)} {' less '.join(map(in_markdown, pair))}"
    if one is None:
        return f"{who}: not all seeds are there yet."
    who += f": {figures.points(one.difference)} points"
    if one.p is None or one.low is None or one.high is None:
        return f"{who}; {figures.ONE_SEED if one.n == 1 else figures.NO_VARIANCE}, nothing is tested."
    found = "no difference was found" if one.p >= LEVEL else "it helps" if one.difference > 0 else "it harms"
    interval = f"[{figures.points(one.low)}, {figures.points(one.high)}]"
    corrected = f" (Holm {figures.probability(one.p_holm)})" if one.p_holm is not None else ""
    return f"{who} {interval}, p = {figures.probability(one.p)}{corrected}, {one.n} seeds: **{found}**."
