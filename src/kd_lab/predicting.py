"""The answers of a finished classifier to texts that nobody has labelled."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_lab import machine, models, precision, quiet
from kd_lab.encoding import Batch
from kd_lab.finished import Finished


class Predictor:
    """A classifier in memory, on the machine that its settings name.

    Args:
        finished: the classifier; of its settings count ``precision``, ``trainer`` and ``batch_size``.
    """

    def __init__(self, finished: Finished):
        quiet.libraries()
        self.settings, self.label_names = finished.settings, finished.label_names
        self.trainer = machine.trainer(self.settings, "prediction", logger=False)
        self.device = self.trainer.strategy.root_device
        model = models.load(finished.checkpoint, self.label_names, finished.max_length, trained=True)
        self.model = model.eval().to(self.device)

    def logits(self, texts: Sequence[str]) -> Tensor:
        """The logits [N, C] of N texts, in their order, worked out in batches of like length."""
        encoder, size = self.model.encoder, self.settings.batch_size
        # No tokenizer takes half of a surrogate pair, which JSON may hold.
        encoded = encoder.encode([text.encode("utf-8", "replace").decode("utf-8") for text in texts])
        order = encoded.lengths.argsort(stable=True)
        answers = torch.empty(len(texts), len(self.label_names))
        with precision.of(self.settings.precision, self.settings.trainer.accelerator), torch.inference_mode():
            for some in torch.split(order, size):
                inputs = {name: t.to(self.device) for name, t in encoder.pad(encoded, some.tolist()).items()}
                with self.trainer.precision_plugin.forward_context():
                    said = self.model(Batch(some, torch.zeros_like(some), {encoder.key: inputs}))
                answers[some] = said.float().cpu()
        return answers
