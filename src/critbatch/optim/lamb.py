"""LAMB, layer-wise adaptive moments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.optim.layerwise import (
    Group,
    PerTensor,
    TensorClass,
    check_positive,
    check_range,
    check_rate,
    compile_step,
    rate_of,
)
from critbatch.optim.norms import squared_norm
from critbatch.optim.packing import (
    FlatBuffer,
    Layout,
    blocks,
    length,
    length_in_graph,
    lengths,
    lines,
    spare,
    subtract,
    working_type,
)

# --- the lines of LAMB's algorithm as functions of tensors -----------------------------------------------------------

Number = TypeVar("Number", float, Tensor)

CACHED = 131_072  # Elements: five vectors of them stay in a second-level cache of 2 MiB, by and large.
# From this ratio |decay x| / |r| on, u itself is squared: below it, the few digits that a scalar product of r and x has
# (see `squared_norms.ROW`) are enough for five of |u|.
LARGE_DECAY = 0.02


def lamb_ratio(
    weight_norm: Number, direction_norm: Number, *, phi_bounds: tuple[float, float] | None, max_ratio: float | None
) -> Number:
    """phi(|x|) / |u| of algorithm 2, line 11; 1 where one of them is zero, as the authors say of their code."""
    low, high = phi_bounds or (0.0, math.inf)
    most = math.inf if max_ratio is None else max_ratio
    if isinstance(weight_norm, Tensor):
        ratio = (weight_norm.clamp(low, high) / direction_norm).clamp(max=most)
        return torch.where((weight_norm > 0) & (direction_norm > 0), ratio, 1.0)
    # Among large tensors numbers are worth a formula of their own: each operation on a tensor finds its cache emptied.
    if not (weight_norm > 0 and direction_norm > 0):
        return 1.0
    return min(min(max(weight_norm, low), high) / direction_norm, most)


def lamb_direction(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    betas: tuple[float, float],
    corrections: tuple[float | Tensor, float | Tensor],
    eps: float,
    weight_decay: float,
) -> Tensor:
    """u of algorithm 2, lines 5 to 10: Adam's direction and the decay. Changes `mean` and `square`.

    Args:
        corrections: 1 - beta^t of both moments, or 1 without bias correction.
    """
    mean.lerp_(grad, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    length = (square / corrections[1]).sqrt_().add_(eps)
    return (mean / corrections[0]).div_(length).add_(weight, alpha=weight_decay)


def whole_step(
    weight: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    lr: Tensor,
    mean_correction: Tensor,
    square_correction: Tensor,
    *,
    adapt: bool,
    bounds: dict[str, Any],
    **settings: Any,
) -> Tensor:
    corrections = mean_correction, square_correction
    direction = lamb_direction(weight, grad, mean, square, corrections=corrections, **settings)
    ratio = torch.ones((), dtype=weight.dtype, device=weight.device)
    if adapt:
        sizes = length_in_graph(weight), length_in_graph(direction)
        ratio = lamb_ratio(*sizes, **bounds)
    weight.sub_(direction * (lr * ratio))
    return ratio


def bias_corrections(group: dict[str, Any], step: Tensor) -> tuple[float | Tensor, float | Tensor]:
    """1 - beta^t for both moments: numbers, or tensors where the count of steps is on another device."""
    if not group["bias_correction"]:
        return 1.0, 1.0
    if step.device.type == "cpu":
        count = step.item()
        return 1 - group["betas"][0] ** count, 1 - group["betas"][1] ** count
    first, second = (correction_on_device(step, beta) for beta in group["betas"])
    return first, second


def correction_on_device(step: Tensor, beta: float) -> Tensor:
    """1 - beta^t without reading t from its device. In float32, 1 - 0.999 ** 1 is wrong in its fifth digit."""
    return -torch.expm1(step * math.log(beta)) if beta else torch.ones_like(step)


def adam_in_memory(
    group: dict[str, Any], vectors: list[Tensor], step: Tensor, *, shrink: Tensor | None, lr: float
) -> None:
    """A plain step of Adam by torch's fused kernel, which walks through memory once."""
    weight, grad, mean, square = vectors
    scaled_grad = grad if shrink is None else grad * shrink
    settings = _kernel(group, lr=lr, weight_decay=0.0)
    torch._fused_adamw_([weight], [scaled_grad], [mean], [square], [], _steps(group, step), **settings)


