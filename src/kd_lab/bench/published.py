"""MetaDistil's step as the published code takes it, for comparison alone: never train with it.

As in the code beside *BERT Learns to Teach* (Zhou, Xu and McAuley, ACL 2022): sentences padded to one length, attention
that writes out its weights, the student and its optimizer copied for every step, the assumed step differentiated twice,
all in float32. The bench pads; everything else is here, written anew from the paper and from what is known of the code.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from kd_lab.encoding import Batch
from kd_lab.methods.metadistil import MetaDistil
from kd_lab.models import Classifier, TeacherEnsemble


class Published(MetaDistil):
    """The published step, under the arguments of :class:`kd_lab.methods.metadistil.MetaDistil`."""

    def __init__(self, student: Classifier, teachers: TeacherEnsemble, **arguments: Any):
        super().__init__(student, teachers, **arguments)
        for model in (student, *teachers):
            model.model.set_attn_implementation("eager")

    def training_step(self, batch: Batch, index: int) -> None:
        """Copy, assumed step, quiz, teachers' step, real step."""
        copied, assumed = self.copies(), self.assumed(batch)
        del copied
        quiz_loss = self.quiz_loss(assumed, self.quiz_of(self.global_step))
        self.accept(self.feedback(quiz_loss), quiz_loss.detach())
        self.move_teachers()
        self.learn([self.loss(batch)])
        self.move_student()

    def copies(self) -> tuple[Classifier, dict[str, Any]]:
        """The student and the state of its optimizer, copied."""
        return copy.deepcopy(self.student), copy.deepcopy(self._all(self.optimizers())[0].state_dict())

    def assumed(self, batch: Batch) -> dict[str, Tensor]:
        """The student after a step whose graph leads back to the teachers."""
        theta: dict[str, Tensor] = dict(self.student.named_parameters())
        logits = functional_call(self.student, theta, (batch,))
        loss = self.distillation_loss(logits, self.teachers.member_logits(batch), batch.labels)
        gradients = torch.autograd.grad(loss, tuple(theta.values()), create_graph=True, materialize_grads=True)
        return {
            name: value - self.inner_lr * slope for (name, value), slope in zip(theta.items(), gradients, strict=True)
        }

    def quiz_loss(self, assumed: dict[str, Tensor], quiz: Sequence[Batch]) -> Tensor:
        """The assumed student's loss on the quiz."""
        losses = [cross_entropy(functional_call(self.student, assumed, (part,)), part.labels) for part in quiz]
        return torch.stack(losses).mean()

    def feedback(self, quiz_loss: Tensor) -> tuple[Tensor, ...]:
        """Its gradient by all parameters of the teachers."""
        return torch.autograd.grad(quiz_loss, tuple(self.teachers.parameters()), materialize_grads=True)
