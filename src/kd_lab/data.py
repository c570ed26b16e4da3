"""The rows of a run as batches, for training, evaluation and the quiz."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Self

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from kd_lab import tensor_cache
from kd_lab.batching import Key, TrainBatches, quiz_positions
from kd_lab.encoding import Batch, Encoded, Encoder, Encoding
from kd_lab.noise import Noise, vocabulary
from kd_lab.settings import Settings
from kd_lab.sources import Rows
from kd_lab.splits import Splits

EVALUATION_BATCH = 64


class EncodedRows(Dataset[Batch]):
    """Some rows, encoded once by every distinct tokenizer; noisy sentences are encoded anew for each epoch.

    Args:
        rows: of the source.
        numbers: which of them.
        encoders: the student's first, then the teachers'.
        noise: what is done to the rows; none without it.
        clean_for_teachers: whether the teachers see the sentences without it.
    """

    def __init__(
        self,
        rows: Rows,
        numbers: Sequence[int],
        encoders: Sequence[Encoder],
        *,
        noise: Noise | None = None,
        clean_for_teachers: bool = False,
    ):
        self.rows, self.numbers, self.noise = rows, numbers, noise or Noise()
        self.encoders, self.teachers_encoders = _distinct(encoders), _distinct(encoders[1:])
        self.clean_for_teachers = clean_for_teachers and self.noise.changes_text
        classes = len(rows.label_names)
        self.labels = [self.noise.label(rows.labels[number], classes, number) for number in numbers]

    def for_the_student(self) -> None:
        """From now on only the student reads these rows."""
        self.encoders, self.clean_for_teachers = self.encoders[:1], False

    @cached_property
    def encodings(self) -> dict[str, Encoded]:
        """By tokenizer, of every row without noise; kept for the next run."""
        texts = [self.rows.texts[number] for number in self.numbers]
        content = hashlib.sha256(json.dumps(texts).encode()).hexdigest()

        def once(encoder: Encoder) -> Encoded:
            key = {"tokenizer": encoder.key, "max_length": encoder.max_length, "texts": content}
            return Encoded(**tensor_cache.cached("encodings", key, lambda: vars(encoder.encode(texts))))

        return {encoder.key: once(encoder) for encoder in self.encoders}

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def lengths(self) -> list[int]:
        """Tokens per row, by the student's tokenizer."""
        return self.encodings[self.encoders[0].key].lengths.tolist()

    def batch(self, positions: Sequence[int], epoch: int | None = None) -> Batch:
        """The rows at ``positions``; ``epoch`` decides the noise on the sentences, without it there is none."""
        noisy = epoch is not None and self.noise.changes_text
        for_teachers = noisy and self.clean_for_teachers
        readers = self.encoders[:1] if for_teachers else self.encoders
        return Batch(
            rows=torch.tensor([self.numbers[position] for position in positions]),
            labels=torch.tensor([self.labels[position] for position in positions]),
            inputs=self._noisy(positions, readers, epoch or 0) if noisy else self._clean(positions, readers),
            clean=self._clean(positions, self.teachers_encoders) if for_teachers else {},
        )

    def _clean(self, positions: Sequence[int], encoders: Sequence[Encoder]) -> dict[str, Encoding]:
        return {encoder.key: encoder.pad(self.encodings[encoder.key], positions) for encoder in encoders}

    def _noisy(self, positions: Sequence[int], encoders: Sequence[Encoder], epoch: int) -> dict[str, Encoding]:
        numbers = [self.numbers[position] for position in positions]
        texts = [self.noise.sentence(self.rows.texts[number], epoch, number) for number in numbers]
        return {encoder.key: encoder.pad(encoder.encode(texts)) for encoder in encoders}

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        """A whole training batch by its keys, which all name the same epoch."""
        return self.batch([position for _, position in keys], keys[0][0])


def _distinct(encoders: Sequence[Encoder]) -> list[Encoder]:
    return list({encoder.key: encoder for encoder in encoders}.values())


