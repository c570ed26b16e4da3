"""The parts of a quiz that a process works on, and the weight of their rows in the quiz loss."""

from collections.abc import Iterator, Sequence

from kd_lab import ranks
from kd_lab.encoding import Batch

START = 128  # tokens of a small model in the time that its shortest pass takes: weights have to be read and written


def sheets(quiz: Sequence[Batch], alike: str | None, micro_batch_size: int | None) -> list[tuple[Batch, float]]:
    """The parts of a quiz that are this process's, and the weight of a row of each in the quiz loss.

    Args:
        quiz: its batches, whose mean loss counts.
        alike: the tokenizer by which the rows of a part are of like length, since a quiz is small and its batches mix
            lengths; None leaves them as they are, for a machine that would rather have few large passes.
        micro_batch_size: rows of a part at most; None is no limit.
    """
    own = [(len(whole), *ranks.own(whole)) for whole in quiz]
    return [
        (part, weight / rows / len(quiz))
        for rows, mine, weight in own
        for part in _parts(mine, alike, micro_batch_size)
    ]


def _parts(quiz: Batch, alike: str | None, size: int | None) -> Iterator[Batch]:
    for part in [quiz] if alike is None else quiz.of_like_length(alike, START):
        yield from part.split(size)
