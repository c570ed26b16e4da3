"""Batches of rows of like length, so that little is padded. A batch is a function of (seed, epoch, position)."""

import math
import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

BATCHES_PER_BUCKET = 50
BUCKETS_PER_QUIZ, FEWEST_BATCHES = 10, 2  # a quiz is small: larger buckets would make the same batches in every pass
ROWS_TOGETHER, COLUMNS_TOGETHER = 8, 4
"""What the shapes of parts are multiples of: a matrix product of a new shape costs milliseconds the first time."""

Key = tuple[int, int]
"""(epoch, position in the split): with the seed, all that decides what a row looks like."""


def length_grouped(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Positions 0 … len(lengths) − 1 once each, in shuffled batches of like length; only one may be short.

    All positions are shuffled and cut into buckets of 50 batches; each bucket is sorted by length and cut into
    batches, and the batches are shuffled.
    """
    draw = random.Random(f"batches/{seed}/{epoch}")
    order = draw.sample(range(len(lengths)), len(lengths))
    batches = _buckets(order, lengths, batch_size, BATCHES_PER_BUCKET)
    return draw.sample(batches, len(batches))


def _buckets(order: Sequence[int], lengths: Sequence[int], batch_size: int, per_bucket: int) -> list[list[int]]:
    batches = []
    for start in range(0, len(order), batch_size * per_bucket):
        bucket = sorted(order[start : start + batch_size * per_bucket], key=lengths.__getitem__)
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return batches


class TrainBatches(Sampler[list[Key]]):
    """Yields each training batch of an epoch as keys (epoch, position).

    ``start`` batches are left out of the next pass, and of no other.

    Args:
        lengths: tokens per row.
        batch_size: rows per batch.
        seed: the run's seed.
        epoch: the first epoch's number. Warm-up epochs are negative.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: int = 0):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, epoch
        self.first_epoch = epoch
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch, counting from 0."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        start, self.start = self.start, 0
        for batch in length_grouped(self.lengths, self.batch_size, self.seed, self.epoch)[start:]:
            yield [(self.epoch, position) for position in batch]


def of_like_length(lengths: Sequence[int], start: int) -> list[list[int]]:
    """Positions 0 … len(lengths) − 1 once each, in groups of like length: the grouping that costs least.

    A group costs its rows times its longest length, and ``start`` tokens for being one more group. All groups but one
    have a multiple of ``ROWS_TOGETHER`` rows.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ends = [*range(len(order), 0, -ROWS_TOGETHER), 0][::-1]
    cheapest: dict[int, tuple[int, int]] = {0: (0, 0)}
    for number, end in enumerate(ends[1:], 1):
        longest = lengths[order[end - 1]]
        cheapest[end] = min((cheapest[begin][0] + (end - begin) * longest + start, begin) for begin in ends[:number])
    groups, end = [], len(order)
    while end:
        groups.append(order[cheapest[end][1] : end])
        end = cheapest[end][1]
    return groups[::-1]


def quiz_positions(lengths: Sequence[int], batch_size: int, seed: int, number: int) -> list[int]:
    """The positions of quiz batch ``number``, counted through all passes over the quiz.

    Every batch is full: the few rows that a pass leaves over are others in the next pass. A quiz no larger than
    ``batch_size`` is one batch.
    """
    size = min(batch_size, len(lengths))
    per_pass = len(lengths) // size
    draw = random.Random(f"quiz/{seed}/{number // per_pass}")
    order = draw.sample(range(len(lengths)), per_pass * size)
    batches = _buckets(order, lengths, size, max(FEWEST_BATCHES, per_pass // BUCKETS_PER_QUIZ))
    return draw.sample(batches, len(batches))[number % per_pass]
