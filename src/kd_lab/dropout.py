"""Dropout whose mask costs little on a CPU."""

import torch
from torch import Tensor, nn

LANES = 4  # 16-bit draws in one 64-bit draw
LEVELS = 2**16


class QuickDropout(nn.Dropout):
    """torch's dropout, with four mask elements from each draw of its generator.

    torch draws a CPU's masks one element after the other on one thread: a sixth of a training step of a small model.
    Here an element is dropped where 16 random bits fall under p · 2¹⁶, so p is met to within 2⁻¹⁷. Elsewhere than on a
    CPU this is torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input`` of any shape, in training with a share p of its elements zero and the others divided by 1 − p."""
        if not self.training or self.p in (0.0, 1.0) or input.device.type != "cpu":
            return super().forward(input)
        words = torch.empty(-(-input.numel() // LANES), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        draws = words.view(torch.int16)[: input.numel()].view(input.shape)
        dropped = round(self.p * LEVELS)
        kept = draws >= dropped - LEVELS // 2
        return input * kept.to(input.dtype).mul_(LEVELS / (LEVELS - dropped))


def quicken(model: nn.Module) -> None:
    """Replace every plain dropout of ``model``, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, QuickDropout(child.p).train(child.training))
