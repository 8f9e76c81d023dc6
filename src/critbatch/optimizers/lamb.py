"""LAMB, layer-wise adaptive moments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from critbatch.errors import UserError
from critbatch.optimizers.compiling import compile_step
from critbatch.optimizers.hyperparameters import check_positive, check_range, check_rate, rate_of
from critbatch.optimizers.lamb_step import (
    adam_direction_in_memory,
    adam_in_memory,
    bias_corrections,
    lamb_direction,
    lamb_ratio,
    whole_step,
)
from critbatch.optimizers.memory import Layout, length, lengths, lines, spare, subtract
from critbatch.optimizers.packed import Pack, working_type
from critbatch.optimizers.per_tensor import Group, Kind, PerTensor


class LAMB(PerTensor):
    """Adam whose step is, for each tensor, as long as `lr` times the length of its weights.

    You et al. 2020, arXiv:1904.00962v5, algorithm 2: u = m' / (sqrt(v') + eps) + decay x, with Adam's corrected moments
    m' and v', and ``x = x - lr phi(|x|) / |u| u``. phi is the identity, as in the authors' code, and a tensor takes a
    plain step, ratio 1, where ``|x|`` or ``|u|`` is zero.

    Tensors of one dimension (biases, the scales and shifts of normalization) take a plain Adam step without decay, as
    in the authors' BERT, unless `adapt_one_dimensional`. Unlike in apex and timm, the ratio is there without weight
    decay too.

    Args:
        params: tensors, (name, tensor) pairs, or parameter groups; the hyper-parameters below can differ by group.
        lr: a number, or a tensor of one element, which a captured graph reads anew each time.
        bias_correction: as in versions 4 and 5 of the paper; version 3 dropped it, for runs with a warm-up.
        phi_bounds: (gamma_l, gamma_u) between which phi holds ``|x|``; None for the identity.
        max_ratio: a bound on the ratio itself: 10 in version 1 of the paper.
        max_gradient_norm: gradients are scaled down, before the moments, where the norm of all of them together is
            greater: 1.0 in the authors' BERT. `.grad` itself stays as it is.
        foreach: True updates lists of tensors, as is fast on a GPU; False one at a time; None chooses.
        compiled: large tensors go through one compiled kernel. On a CPU it gains nothing over the default.
        capturable: `step` never waits for the device, where `lr` and the count of steps are kept, for CUDA graphs.

    Raises:
        UserError: if a hyper-parameter cannot be meant, or a gradient is sparse.

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
        """The ratio of each tensor in the last step: by its name if parameters came with names, else by its index.

        A tensor that is not adapted, or had a norm of zero, has 1; one without a gradient is left out. Waits for the
        device; a step costs nothing more for it.
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

    def _before(self, grads: Iterable[tuple[Kind, list[Tensor]]]) -> None:
        self._grad_norm = None
        if any(group["max_gradient_norm"] is not None for group in self.param_groups):
            norms = [lengths([grad.to(working_type(grad)) for grad in of_kind], kind.layout) for kind, of_kind in grads]
            if norms:
                self._grad_norm = length(torch.cat([one.to(norms[0]) for one in norms]))

    def _shrink(self, group: Group) -> Tensor | None:
        """What gradients are multiplied by, if they are."""
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
        given = [group["lr"], *bias_corrections(group, step)]
        given = [torch.as_tensor(one, dtype=weight.dtype, device=weight.device) for one in given]
        settings = {**_settings(group, adapt), "adapt": adapt, "bounds": _bounds(group)}
        if group["compiled"] and vectors:
            ratio: Tensor = compile_step(whole_step)(*vectors, *given, **settings)
            return ratio
        return whole_step(weight, grad, mean, square, *given, **settings)

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

    def _pack(self, group: Group, pack: Pack, adapt: bool) -> Tensor | None:
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
