"""Any module whose examples do not mix: its weights' gradients for each example by torch.func."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_flatten, tree_unflatten

from critbatch.errors import UserError
from critbatch.per_example.layers import Parts, held


def parts_by_func(
    module: nn.Module, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any], slopes: list[Tensor | None]
) -> Parts:
    """The parts of some of a module's weights, by running it again for each example on its own, vectorized.

    Args:
        module: its examples are on the first dimension of all tensors that go in and come out.
        names: of the weights, within the module.
        args: positional inputs of the call.
        kwargs: keyword inputs.
        slopes: of each output that is a tensor; None where the loss does not depend on it.

    Raises:
        UserError: if the module cannot be run for one example alone.
    """
    weights = {name: module.get_parameter(name).detach() for name in names}
    batch = next(len(slope) for slope in slopes if slope is not None)
    flat, shape = tree_flatten((args, kwargs))
    per_example = [isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == batch for leaf in flat]
    moving = [leaf.detach() for leaf, own in zip(flat, per_example, strict=True) if own]
    wanted = [i for i, slope in enumerate(slopes) if slope is not None]

    def gradients(example: list[Tensor], example_slopes: list[Tensor]) -> dict[str, Tensor]:
        rows = iter(example)
        leaves = [next(rows)[None] if own else leaf for leaf, own in zip(flat, per_example, strict=True)]
        again_args, again_kwargs = tree_unflatten(leaves, shape)

        def outputs(own: dict[str, Tensor]) -> list[Tensor]:
            found = tensors_of(functional_call(module, own, again_args, again_kwargs))
            return [found[i] for i in wanted]

        pull: Any = vjp(outputs, weights)[1]
        pulled: dict[str, Tensor] = pull([slope[None] for slope in example_slopes])[0]
        return pulled

    try:
        with sdpa_kernel(SDPBackend.MATH):
            found = vmap(gradients, randomness="error")(moving, [slope for slope in slopes if slope is not None])
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"The gradients of a {type(module).__name__}'s examples cannot be told apart "
            f"({str(error).splitlines()[0][:120]}): use micro-batches instead."
        ) from error
    return {name: held(gradient) for name, gradient in found.items()}


def tensors_of(outputs: Any) -> list[Tensor]:
    """The floating-point tensors among a module's outputs, in order."""
    return [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor) and leaf.is_floating_point()]