def adam_direction_in_memory(
    group: dict[str, Any], vectors: list[Tensor], target: Tensor, step: Tensor, *, shrink: Tensor | None
) -> tuple[float, float]:
    """Adam's direction r into `target`, which must be finite, and the norms of the weight x and of u = r + decay x.

    AdamW with the rate and the decay at -1 makes 0 of what lies in the weight's place, and adds its direction to it.
    """
    adamw, decay = torch._fused_adamw_, group["weight_decay"]
    settings, steps = _kernel(group, lr=-1.0, weight_decay=-1.0), _steps(group, step)
    weight_norm2 = norm2 = 0.0
    for weight, grad, mean, square, direction in blocks(*vectors, target, size=CACHED):
        scaled_grad = grad if shrink is None else grad * shrink
        adamw([direction], [scaled_grad], [mean], [square], [], steps, **settings)
        own, of_weight = squared_norm(direction).item(), squared_norm(weight).item()
        if decay * math.sqrt(of_weight) > LARGE_DECAY * math.sqrt(own):
            norm2 += squared_norm(direction.add(weight, alpha=decay)).item()
        elif decay:
            norm2 += own + decay * (2 * torch.dot(direction, weight).item() + decay * of_weight)
        else:
            norm2 += own
        weight_norm2 += of_weight
    return math.sqrt(weight_norm2), math.sqrt(norm2)


def _steps(group: dict[str, Any], step: Tensor) -> list[Tensor]:
    # After infinitely many steps there is nothing to correct.
    return [step if group["bias_correction"] else torch.full_like(step, math.inf)]


def _kernel(group: dict[str, Any], **rates: float) -> dict[str, Any]:
    beta1, beta2 = group["betas"]
    return {"beta1": beta1, "beta2": beta2, "eps": group["eps"], "amsgrad": False, "maximize": False, **rates}


