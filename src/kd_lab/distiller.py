"""What all methods share: steps, clipping, evaluation and logging, under manual optimization."""

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.classification import MulticlassAccuracy

from kd_lab import excerpt, ranks
from kd_lab.diagnostics import Ledger, agreement
from kd_lab.encoding import Batch
from kd_lab.errors import UserError
from kd_lab.models import Classifier, TeacherEnsemble
from kd_lab.optimization import Optimization


class Distiller(LightningModule):
    """A student, its teachers and how they are trained.

    A method implements :meth:`loss`; one that trains the teachers as well sets ``teachers_learn`` and overrides
    ``training_step``.

    Args:
        student: learns.
        teachers: teach, in eval mode throughout; None for a method that needs none.
        optimization: of the student; teachers take all but the learning rate from it.
        quiz: (number, size) -> quiz batch, for methods with a quiz.
        micro_batch_size: rows that are in memory at a time; the whole batch without it. The gradient is the batch's.
        seed: of the run; every step's dropout is a function of (seed, step), whatever came before.
        prefix: of the metrics' names.
    """

    teachers_learn: ClassVar[bool] = False

    def __init__(
        self,
        student: Classifier,
        teachers: TeacherEnsemble | None = None,
        *,
        optimization: Optimization | None = None,
        quiz: Callable[[int, int], Batch] | None = None,
        micro_batch_size: int | None = None,
        seed: int = 0,
        prefix: str = "",
    ):
        super().__init__()
        self.automatic_optimization = False
        # Checkpoints leave out teachers that do not move.
        self.strict_loading = False
        self.student, self.teachers = student, teachers
        self.optimization, self.quiz = optimization or Optimization(), quiz
        self.micro_batch_size, self.seed, self.prefix = micro_batch_size, seed, prefix
        if teachers is not None:
            teachers.requires_grad_(self.teachers_learn)
        classes = int(student.model.config.num_labels)
        self.accuracy = MulticlassAccuracy(classes, average="micro")
        self.teacher_updates = 0
        self.seconds = 0.0  # in which the student has answered
        self.validated: list[dict[str, Tensor]] = []
        self.ledger = Ledger()

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """What the student minimises on a training batch, a scalar: a mean over its rows."""

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Seed the step's dropout."""
        mine = f"/{self.global_rank}" if self.global_rank else ""
        torch.manual_seed(random.Random(f"dropout/{self.seed}/{self.prefix}{self.global_step}{mine}").getrandbits(63))

    def training_step(self, batch: Batch, index: int) -> None:
        """One step of the student."""
        with self.student.excerpt(batch):
            self.learn(self.losses(batch))
        self.move_student()

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        """What each micro-batch adds to the loss of ``batch``, which is a mean over rows."""
        for part, share in self.parts(batch):
            yield self.loss(part) * share

    def parts(self, batch: Batch) -> list[tuple[Batch, float]]:
        """The micro-batches of ``batch`` that are this process's, and the share of each in the batch."""
        mine, weight = ranks.own(batch)
        return [(part, weight * len(part) / len(batch)) for part in mine.split(self.micro_batch_size)]

    def learn(self, losses: Iterable[Tensor]) -> None:
        """The student's clipped gradient of the sum of ``losses``, one graph at a time.

        Raises:
            UserError: if the loss or its gradient is not a finite number.
        """
        excerpt.drop_gradients(self.student)
        total = torch.zeros((), device=self.device)
        for loss in losses:
            self.manual_backward(loss)
            total += loss.detach()
        ranks.add_up([total, *(p.grad for p in self.student.parameters() if p.grad is not None)])
        self.clip(self.student, total)
        self.ledger.losses.append(total)
        self.ledger.latest[f"{self.prefix}train/loss"] = total

    def count(self, student: Tensor, taught: Tensor, labels: Tensor) -> None:
        """Note where student [B, C] and teachers [K, B, C] agree on a training batch, and who is right."""
        self.ledger.agreements.append(agreement(student.detach(), taught, labels))

    def move_student(self) -> None:
        """The student's optimizer and schedule, along the gradient that :meth:`learn` left."""
        self._all(self.optimizers())[0].step()
        self._all(self.lr_schedulers())[0].step()
        excerpt.drop_gradients(self.student)

    def accept(self, gradients: Sequence[Tensor], loss: Tensor) -> None:
        """Set the teachers' ``gradients``, one per parameter, of ``loss``, log their norm, then clip them."""
        assert self.teachers is not None
        for parameter, gradient in zip(self.teachers.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.ledger.latest[f"{self.prefix}teacher/gradient_norm"] = self.clip(self.teachers, loss)

    def move_teachers(self) -> None:
        """The teachers' optimizer and schedule, along the gradients that :meth:`accept` left."""
        assert self.teachers is not None
        # Not Lightning's wrapper: its step would count as one of the student's in global_step.
        self._all(self.optimizers(use_pl_optimizer=False))[1].step()
        self._all(self.lr_schedulers())[1].step()
        excerpt.drop_gradients(self.teachers)
        # Autocast would go on using its copies of the weights as they were.
        torch.clear_autocast_cache()
        self.teacher_updates += 1

    def clip(self, model: nn.Module, loss: Tensor) -> Tensor:
        """Clip the gradients of ``model`` and return their norm before.

        Raises:
            UserError: before an update that would spoil the weights.
        """
        norm = nn.utils.get_total_norm(p.grad for p in model.parameters() if p.grad is not None)
        if not torch.isfinite(norm + loss):
            raise UserError(
                f"the loss became {loss.item()} at step {self.global_step} of epoch {self.current_epoch} and its "
                f"gradient's norm {norm.item()}; nothing was updated by it: try a smaller lr"
            )
        if norm > self.optimization.clip:  # torch's own clipping writes all gradients anew in any case
            nn.utils.clip_grads_with_norm_(model.parameters(), self.optimization.clip, norm)
        return norm

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """The student's optimizer and its schedule; a method whose teachers learn appends theirs."""
        optimizer = self.optimization.optimizer(self.student.parameters(), self.optimization.lr)
        return [optimizer], [self.optimization.schedule(optimizer, int(self.trainer.estimated_stepping_batches))]

    def train(self, mode: bool = True) -> Self:
        """Training mode for the student; teachers teach in eval mode."""
        super().train(mode)
        if self.teachers is not None:
            self.teachers.eval()
        return self

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        """Log what is due; logging each value at each step would cost milliseconds of every step."""
        last = self.trainer.is_last_batch
        if last or self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            for name, value in self.ledger.latest.items():
                self.log(name, value, prog_bar=name.endswith("train/loss"))
        if last:
            for name, value in self.ledger.of_epoch(self.prefix).items():
                self.log(name, value, on_step=False, on_epoch=True)

    def due_within(self, steps: int) -> bool:
        """Whether one of the next ``steps`` steps is logged, whatever the length of the epoch."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return self.global_step % every + steps >= every

    def on_train_start(self) -> None:
        """A student in eval mode would train without dropout, and in silence; its models may come from another fit."""
        self.train()
        excerpt.share([self.student] if self.teachers is None else [self.student, self.teachers])

    def on_train_epoch_start(self) -> None:
        """An epoch that goes on where it was interrupted does not start."""
        self.train()
        self.ledger.new_epoch()

    def on_validation_epoch_start(self) -> None:
        """The answers of an earlier validation are of other weights."""
        self.validated = []

    def validation_step(self, batch: Batch, index: int) -> None:
        """Accuracy and loss of the student; the answers, those of teachers that move too, are kept."""
        logits = self.student(batch)
        answers = {"rows": batch.rows, "labels": batch.labels, "student": logits.float()}
        self.accuracy(logits, batch.labels)
        self.log(f"{self.prefix}validation/accuracy", self.accuracy, prog_bar=True, batch_size=len(batch.labels))
        self.log(f"{self.prefix}validation/loss", cross_entropy(logits, batch.labels), batch_size=len(batch.labels))
        if self.teachers_learn and self.teachers is not None:
            answers["teachers"] = self.teachers.member_logits(batch).float().transpose(0, 1)
        self.validated.append({name: tensor.cpu() for name, tensor in answers.items()})

    def on_validation_epoch_end(self) -> None:
        """How often teachers that move are right, and agree with the student."""
        if self.teachers_learn:
            parts = [(part["student"], part["teachers"].transpose(0, 1), part["labels"]) for part in self.validated]
            agree, right, rows = torch.stack([agreement(*part) for part in parts]).sum(dim=0).double()
            self.log("teacher/validation/accuracy", right / rows, prog_bar=True)
            self.log("validation/agreement", agree / rows)

    def predict_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Rows [B], labels [B], what the student answers [B, C], and K teachers that move [B, K, C]."""
        answers = {"rows": batch.rows, "labels": batch.labels}
        started = time.perf_counter()
        answers["student"] = self.student(batch).float().cpu()
        self.seconds += time.perf_counter() - started
        if self.teachers_learn and self.teachers is not None:
            answers["teachers"] = self.teachers.member_logits(batch).float().transpose(0, 1)
        return {name: tensor.cpu() for name, tensor in answers.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Teachers that do not move are not in the checkpoint; what is not yet logged is."""
        if not self.teachers_learn:
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {
                name: value for name, value in state.items() if not name.startswith("teachers.")
            }
        checkpoint["books"] = {"teacher_updates": self.teacher_updates, "ledger": self.ledger.state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What was not yet logged."""
        self.teacher_updates = checkpoint["books"]["teacher_updates"]
        self.ledger.go_on(checkpoint["books"]["ledger"])

    @staticmethod
    def _all(one_or_many: Any) -> list[Any]:
        return one_or_many if isinstance(one_or_many, list) else [one_or_many]
