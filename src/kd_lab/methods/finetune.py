"""Plain fine-tuning: the baseline, the warm-up, and how a teacher is made."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from kd_lab.distiller import Distiller
from kd_lab.encoding import Batch


class Finetune(Distiller):
    """Cross-entropy of the student on the labels."""

    def loss(self, batch: Batch) -> Tensor:
        """L_ce, a scalar."""
        return cross_entropy(self.student(batch), batch.labels)
