"""The tangent of a model's logits: their derivative along a direction in its parameters, [B, C], as a constant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from kd_lab.errors import UserError

Parameters = Mapping[str, Tensor]
Logits = Callable[[Parameters], Tensor]


def exact_tangent(function: Logits, parameters: Parameters, direction: Parameters) -> Tensor:
    """The derivative of ``function`` at ``parameters`` along ``direction``, as a constant.

    It must stay a constant: the backward of a forward-mode derivative through LayerNorm is silently wrong in torch.
    """
    with torch.no_grad(), forward_ad.dual_level(), differentiable_attention():
        duals = {
            name: forward_ad.make_dual(value.detach(), direction[name])  # type: ignore[no-untyped-call]
            for name, value in parameters.items()
        }
        try:
            tangent: Tensor = forward_ad.unpack_dual(function(duals)).tangent  # type: ignore[no-untyped-call]
        except NotImplementedError as error:  # of linear layers on Apple's GPUs (torch 2.13)
            raise UserError(
                "torch has no forward mode for this student here: method.hypergradient=reverse_mode without "
                "micro_batch_size does without it, finite_difference with it, and so does trainer.accelerator=cpu"
            ) from error
    return tangent.detach()


def double_backward(
    logits: Tensor, parameters: Parameters, cotangent: Tensor
) -> tuple[tuple[Tensor, ...], Callable[[Parameters], Tensor]]:
    """The gradient of ⟨``logits``, ``cotangent``⟩, and the function that turns a direction into the tangent along it.

    The gradient g(u) = Jᵀu is linear in the cotangent u, so that ∂⟨g(u), v⟩/∂u = Jv: two backward passes make a forward
    one (Townsend 2017, *A new trick for calculating Jacobian vector products*). The second works on what the first two
    passes have left, and costs two thirds of :func:`exact_tangent`.

    Args:
        logits: [B, C], with their graph, which stays.
        parameters: that they depend on.
        cotangent: u, [B, C].
    """
    u = cotangent.detach().requires_grad_()
    gradients = torch.autograd.grad(logits, tuple(parameters.values()), u, create_graph=True, materialize_grads=True)

    def tangent_along(direction: Parameters) -> Tensor:
        pairs = [(g, direction[name]) for g, name in zip(gradients, parameters, strict=True) if g.requires_grad]
        (tangent,) = torch.autograd.grad([g for g, _ in pairs], u, [v for _, v in pairs], retain_graph=True)
        return tangent

    return tuple(gradient.detach() for gradient in gradients), tangent_along


def difference_tangent(function: Logits, parameters: Parameters, direction: Parameters, epsilon: float) -> Tensor:
    """The derivative of ``function`` along ``direction`` by a central difference of displacement ``epsilon``."""
    norm = torch.nn.utils.get_total_norm(list(direction.values()))
    step = epsilon / norm if norm > 0 else norm  # a student without a slope has no tangent
    with torch.no_grad(), full_precision():
        ahead = function({name: value + step * direction[name] for name, value in parameters.items()})
        behind = function({name: value - step * direction[name] for name, value in parameters.items()})
    return (ahead - behind) * (norm / (2 * epsilon))


def minus_mean(tangents: Sequence[Tensor], add_up: Callable[[Sequence[Tensor]], None]) -> list[Tensor]:
    """Tangents of the parts of a batch, [B, C] each, less their mean over all rows.

    Args:
        tangents: of this process.
        add_up: makes of tensors their sums over all processes, in place.
    """
    total = torch.stack([tangent.sum(dim=0) for tangent in tangents]).sum(dim=0)
    rows = total.new_full((), sum(len(tangent) for tangent in tangents))
    add_up([total, rows])
    return [tangent - total / rows for tangent in tangents]


@contextmanager
def differentiable_attention() -> Iterator[None]:
    """The one scaled-dot-product kernel that has a second derivative and a forward mode."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 matmuls without autocast: a reduced precision drowns a difference quotient."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with ExitStack() as stack:
            for device in ("cpu", "cuda", "mps"):
                stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        torch.set_float32_matmul_precision(before)
