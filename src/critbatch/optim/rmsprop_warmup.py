"""RMSprop warm-up: a smooth transition from RMSprop to SGD with momentum."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

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
from critbatch.optim.packing import FlatBuffer, Layout, lines


def sgd_share(epoch: float, *, centre: float = 10.0, period: float = 5.0, as_printed: bool = False) -> float:
    """Return alpha_SGD, the share of SGD in a step at this epoch: near 0 at first, 1/2 at `centre`, then 1.

    Akiba, Suzuki and Fukuda 2017, arXiv:1711.04325, section on the RMSprop warm-up: exponential up to `centre`, linear
    up to `centre + period / 2`. The line as printed is twice as steep as the exponential that it continues: it would
    rise to 1.5, jump back to 1, and make the share of RMSprop negative. Here the derivative is continuous, and the
    share reaches 1 exactly at the end of the line. `as_printed=True` gives the printed line, limited to 1.

    >>> [round(sgd_share(epoch), 3) for epoch in (0, 5, 10, 11.25, 12.5, 90)]
    [0.009, 0.068, 0.5, 0.75, 1.0, 1.0]
    """
    place = (epoch - centre) / period
    if place < 0:
        return 0.5 * math.exp(2 * place)
    if place >= 0.5:
        return 1.0
    return min(1.0, 0.5 + (2 * place if as_printed else place))


def warm_up_step(
    weight: Tensor,
    grad: Tensor,
    change: Tensor,
    square: Tensor,
    *,
    lr: float | Tensor,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    parts: tuple[float | Tensor, float | Tensor],
) -> None:
    """The update as printed. Changes `weight`, `change` and `square`, leaves `grad` alone.

    Args:
        parts: alpha_SGD and alpha_RMSprop.
    """
    grad = grad.add(weight, alpha=weight_decay)
    square.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    rates = parts[1] / square.sqrt().add_(eps) + parts[0]
    change.mul_(betas[0]).sub_(rates.mul_(grad))
    if isinstance(lr, Tensor):
        weight.add_(change * lr)
    else:
        # As in torch's SGD: the same to the last digit.
        weight.add_(change, alpha=lr)


def _whole_step(
    weight: Tensor,
    grad: Tensor,
    change: Tensor,
    square: Tensor,
    lr: Tensor,
    sgd_part: Tensor,
    rmsprop_part: Tensor,
    **settings: Any,
) -> Tensor:
    warm_up_step(weight, grad, change, square, lr=lr, parts=(sgd_part, rmsprop_part), **settings)
    return lr


class RMSpropWarmUp(PerTensor):
    """RMSprop at first, then a smooth transition to SGD with momentum.

    Akiba, Suzuki and Fukuda 2017, arXiv:1711.04325, section on the RMSprop warm-up, with the constants of the authors'
    code: ``m = mu2 m + (1 - mu2) g^2``, ``D = mu1 D - (a_SGD + a_RMSprop / (sqrt(m) + eps)) g``, and ``w = w + lr D``,
    where a_SGD is `sgd_share(epoch)` and ``a_RMSprop = (1 - a_SGD) rmsprop_lr / lr``. Weight decay is added to g; the
    published code leaves it out. From epoch 12.5 on this is `torch.optim.SGD(momentum=0.9, weight_decay=1e-4)`, whose
    velocity is -D.

    Set `group["epoch"]`, a float, before each step, so that the share changes with every step:

    >>> import torch
    >>> optimizer = RMSpropWarmUp([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    >>> for group in optimizer.param_groups:
    ...     group["epoch"] = 17 / 400

    Args:
        params: Tensors, (name, tensor) pairs, or parameter groups. The hyper-parameters below can differ between
            groups.
        lr: eta, above 0 while the share of SGD is below 1; a number, or a tensor with one element.
        rmsprop_lr: eta_RMSprop, the learning rate of the RMSprop part.
        betas: mu1 and mu2.
        eps: Added to the root of m.
        weight_decay: Weight decay, added to the gradient.
        centre: The epoch at which SGD and RMSprop have equal shares.
        period: Length of the transition in epochs: from half of it after `centre` on, only SGD is left.
        as_printed: Whether to use the transition as printed in the paper, limited to 1.
        foreach: True updates lists of tensors, which is fast on a GPU; False updates one tensor at a time; None
            chooses.
        compiled: Whether large tensors go through one compiled kernel.
        capturable: For CUDA graphs: `step` never waits for the device. A graph keeps the shares of the step that it
            captured, so capture it only once SGD is alone.

    Raises:
        UserError: If a hyper-parameter is not possible, or a gradient is sparse.
    """

    moments = ("change", "square_avg")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor,
        rmsprop_lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 1e-4,
        *,
        centre: float = 10.0,
        period: float = 5.0,
        as_printed: bool = False,
        foreach: bool | None = None,
        compiled: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rmsprop_lr": rmsprop_lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "centre": centre,
            "period": period,
            "as_printed": as_printed,
            "epoch": 0.0,
        }
        super().__init__(params, defaults, foreach=foreach, compiled=compiled, capturable=capturable)

    def _check(self, group: Group) -> None:
        check_rate(group["lr"])
        check_range(**{"betas[0]": group["betas"][0], "betas[1]": group["betas"][1]}, below=1)
        check_range(weight_decay=group["weight_decay"], rmsprop_lr=group["rmsprop_lr"])
        check_positive(eps=group["eps"], period=group["period"])

    def _before(self, grads: Iterable[tuple[TensorClass, list[Tensor]]]) -> None:
        for group in self.param_groups:
            lr = rate_of(group["lr"])
            if not isinstance(lr, Tensor) and lr == 0 and _share(group) < 1:
                place = f"epoch {group['epoch']}, where RMSprop still has a share, which is divided by it"
                raise UserError(f"lr=0.0 cannot be used at {place}: use a number above 0.")

    def _one(self, group: Group, weight: Tensor, grad: Tensor, state: dict[str, Tensor], adapt: bool) -> float | Tensor:
        tensors = [weight, grad, *(state[name] for name in self.moments)]
        vectors = lines(*tensors) if group["compiled"] else None
        settings, parts = _settings(group), _parts(group)
        if vectors is None:
            warm_up_step(*tensors, lr=rate_of(group["lr"]), parts=parts, **settings)
            return 1.0
        numbers = (torch.as_tensor(one, dtype=weight.dtype, device=weight.device) for one in (group["lr"], *parts))
        compile_step(_whole_step)(*vectors, *numbers, **settings)
        return 1.0

    def _list(
        self,
        group: Group,
        weights: list[Tensor],
        grads: list[Tensor],
        states: list[dict[str, Tensor]],
        adapt: bool,
        layout: Layout | None,
    ) -> Tensor | None:
        changes, squares = ([state[name] for state in states] for name in self.moments)
        (mu1, mu2), (sgd, rmsprop), lr = group["betas"], _parts(group), rate_of(group["lr"])
        pushes = list(torch._foreach_add(grads, weights, alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, mu2)
        torch._foreach_addcmul_(squares, pushes, pushes, 1 - mu2)
        rates = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(rates, group["eps"])
        torch._foreach_reciprocal_(rates)
        torch._foreach_mul_(rates, rmsprop)
        torch._foreach_add_(rates, sgd)
        torch._foreach_mul_(pushes, rates)
        torch._foreach_mul_(changes, mu1)
        torch._foreach_sub_(changes, pushes)
        if isinstance(lr, Tensor):
            torch._foreach_add_(weights, list(torch._foreach_mul(changes, lr)))
        else:
            torch._foreach_add_(weights, changes, alpha=lr)
        return None

    def _pack(self, group: Group, pack: FlatBuffer, adapt: bool) -> Tensor | None:
        moments = (pack.state[name] for name in self.moments)
        lr, parts = rate_of(group["lr"]), _parts(group)
        warm_up_step(pack.weight, pack.grad, *moments, lr=lr, parts=parts, **_settings(group))
        return None


def _share(group: Group) -> float:
    return sgd_share(group["epoch"], centre=group["centre"], period=group["period"], as_printed=group["as_printed"])


def _parts(group: Group) -> tuple[float, float | Tensor]:
    """alpha_SGD and alpha_RMSprop."""
    share = _share(group)
    return share, 0.0 if share == 1 else (1 - share) * group["rmsprop_lr"] / rate_of(group["lr"])


def _settings(group: Group) -> dict[str, Any]:
    return {name: group[name] for name in ("betas", "eps", "weight_decay")}
