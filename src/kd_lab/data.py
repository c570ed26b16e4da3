"""The rows of a run as batches, for training, evaluation and the quiz."""

from collections.abc import Iterator, Sequence

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from kd_lab.batching import Key, TrainBatches, quiz_positions
from kd_lab.encoding import Batch, Encoder, Encoding
from kd_lab.noise import NOISES, generator_of
from kd_lab.sources import Rows
from kd_lab.splits import Splits

EVALUATION_BATCH = 64


class EncodedRows(Dataset[Batch]):
    """Some rows, encoded once by every distinct tokenizer; noisy ones are encoded anew for each epoch.

    Args:
        rows: of the source.
        numbers: which of them.
        encoders: one per distinct tokenizer.
        seed: of the run, for the noise.
        noise: a name out of ``NOISES``.
        p: its probability, in [0, 1].
    """

    def __init__(
        self,
        rows: Rows,
        numbers: Sequence[int],
        encoders: Sequence[Encoder],
        *,
        seed: int = 0,
        noise: str = "none",
        p: float = 0.0,
    ):
        self.rows, self.numbers, self.encoders = rows, numbers, encoders
        self.seed, self.noise, self.p = seed, noise, p
        texts = [rows.texts[number] for number in numbers]
        self.encodings = {encoder.key: encoder.encode(texts) for encoder in encoders}

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def lengths(self) -> list[int]:
        """Tokens per row, by the first tokenizer."""
        return [len(encoding["input_ids"]) for encoding in self.encodings[self.encoders[0].key]]

    def batch(self, positions: Sequence[int], epoch: int | None = None) -> Batch:
        """The rows at ``positions``; in training ``epoch`` decides the noise, without it there is none."""
        numbers = [self.numbers[position] for position in positions]
        if epoch is None or self.noise == "none" or self.p == 0:
            encoded = {key: [table[position] for position in positions] for key, table in self.encodings.items()}
        else:
            encoded = self._noisy(numbers, epoch)
        return Batch(
            rows=torch.tensor(numbers),
            labels=torch.tensor([self.rows.labels[number] for number in numbers]),
            inputs={encoder.key: encoder.pad(encoded[encoder.key]) for encoder in self.encoders},
        )

    def _noisy(self, numbers: Sequence[int], epoch: int) -> dict[str, list[Encoding]]:
        noise = NOISES[self.noise]
        texts = [noise(self.rows.texts[n], self.p, generator_of(self.seed, epoch, n)) for n in numbers]
        return {encoder.key: encoder.encode(texts) for encoder in self.encoders}

    def __getitem__(self, keys: Sequence[Key]) -> Batch:
        """A whole training batch by its keys, which all name the same epoch."""
        return self.batch([position for _, position in keys], keys[0][0])


class OnePass:
    """A split in batches of rising length, without noise; any number of times."""

    def __init__(self, part: EncodedRows):
        self.part = part
        lengths = part.lengths
        order = sorted(range(len(part)), key=lengths.__getitem__)
        self.batches = [order[i : i + EVALUATION_BATCH] for i in range(0, len(order), EVALUATION_BATCH)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.part.batch, self.batches)


class TextDataModule(LightningDataModule):
    """Train, quiz, validation and test of one run.

    The rows come from ``sources.load`` before torch is imported, since they decide whether the run is done already.

    Args:
        rows: of the source.
        splits: row numbers of each split.
        encoders: of all models of the run; equal ones are used once.
        batch_size: of training.
        seed: of the run: order of batches and draws of noise.
        noise, p: what is done to training sentences.
    """

    def __init__(
        self,
        rows: Rows,
        splits: Splits,
        encoders: Sequence[Encoder],
        *,
        batch_size: int = 32,
        seed: int = 0,
        noise: str = "none",
        p: float = 0.0,
    ):
        super().__init__()
        distinct = list({encoder.key: encoder for encoder in encoders}.values())
        self.batch_size, self.seed = batch_size, seed
        self.first_epoch = 0
        self.parts = {
            name: EncodedRows(rows, numbers, distinct, seed=seed, noise=noise if name == "train" else "none", p=p)
            for name, numbers in splits.items()
        }
        self.quiz_lengths = self.parts["quiz"].lengths

    def train_dataloader(self) -> DataLoader[Batch]:
        """Length-grouped shuffled batches, each epoch's a function of (seed, epoch)."""
        part = self.parts["train"]
        batches = TrainBatches(part.lengths, self.batch_size, self.seed, self.first_epoch)
        return DataLoader(part, sampler=batches, batch_size=None)

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
