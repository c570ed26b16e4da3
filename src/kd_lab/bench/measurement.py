"""One variant, measured in a process of its own."""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from pydantic import BaseModel
from torch.utils.flop_counter import FlopCounterMode

from kd_lab import building, catalogue, machine, memory, models, precision, quiet
from kd_lab.bench import passes, yardsticks
from kd_lab.bench.variants import ROWS, Bench, Variant
from kd_lab.data import OneAhead, TextDataModule
from kd_lab.distiller import Distiller
from kd_lab.encoding import Batch, Encoder
from kd_lab.hypergradient import from_labels
from kd_lab.models import TeacherEnsemble
from kd_lab.optimization import Optimization
from kd_lab.sources import Rows
from kd_lab.splits import Splits

T = TypeVar("T")
COUNTED = 2
"""Batches whose operations are counted, if a teacher update takes no more: counting takes as long as a step."""


class Measurement(BaseModel):
    """One process's figures, means over its timed steps.

    ``seconds`` of a step, loop and data included; ``waiting`` of it for data; ``passes`` by name, in seconds; ``peak``
    bytes of tensors above models and optimizers in one step; ``operations`` a step; ``share`` of the matmul peak;
    ``cosine`` of the hypergradient with the unrolled one in float64, without dropout.
    """

    seconds: float
    waiting: float
    passes: dict[str, float]
    peak: int | None
    operations: float
    share: float
    cosine: float | None


def measure(variant: Variant, bench: Bench, rows: Rows, cut: Splits) -> Measurement:
    """Train some steps of ``variant`` and watch."""
    memory.keep_freed()
    quiet.libraries()
    settings = variant.settings
    seed_everything(settings.seed, verbose=False)
    yardsticks.touch_memory()
    with precision.of(settings.precision, settings.trainer.accelerator):
        method, data = _made(variant, bench, rows, cut)
        brief = bench.quick and ROWS[variant.row].slow
        steps, warm_up = variant.steps(bench), 1 if brief else variant.steps(bench) + 1
        watch = Stopwatch(warm_up, walks=not brief, cosine=not bench.quick)
        trainer = Trainer(
            accelerator=settings.trainer.accelerator,
            devices=settings.trainer.devices,
            precision=precision.LIGHTNING[settings.precision],
            max_steps=warm_up + steps,
            limit_val_batches=0,
            logger=False,
            enable_progress_bar=False,
            callbacks=[watch],
            **machine.QUIET,
        )
        trainer.fit(method, _in_rounds(data, steps), data.val_dataloader())
        return watch.measurement