class LAMB(PerTensor):
    """Adam whose step, for each tensor, is as long as `lr` times the norm of its weights.

    You et al. 2020, arXiv:1904.00962v5, algorithm 2: ``u = m' / (sqrt(v') + eps) + decay x``, with Adam's
    bias-corrected moments m' and v', and ``x = x - lr phi(|x|) / |u| u``. phi is the identity, as in the authors' code.
    If ``|x|`` or ``|u|`` is zero, the tensor takes a plain step (ratio 1).

    One-dimensional tensors (biases, and the scales and shifts of normalization layers) take a plain Adam step without
    decay, as in the authors' BERT, unless `adapt_one_dimensional` is set. Unlike in apex and timm, the ratio also
    applies without weight decay.

    Args:
        params: Tensors, (name, tensor) pairs, or parameter groups. The hyper-parameters below can differ between
            groups.
        lr: A number, or a tensor with one element, which a captured graph reads at each replay.
        betas: Decay of the first and of the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Weight decay, part of u.
        bias_correction: Whether to correct the moments, as in versions 4 and 5 of the paper. Version 3 dropped it, for
            runs with a warm-up.
        phi_bounds: (gamma_l, gamma_u), to which phi clips ``|x|``; None for the identity.
        max_ratio: Upper bound of the ratio itself: 10 in version 1 of the paper.
        max_gradient_norm: If the norm of all gradients together is greater, they are scaled down to it before the
            moments: 1.0 in the authors' BERT. `.grad` itself does not change.
        adapt_one_dimensional: Whether to treat one-dimensional tensors like all others.
        foreach: True updates lists of tensors, which is fast on a GPU; False updates one tensor at a time; None
            chooses.
        compiled: Whether large tensors go through one compiled kernel. On a CPU this is no faster than the default.
        capturable: For CUDA graphs: `step` never waits for the device, which then holds `lr` and the step count.

    Raises:
        UserError: If a hyper-parameter is not possible, or a gradient is sparse.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[0.0, 2.0]])
    >>> LAMB([weight], lr=0.1, weight_decay=0).step()
    >>> weight.detach()
    tensor([[3.0000, 3.5000]])
    """

    moments = ("exp_avg", "exp_avg_sq")
    counts = True

    def __init__(
        self,
        params: Any,
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        *,
        bias_correction: bool = True,
        phi_bounds: tuple[float, float] | None = None,
        max_ratio: float | None = None,
        max_gradient_norm: float | None = None,
        adapt_one_dimensional: bool = False,
        foreach: bool | None = None,
        compiled: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "bias_correction": bias_correction,
            "phi_bounds": phi_bounds,
            "max_ratio": max_ratio,
            "max_gradient_norm": max_gradient_norm,
            "adapt_one_dimensional": adapt_one_dimensional,
        }
        self._grad_norm: Tensor | None = None
        super().__init__(params, defaults, foreach=foreach, compiled=compiled, capturable=capturable)

    def trust_ratios(self) -> dict[str | int, float]:
        """Return the ratio of each tensor in the last step.

        The keys are the names of the tensors if the parameters came with names, else their indices. Tensors that are
        not adapted, or whose norm was zero, have 1. Tensors without a gradient are left out. The call waits for the
        device. A step costs nothing more for it.
        """
        return self._last_ratios()

    def _check(self, group: Group) -> None:
        check_rate(group["lr"])
        check_range(**{"betas[0]": group["betas"][0], "betas[1]": group["betas"][1]}, below=1)
        check_range(weight_decay=group["weight_decay"])
        check_positive(eps=group["eps"])
        for name in ("max_ratio", "max_gradient_norm"):
            if group[name] is not None:
                check_positive(**{name: group[name]})
        if group["phi_bounds"] is not None:
            low, high = group["phi_bounds"]
            if not 0 <= low <= high or high == 0:
                raise UserError(
                    f"phi_bounds={low, high} is not possible: use two numbers of 0 or more, the less first."
                )

    def _before(self, grads: Iterable[tuple[TensorClass, list[Tensor]]]) -> None:
        self._grad_norm = None
        if any(group["max_gradient_norm"] is not None for group in self.param_groups):
            norms = [lengths([grad.to(working_type(grad)) for grad in of_kind], kind.layout) for kind, of_kind in grads]
            if norms:
                self._grad_norm = length(torch.cat([one.to(norms[0]) for one in norms]))

    def _shrink(self, group: Group) -> Tensor | None:
        """The factor by which gradients are multiplied, or None."""
        bound = group["max_gradient_norm"]
        return None if bound is None or self._grad_norm is None else bound / self._grad_norm.clamp(min=bound)

    def _one(self, group: Group, weight: Tensor, grad: Tensor, state: dict[str, Tensor], adapt: bool) -> float | Tensor:
        mean, square, step = state["exp_avg"], state["exp_avg_sq"], state["step"]
        vectors = lines(weight, grad, mean, square)
        if weight.device.type == "cpu" and vectors and not group["compiled"] and group["foreach"] is None:
            return self._in_memory(group, vectors, step, adapt)
        if (shrink := self._shrink(group)) is not None:
            grad = grad * shrink
            vectors = lines(weight, grad, mean, square)
        scalars = [group["lr"], *bias_corrections(group, step)]
        scalars = [torch.as_tensor(scalar, dtype=weight.dtype, device=weight.device) for scalar in scalars]
        settings = {**_settings(group, adapt), "adapt": adapt, "bounds": _bounds(group)}
        if group["compiled"] and vectors:
            ratio: Tensor = compile_step(whole_step)(*vectors, *scalars, **settings)
            return ratio
        return whole_step(weight, grad, mean, square, *scalars, **settings)

    def _list(
        self,
        group: Group,
        weights: list[Tensor],
        grads: list[Tensor],
        states: list[dict[str, Tensor]],
        adapt: bool,
        layout: Layout | None,
    ) -> Tensor | None:
        means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
        lr, (beta1, beta2) = rate_of(group["lr"]), group["betas"]
        if (shrink := self._shrink(group)) is not None:
            grads = list(torch._foreach_mul(grads, shrink))
        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        corrections: Any = zip(*(bias_corrections(group, step) for step in steps), strict=True)
        mean_corrections, square_corrections = map(list, corrections)
        roots = list(torch._foreach_div(squares, square_corrections))
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        directions = list(torch._foreach_div(means, mean_corrections))
        torch._foreach_div_(directions, roots)
        ratio: Tensor | None = None
        if adapt:
            torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
            sizes = lengths(weights, layout), lengths(directions, layout)
            ratio = lamb_ratio(*sizes, **_bounds(group))
            torch._foreach_mul_(directions, (ratio * lr).unbind())
        else:
            torch._foreach_mul_(directions, lr)
        torch._foreach_sub_(weights, directions)
        return ratio

    def _pack(self, group: Group, pack: FlatBuffer, adapt: bool) -> Tensor | None:
        if (shrink := self._shrink(group)) is not None:
            pack.grad.mul_(shrink)
        moments, step = (pack.state["exp_avg"], pack.state["exp_avg_sq"]), pack.state["step"][0]
        corrections = bias_corrections(group, step)
        settings = _settings(group, adapt)
        direction = lamb_direction(pack.weight, pack.grad, *moments, corrections=corrections, **settings)
        ratio: Tensor | None = None
        if adapt:
            ratio = lamb_ratio(pack.norms(pack.weight), pack.norms(direction), **_bounds(group))
            direction.mul_(pack.spread(ratio))
        pack.weight.sub_(direction, alpha=float(group["lr"]))
        return ratio

    def _in_memory(self, group: Group, vectors: list[Tensor], step: Tensor, adapt: bool) -> float:
        """Eleven words an element: five read and three written up to the norms, two read and one written after them."""
        lr, shrink = float(group["lr"]), self._shrink(group)
        if not adapt:
            adam_in_memory(group, vectors, step, shrink=shrink, lr=lr)
            return 1.0
        target = spare(self._scratch, vectors[0])
        norms = adam_direction_in_memory(group, vectors, target, step, shrink=shrink)
        ratio: float = lamb_ratio(*norms, **_bounds(group))
        subtract(vectors[0], target, lr * ratio, decay=group["weight_decay"])
        if not math.isfinite(norms[1]):
            # 0 times this would not be 0 in the next step.
            target.zero_()
        return ratio


def _settings(group: Group, adapt: bool) -> dict[str, Any]:
    return {"betas": group["betas"], "eps": group["eps"], "weight_decay": group["weight_decay"] if adapt else 0.0}


def _bounds(group: Group) -> dict[str, Any]:
    return {"phi_bounds": group["phi_bounds"], "max_ratio": group["max_ratio"]}
