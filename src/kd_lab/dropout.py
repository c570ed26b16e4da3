"""Dropout whose mask costs little on a CPU, in layers and inside attention, and one mask for many passes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

LANES = 4  # 16-bit draws in one 64-bit draw
LEVELS = 2**16
QUICK = "kd_lab_quick"
"""The attention of :func:`attention`, as transformers calls it."""


def drop(input: Tensor, p: float) -> Tensor:
    """``input`` of any shape on a CPU with a share ``p`` of its elements zero and the others divided by 1 − p.

    torch draws a CPU's masks one element after the other on one thread: a quarter of a training step of a small model.
    Here an element is dropped where 16 random bits fall under p · 2¹⁶, so p is met to within 2⁻¹⁷.
    """
    words = torch.empty(-(-input.numel() // LANES), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    draws = words.view(torch.int16)[: input.numel()].view(input.shape)
    dropped = round(p * LEVELS)
    kept = draws >= dropped - LEVELS // 2
    return input * kept.to(input.dtype).mul_(LEVELS / (LEVELS - dropped))


class QuickDropout(nn.Dropout):
    """torch's dropout, by :func:`drop` on a CPU and as it is elsewhere."""

    def forward(self, input: Tensor) -> Tensor:
        """``input`` of any shape."""
        if not self.training or self.p in (0.0, 1.0) or input.device.type != "cpu":
            return super().forward(input)
        return drop(input, self.p)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Transformers' scaled-dot-product attention, written out where torch would not take a fused kernel on a CPU.

    That is where weights are dropped, whose mask torch draws on one thread, and under :func:`differentiable_attention`,
    where torch looks for rows without any token to look at.

    Args:
        module: the layer.
        query, key, value: [B, heads, L, width].
        attention_mask: [B, 1, L, L], true where a token may look, or nowhere if it is padding; None where all may.
        dropout: share of the attention weights that are dropped.
        scaling: of the products; 1 / √width without it.
        **options: of transformers.

    Returns:
        [B, L, heads, width], and no weights.
    """
    plain = query.shape[1] == key.shape[1] and options.get("position_bias") is None and options.get("softcap") is None
    looks_back = attention_mask is None and (options.get("is_causal") or getattr(module, "is_causal", False))
    fused = dropout == 0.0 and torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    if fused or dropout == 1.0 or query.device.type != "cpu" or not plain or looks_back:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    products = query @ key.transpose(-1, -2) * (scaling or query.shape[-1] ** -0.5)
    if attention_mask is not None:
        products = products.masked_fill(~attention_mask, torch.finfo(products.dtype).min)
    weights = products.softmax(dim=-1)
    if dropout:
        weights = drop(weights, dropout)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(QUICK, attention)
AttentionMaskInterface.register(QUICK, sdpa_mask)


def use_quick_dropout(model: Any) -> None:
    """Replace every plain dropout of ``model``, and the one inside its attention, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, QuickDropout(child.p).train(child.training))
    if getattr(getattr(model, "config", None), "_attn_implementation", None) == "sdpa":
        model.set_attn_implementation(QUICK)


def same_dropout(function: Callable[[Mapping[str, Tensor]], Tensor]) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """``function``, with every call after the first drawing what the first drew: one dropout mask for all."""
    first: list[tuple[Tensor, ...]] = []

    def call(parameters: Mapping[str, Tensor]) -> Tensor:
        device = next(iter(parameters.values())).device
        before = _random_states(device)
        if not first:
            first.append(before)
            return function(parameters)
        _set_random_states(device, first[0])
        try:
            return function(parameters)
        finally:
            _set_random_states(device, before)

    return call


def _random_states(device: torch.device) -> tuple[Tensor, ...]:
    own = () if device.type == "cpu" else (torch.get_device_module(device).get_rng_state(),)
    return (torch.get_rng_state(), *own)


def _set_random_states(device: torch.device, states: tuple[Tensor, ...]) -> None:
    torch.set_rng_state(states[0])
    for own in states[1:]:
        torch.get_device_module(device).set_rng_state(own)
