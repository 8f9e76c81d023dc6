"""The training set, shifted: with noise, moved by some pixels, with other tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from critbatch.tasks.data import Tree, leaves, map_tree
from critbatch.tasks.task import Task

NOISE_STRENGTHS = (0.1, 0.3, 1.0)
TOKEN_STRENGTHS = (0.05, 0.2)
PIXELS = (1, 2)
SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Change:
    """A shift of prepared inputs, the same for every model.

    Args:
        name: "noise" or "moved".
        strength: of the noise in standard deviations of the inputs, or the share of tokens that are replaced, or
            pixels.
        apply: prepared inputs and the number of their chunk, to other inputs.
    """

    name: str
    strength: float
    apply: Callable[[Tree, int], Tree]


def changes_for(task: Task, inputs: Tree, *, seed: int) -> list[Change]:
    """The shifts that suit such prepared inputs.

    Args:
        inputs: some of them, to see what they are.
        seed: of noise and tokens.
    """
    floats = [leaf for leaf in leaves(inputs) if leaf.is_floating_point()]
    if not floats:
        return [Change("noise", share, _replaced(share, seed)) for share in TOKEN_STRENGTHS]
    spread = float(torch.cat([leaf.flatten() for leaf in floats]).std())
    found = [Change("noise", strength, _noisy(strength * spread, seed)) for strength in NOISE_STRENGTHS]
    if len(leaves(inputs)) == 1 and (shape := _picture(task, floats[0])) is not None:
        found += [Change("moved", float(pixels), _moved(pixels, shape)) for pixels in PIXELS]
    return found


def _noisy(deviation: float, seed: int) -> Callable[[Tree, int], Tree]:
    def apply(inputs: Tree, chunk: int) -> Tree:
        generator = torch.Generator().manual_seed(seed + chunk)

        def add(leaf: Tensor) -> Tensor:
            if not leaf.is_floating_point():
                return leaf
            noise = torch.randn(leaf.shape, generator=generator, dtype=torch.float32)
            return leaf + deviation * noise.to(leaf)

        return map_tree(add, inputs)

    return apply


def _replaced(share: float, seed: int) -> Callable[[Tree, int], Tree]:
    """Tokens replaced by others of the same chunk, so that each keeps its frequency."""

    def apply(inputs: Tree, chunk: int) -> Tree:
        generator = torch.Generator().manual_seed(seed + chunk)

        def swap(leaf: Tensor) -> Tensor:
            others = leaf.flatten()[torch.randperm(leaf.numel(), generator=generator).to(leaf.device)].view_as(leaf)
            chosen = (torch.rand(leaf.shape, generator=generator) < share).to(leaf.device)
            return torch.where(chosen, others, leaf)

        return map_tree(swap, inputs)

    return apply


def _picture(task: Task, leaf: Tensor) -> tuple[int, ...] | None:
    """The shape of one example as (channels, height, width); None where it is no picture."""
    if leaf.ndim == 4 and min(leaf.shape[2:]) >= SMALLEST_SIDE:
        return tuple(leaf.shape[1:])
    side = math.isqrt(leaf.shape[1]) if leaf.ndim == 2 else 0
    if task.unit == "image" and side >= SMALLEST_SIDE and side * side == leaf.shape[1]:
        return 1, side, side
    return None


def _moved(pixels: int, shape: tuple[int, ...]) -> Callable[[Tree, int], Tree]:
    """Pictures moved to the right; what leaves on that side is lost, and the border is repeated on the other."""

    def move(leaf: Tensor) -> Tensor:
        pictures = leaf.view(len(leaf), *shape)
        border = pictures[..., :1].expand(*pictures.shape[:-1], pixels)
        return torch.cat([border, pictures[..., :-pixels]], dim=-1).reshape(leaf.shape)

    return lambda inputs, chunk: map_tree(move, inputs)
