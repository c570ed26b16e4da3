"""Questions that several stages ask of rows of the same names, at other seeds or on other cuts, answered by all."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kd_lab.report import comparing
from kd_lab.report.comparing import Comparison
from kd_lab.study.answering import Tested
from kd_lab.study.kept import Kept
from kd_lab.study.plans import Stage

Asked = list[tuple[Kept, int]]
"""Stages, and which of its questions it is in each."""


@dataclass(frozen=True)
class Pooled:
    """What several stages ask, with what they found together.

    Attributes:
        names: of the stages.
        stage: that asks these questions alone.
        tested: their answers.
    """

    names: Sequence[str]
    stage: Stage
    tested: Tested


def pool(stages: Sequence[Kept]) -> Iterator[Pooled]:
    """All that is asked more than once and judged on the same split, once every stage that asks it has answered."""
    asked: dict[tuple[str, tuple[str, str], str], Asked] = defaultdict(list)
    for one in stages:
        for number, (question, pair) in enumerate(one.stage.questions.items()):
            asked[question, pair, one.stage.split].append((one, number))
    alike: dict[tuple[str, ...], dict[str, Asked]] = defaultdict(dict)
    for (question, *_), those in asked.items():
        if len(those) > 1 and all(any(one.tested) for one, _ in those):
            alike[tuple(one.name for one, _ in those)][question] = those
    for names, questions in alike.items():
        yield Pooled(names, *_answered(questions))


def _answered(questions: dict[str, Asked]) -> tuple[Stage, Tested]:
    """Holm's correction is over these questions; for other rows too there is no interval, their rows differ."""
    (first, _), *_ = next(iter(questions.values()))
    pairs = {question: those[0][0].stage.questions[question] for question, those in questions.items()}
    stage = first.stage.model_copy(update={"questions": pairs, "claims": {}})
    splits = _tested(first).by_split
    by_split = {split: [_found(those, split) for those in questions.values()] for split in splits}
    for found in by_split.values():
        comparing.correct(found)
    return stage, Tested([_tested(those[0][0]).firsts[those[0][1]] for those in questions.values()], by_split)


def _found(those: Asked, split: str) -> Comparison | None:
    found = [_tested(one).by_split[split][number] for one, number in those]
    known = [one for one in found if one]
    return comparing.pooled(known) if len(known) == len(found) else None


def _tested(one: Kept) -> Tested:
    """Of the group that has all runs: no other can have them as well."""
    return next(tested for tested in one.tested if tested)
