"""Answers to the questions of a stage, by what its protocol counts as one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kd_lab.report import comparing, figures, marks, tables
from kd_lab.report.comparing import SPLITS, Comparison
from kd_lab.report.gathering import Group, Setting
from kd_lab.report.pictures import Picture
from kd_lab.report.rendering import in_markdown, of_table
from kd_lab.study.plans import Stage

ALPHA = 0.05


@dataclass(frozen=True)
class Tested:
    """What the tests say of each question: on the split the stage is judged on, then on the other one."""

    firsts: list[Setting]
    by_split: dict[str, list[Comparison | None]]


def test(stage: Stage, group: Group) -> Tested | None:
    """The tests of all questions, or none before all rows that are asked about have all their seeds.

    A verdict that is looked at while runs come in is no test any more, and Holm's correction is over all questions.
    """
    known = {setting.label: setting for setting in group.settings}
    whole = {name for name, setting in known.items() if len(setting.runs) == len(stage.seeds)}
    pairs = stage.questions.values()
    if not pairs or not all(whole.issuperset(pair) for pair in pairs):
        return None
    firsts, seconds = [known[one] for one, _ in pairs], [known[other] for _, other in pairs]
    splits = sorted(SPLITS, key=lambda split: split != stage.split)
    return Tested(firsts, {split: comparing.compare(firsts, seconds, split) for split in splits})


def lines(stage: Stage, tested: Tested | None) -> str:
    """Each question on a line of a list, with its answer where there is one; then each claim."""
    if tested is None:
        return "\n".join(["Answered when all runs are there:", "", *map(_asked, stage.questions.items())])
    found = zip(*tested.by_split.values(), strict=True)
    answers = [
        _line(one, dict(zip(tested.by_split, those, strict=True)))
        for one, those in zip(stage.questions.items(), found, strict=True)
    ]
    better = {asked for asked, one in zip(stage.questions, tested.by_split[stage.split], strict=True) if _better(one)}
    return "\n".join([*answers, *(_claim(*one, better) for one in stage.claims.items())])


def picture(stage: Stage, tested: Tested, key: str) -> Picture:
    """All differences, of which there is at least one."""
    by_question = zip(*tested.by_split.values(), strict=True)
    asked = {
        f"{question} {' minus '.join(pair)}": {
            split: one for split, one in zip(tested.by_split, found, strict=True) if one
        }
        for (question, pair), found in zip(stage.questions.items(), by_question, strict=True)
    }
    return marks.differences({label: known for label, known in asked.items() if known}, list(tested.by_split), key)


def test_tables(group: Group, tested: Tested) -> Iterator[str]:
    """All that the tests say, a table for each split."""
    for split, found in tested.by_split.items():
        if any(found):
            yield of_table(tables.tests(group, figures.of(group, found, split, False, tested.firsts), split))


def _asked(question: tuple[str, tuple[str, str]]) -> str:
    asked, pair = question
    return f"- {in_markdown(asked)} {' minus '.join(f'*{in_markdown(name)}*' for name in pair)}"


def _line(question: tuple[str, tuple[str, str]], by_split: Mapping[str, Comparison | None]) -> str:
    """A question, what the protocol says of the difference on the split of record, and figures alone of the others."""
    judged, *others = by_split
    found = by_split[judged]
    said = f"{_figures(found)}{_verdict(question[1][0], found)}" if found else "nothing to compare"
    beside = (
        f"; on the {split} split {_figures(one)}{_corrected(one)}" for split in others if (one := by_split[split])
    )
    return f"{_asked(question)}: {said}{''.join(beside)}."


def _figures(one: Comparison) -> str:
    said = f"{figures.points(one.difference)} points"
    if one.p is None or one.low is None or one.high is None:
        return f"{said}, {figures.ONE_SEED if one.n == 1 else figures.NO_VARIANCE}, nothing is tested"
    interval = f"[{figures.end(one.low)}, {figures.end(one.high)}]"
    return f"{said} {interval}, p = {figures.probability(one.p)}, {one.n} seeds"


def _verdict(first: str, one: Comparison) -> str:
    if one.p is None:
        return ""
    if one.p >= ALPHA:
        return ": **no difference was found**"
    but = [] if one.p_holm is None or one.p_holm < ALPHA else ["not after Holm's correction"]
    if one.over_rows and one.over_rows[0] <= 0 <= one.over_rows[1]:
        but.append("for other rows too the interval holds 0")
    doubts = f" ({'; '.join(but)})" if but else ""
    return f": **{in_markdown(first)} is {'better' if one.difference > 0 else 'worse'}**{doubts}"


def _corrected(one: Comparison) -> str:
    """What would be taken for a finding is said with Holm's correction at once: the split is not the one of record."""
    shown = one.p is not None and one.p < ALPHA and one.p_holm is not None
    return f" (p = {figures.probability(one.p_holm)} after Holm's correction)" if shown and one.p_holm else ""


def _better(one: Comparison | None) -> bool:
    return one is not None and one.p is not None and one.p < ALPHA and one.difference > 0


def _claim(claim: str, needed: Sequence[str], better: Collection[str]) -> str:
    """Holds where every question it needs was answered with *better*: such a claim needs no correction."""
    count = sum(asked in better for asked in needed)
    said = "it holds" if count == len(needed) else "it was not shown"
    return f"- {in_markdown(claim)} Better in {count} of the {len(needed)} comparisons that it needs: **{said}**."