class OnePass:
    """Rows in batches of rising length; any number of times. Without ``epoch`` there is no noise on them."""

    def __init__(self, part: EncodedRows, epoch: int | None = None):
        self.part, self.epoch = part, epoch
        lengths = part.lengths
        order = sorted(range(len(part)), key=lengths.__getitem__)
        self.batches = [order[i : i + EVALUATION_BATCH] for i in range(0, len(order), EVALUATION_BATCH)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return (self.part.batch(positions, self.epoch) for positions in self.batches)


class OneAhead(DataLoader[Batch]):
    """Makes each batch in a thread of its own, noise and tokenizer and all, while the one before is trained on."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches in order."""
        batches = super().__iter__()
        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(next, batches, None)
            while (batch := ahead.result()) is not None:
                ahead = thread.submit(next, batches, None)
                yield batch


class TextDataModule(LightningDataModule):
    """Train, quiz, validation and test of one run.

    The rows come from ``sources.load`` before torch is imported, since they decide whether the run is done already.

    Args:
        rows: of the source.
        splits: row numbers of each split.
        encoders: the student's first, then the teachers'; equal ones are used once.
        batch_size: of training.
        seed: of the run: order of batches and draws of noise.
        workers: processes that prepare training batches; without any it is a thread.
        noise, p: what is done to training rows; a name of :mod:`kd_lab.noise` and its probability.
        clean_for_teachers: whether the teachers see the sentences without it.
        train_on_quiz: whether the quiz rows are training rows as well.
        quiz_rows: the quiz is made of the first so many of its rows; None is all.
    """

    def __init__(
        self,
        rows: Rows,
        splits: Splits,
        encoders: Sequence[Encoder],
        *,
        batch_size: int = 32,
        seed: int = 0,
        workers: int = 0,
        noise: str = "none",
        p: float = 0.0,
        clean_for_teachers: bool = False,
        train_on_quiz: bool = False,
        quiz_rows: int | None = None,
    ):
        super().__init__()
        self.rows = rows
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.first_epoch = 0
        training = (*splits.train, *(splits.quiz if train_on_quiz else ()))
        words = vocabulary(rows.texts[number] for number in training) if noise == "vocabulary" else ()
        self.parts = {name: EncodedRows(rows, numbers, encoders) for name, numbers in splits.items()}
        self.parts["train"] = EncodedRows(
            rows, training, encoders, noise=Noise(noise, p, seed, words), clean_for_teachers=clean_for_teachers
        )
        self.quiz_lengths = self.parts["quiz"].lengths[:quiz_rows]

    @classmethod
    def of(cls, settings: Settings, rows: Rows, splits: Splits, encoders: Sequence[Encoder]) -> Self:
        """With all else as the settings of a run have it."""
        return cls(
            rows,
            splits,
            encoders,
            batch_size=settings.batch_size,
            seed=settings.seed,
            workers=settings.trainer.workers,
            noise=settings.noise.name,
            p=settings.noise.p,
            clean_for_teachers=settings.noise.teacher_sees == "clean",
            train_on_quiz=settings.method.train_on_quiz,
            quiz_rows=settings.method.quiz_rows,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Length-grouped shuffled batches, each epoch's a function of (seed, epoch)."""
        part = self.parts["train"]
        batches = TrainBatches(part.lengths, self.batch_size, self.seed, self.first_epoch)
        return OneAhead(part, sampler=batches, batch_size=None, num_workers=self.workers)

    def val_dataloader(self) -> OnePass:
        """The validation split."""
        return self.one_pass("validation")

    def one_pass(self, name: str) -> OnePass:
        """A split's batches for evaluation."""
        return OnePass(self.parts[name])

    def quiz_batch(self, number: int, size: int) -> Batch:
        """Quiz batch ``number``, counted through the whole run, of at most ``size`` rows; batches of like length go
        round the quiz, each time in another order.
        """
        return self.parts["quiz"].batch(quiz_positions(self.quiz_lengths, size, self.seed, number))
