"""Batches of rows of like length, so that little is padded. A batch is a function of (seed, epoch, position)."""

import math
import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

BATCHES_PER_BUCKET = 50

Key = tuple[int, int]
"""(epoch, position in the split): with the seed, all that decides what a row looks like."""


def length_grouped(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Positions 0 … len(lengths) − 1 once each, in shuffled batches of like length; only one may be short.

    All positions are shuffled and cut into buckets of 50 batches; each bucket is sorted by length and cut into
    batches, and the batches are shuffled.
    """
    draw = random.Random(f"batches/{seed}/{epoch}")
    order = list(range(len(lengths)))
    draw.shuffle(order)
    size = batch_size * BATCHES_PER_BUCKET
    batches = []
    for start in range(0, len(order), size):
        bucket = sorted(order[start : start + size], key=lambda position: lengths[position])
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    draw.shuffle(batches)
    return batches


class TrainBatches(Sampler[list[Key]]):
    """Yields each training batch of an epoch as keys (epoch, position).

    Args:
        lengths: tokens per row.
        batch_size: rows per batch.
        seed: the run's seed.
        epoch: the first epoch's number; each pass over the sampler goes to the next. Warm-up epochs are negative.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, epoch: int = 0):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, epoch
        self.first_epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch, counting from 0."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in length_grouped(self.lengths, self.batch_size, self.seed, self.epoch):
            yield [(self.epoch, position) for position in batch]


def quiz_positions(lengths: Sequence[int], batch_size: int, seed: int, number: int) -> list[int]:
    """The positions of quiz batch ``number``, counted through all passes over the quiz."""
    per_pass = math.ceil(len(lengths) / batch_size)
    return length_grouped(lengths, batch_size, seed, number // per_pass)[number % per_pass]