class Stopwatch(Callback):
    """Watches a fit: steps as they come, and after each timed one its passes, one by one."""

    measurement: Measurement

    def __init__(self, warm_up: int, *, walks: bool, cosine: bool):
        self.warm_up, self.walks, self.cosine = warm_up, walks, cosine
        self.memory = yardsticks.Memory()
        self.mark, self.waited = 0.0, 0.0
        self.steps: list[tuple[float, float]] = []
        self.passes: dict[str, float] = defaultdict(float)
        self.counted: list[float] = []
        self.batch: Batch | None = None

    def on_train_start(self, trainer: Trainer, method: LightningModule) -> None:
        """The clock runs."""
        self.mark = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, method: Any, batch: Batch, index: int) -> None:
        """The batch has come; the steps of warming up are watched for memory."""
        self.waited = time.perf_counter() - self.mark
        if self._weighed(index):
            self.memory.start(method)

    def on_train_batch_end(self, trainer: Trainer, method: Any, outputs: object, batch: Batch, index: int) -> None:
        """Step, then passes; the time between two steps is the loop's."""
        yardsticks.finish(method.device)
        if index >= self.warm_up:
            self.steps.append((time.perf_counter() - self.mark, self.waited))
            with trainer.precision_plugin.forward_context():
                self._walk(method, batch, trainer.global_step - 1)
        elif self._weighed(index):
            self.memory.stop(method)
        self.batch = batch
        self.mark = time.perf_counter()

    def _weighed(self, index: int) -> bool:
        # The optimizers' states come with the first step.
        return 1 <= index < self.warm_up

    def _walk(self, method: Distiller, batch: Batch, step: int) -> None:
        in_parts = method.micro_batch_size is not None and method.micro_batch_size < len(batch)
        if not self.walks or in_parts or getattr(method, "hypergradient", None) is from_labels:
            return  # steps of other passes than are walked

        def timed(name: str, run: Callable[[], T]) -> T:
            start = time.perf_counter()
            outcome = run()
            yardsticks.finish(method.device)
            self.passes[name] += time.perf_counter() - start
            return outcome

        passes.walk(method, batch, step, timed)
        if len(self.counted) < max(COUNTED, getattr(method, "teacher_every", 1)):
            with FlopCounterMode(display=False, custom_mapping=yardsticks.FLOPS) as counter:
                passes.walk(method, batch, step, lambda name, run: run())
            self.counted.append(float(counter.get_total_flops()))

    def on_train_end(self, trainer: Trainer, method: Any) -> None:
        """What is measured once: the machine's peak, and how true the hypergradient is."""
        timed = len(self.steps)
        seconds = sum(step for step, _ in self.steps) / timed
        of_counted = sum(step for step, _ in self.steps[: len(self.counted)])
        with trainer.precision_plugin.forward_context():
            peak = yardsticks.matmul_peak(method.device)
            true = None if not self.cosine or self.batch is None else yardsticks.cosine(method, self.batch)
        self.measurement = Measurement(
            seconds=seconds,
            waiting=sum(waited for _, waited in self.steps) / timed,
            passes={name: total / timed for name, total in self.passes.items()},
            peak=self.memory.peak or None,
            operations=sum(self.counted) / len(self.counted) if self.counted else 0.0,
            share=sum(self.counted) / of_counted / peak if self.counted else 0.0,
            cosine=true,
        )


def _made(variant: Variant, bench: Bench, rows: Rows, cut: Splits) -> tuple[Distiller, TextDataModule]:
    """Method and data; heads are fresh, since what a teacher knows takes no time."""
    s = variant.settings
    names = [s.student, *s.teacher_names]
    student, *members = (
        models.load(catalogue.locate(name, s.models), rows.label_names, s.data.max_length) for name in names
    )
    for model in (student, *members):
        if variant.padding:
            model.encoder = Padded(model.encoder, variant.padding)
    data = TextDataModule.of(s, rows, cut, [model.encoder for model in (student, *members)])
    teachers = TeacherEnsemble(members) if members else None
    if teachers is not None and ROWS[variant.row].remembers:
        numbers = data.parts["train"].numbers
        teachers.remember(numbers, torch.zeros(len(members), len(numbers), len(rows.label_names)))
        data.parts["train"].for_the_student()
    quizzes = max(1, variant.steps(bench) // s.method.teacher_every) * s.method.quiz_batches
    machinery: Any = {
        "optimization": Optimization(s.lr, s.weight_decay),
        "micro_batch_size": s.micro_batch_size,
        "seed": s.seed,
        "quiz": lambda number, size: data.quiz_batch(number % quizzes, size),
    }
    return building.build(s.method, student, teachers, **machinery), data


def _in_rounds(data: TextDataModule, steps: int) -> OneAhead:
    """The first training batch once, then the first ``steps`` batches over and over.

    A product of matrices costs more the first time it is met with its shape, and so does memory: in a long run both
    are rare.
    """
    loader = data.train_dataloader()
    keys = list(itertools.islice(loader.sampler, steps))
    return OneAhead(data.parts["train"], sampler=[keys[0], *keys, *keys], batch_size=None)


class Padded(Encoder):
    """An encoder that pads every batch to ``length`` tokens."""

    def __init__(self, encoder: Encoder, length: int):
        super().__init__(encoder.tokenizer, min(encoder.max_length, length))
        self.length = length

    def width(self, longest: int) -> int:
        """Always ``length``."""
        return self.length
