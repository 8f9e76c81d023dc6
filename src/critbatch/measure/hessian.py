"""The Hessian and the Gauss-Newton matrix of the mean loss, each as what it makes of a vector."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from critbatch.errors import UserError
from critbatch.measure.empirical_risk import Surface, needs_backward
from critbatch.tasks.data import Tree, leaves

# Scalar products and lengths of vectors as long as the weights, right to five digits for any number of them.
#
# A CPU adds up float32 in a few lanes, one element after another: over tens of millions of weights a scalar product or
# a norm is off by up to a per cent, more or less by the kind of CPU. Here sums are accumulated in float64, a piece at a
# time, so that no copy of a whole vector is made. Projections need no such care: each is done twice, and the second
# pass takes off what the first one left.

# Elements that are converted at a time.
PIECE = 1 << 20


def dot(a: Tensor, b: Tensor) -> float:
    """The scalar product of two vectors of shape (size,)."""
    pieces = zip(torch.split(a, PIECE), torch.split(b, PIECE), strict=True)
    return float(torch.stack([torch.dot(left.double(), right.double()) for left, right in pieces]).sum())


def norm(vector: Tensor) -> float:
    """The length of a vector of shape (size,)."""
    return math.sqrt(dot(vector, vector))


def unit(vector: Tensor) -> Tensor:
    """The vector at length 1."""
    return vector / norm(vector)


def outside(basis: Tensor, vector: Tensor) -> Tensor:
    """The vector's part outside of the span of orthonormal rows, shape (size,).

    One pass would leave a part as large as rounding.

    Args:
        basis: shape (rows, size).
        vector: shape (size,).
    """
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector


def random_direction(like: Tensor, generator: torch.Generator) -> Tensor:
    """A vector of standard normal numbers, of the type and on the device of `like`, and the same on any device."""
    return torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)


# Hessian products by differences of gradients, for models that cannot be differentiated twice.

# Steps along a unit vector, as multiples of 1 + the norm of the weights.
LADDER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


class Differences:
    """``H v = (g(w + h v) - g(w - h v)) / 2h``, with a step h that was chosen.

    At the first product all steps of a ladder are tried. Where h is too large the next term of the series shows, where
    it is too small rounding does: the step whose result agrees best with that of the next larger one is kept, and
    `error` is their distance relative to the result.

    Args:
        surface: in float64, since in float32 rounding leaves no good step.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.step: float | None = None
        self.error = float("nan")

    def __call__(self, vector: Tensor) -> Tensor:
        length = norm(vector)
        if length == 0:
            return torch.zeros_like(vector)
        unit = (vector / length).to(self.surface.weights)
        if self.step is None:
            self._choose(unit)
        assert self.step is not None
        product: Tensor = self._at(unit, self.step) * length
        return product.to(vector)

    def _at(self, unit: Tensor, step: float) -> Tensor:
        weights = self.surface.weights
        _, ahead = self.surface.gradient(weights + step * unit)
        _, behind = self.surface.gradient(weights - step * unit)
        return (ahead - behind) / (2 * step)

    def _choose(self, unit: Tensor) -> None:
        scale = 1 + norm(self.surface.weights)
        found = [(step * scale, self._at(unit, step * scale)) for step in LADDER]
        gaps = [(norm(fine - coarse), step, norm(fine)) for (_, coarse), (step, fine) in pairwise(found)]
        gap, self.step, size = min(gaps)
        self.error = gap / size if size > 0 else gap


KEEP_BYTES = 1 << 30


class _Product:
    """Sums what each chunk makes of a vector. Graphs are kept between products while all of them fit."""

    def __init__(self, surface: Surface, weights: Tensor | None, keep_bytes: int) -> None:
        # Graphs hold on to weights, which a surface that moves would change under them.
        self.surface = surface.twin(weights)
        self.size, self.count, self.by = surface.size, 0, "autograd"
        self._kept: list[Any] | None = None
        self._decide(keep_bytes)

    def _decide(self, keep_bytes: int) -> None:
        """Build the graph of the first chunk, and those of the others where all fit in `keep_bytes`."""
        chunks = self.surface.chunks()
        held: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.layout is torch.strided:
                storage = tensor.untyped_storage()
                held[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            first = self._graph(*next(chunks))
        _refuse_dead_ends(first)
        if sum(held.values()) * -(-self.surface.examples // self.surface.chunk) <= keep_bytes:
            self._kept = [first, *(self._graph(*chunk) for chunk in chunks)]

    def _graphs(self) -> Iterator[Any]:
        if self._kept is not None:
            yield from self._kept
        else:
            for chunk in self.surface.chunks():
                yield self._graph(*chunk)

    def __call__(self, vector: Tensor) -> Tensor:
        """The matrix times a vector of shape (size,), of the same shape, in the vector's type."""
        self.count += 1
        parts = self.surface.parts(vector)
        total = torch.zeros_like(self.surface.weights)
        for graph in self._graphs():
            total += self._of(graph, parts)
        return total.div_(self.surface.examples).to(vector)

    def _graph(self, inputs: Tree, targets: Tree) -> Any:
        raise NotImplementedError

    def _of(self, graph: Any, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError


class HessianProduct(_Product):
    """The Hessian of the mean loss over all examples of a surface, times vectors.

    By differentiating the gradient once more. Where that does not exist (an operation without second derivative),
    by differences of gradients in float64, and `by` says so. Memory: a copy of the model, and either all graphs, up to
    `keep_bytes`, or that of one chunk.

    Args:
        surface: data, loss and model.
        weights: where; those of the surface unless given.
        keep_bytes: graphs are kept between products while those of all chunks fit.
        by: "autograd" or "differences"; None for the first that works.
    """

    def __init__(
        self, surface: Surface, weights: Tensor | None = None, *, keep_bytes: int = KEEP_BYTES, by: str | None = None
    ) -> None:
        self.differences: Differences | None = None
        if by != "differences":
            try:
                super().__init__(surface, weights, keep_bytes)
                self(torch.zeros_like(surface.weights))
                self.count = 0
                return
            except (RuntimeError, NotImplementedError) as error:
                if not _lacks_derivative(error):
                    raise
                if by == "autograd":
                    raise UserError(f"{_obstacle(error)}: use by='differences', or leave `by` out.") from error
        self.surface = surface.twin(weights, double=True)
        self.size, self.count, self.by, self._kept = surface.size, 0, "differences", None
        self.differences = Differences(self.surface)

    def __call__(self, vector: Tensor) -> Tensor:
        if self.differences is None:
            return super().__call__(vector)
        self.count += 1
        return self.differences(vector)

    def _graph(self, inputs: Tree, targets: Tree) -> list[Tensor]:
        total = self.surface.losses(inputs, targets).sum()
        return list(
            torch.autograd.grad(
                total, self.surface.parameters, create_graph=True, allow_unused=True, materialize_grads=True
            )
        )

    def _of(self, graph: list[Tensor], parts: list[Tensor]) -> Tensor:
        # A gradient that does not depend on the weights, that of a linear model's bias say, has no graph.
        curved = [(grad, part) for grad, part in zip(graph, parts, strict=True) if grad.requires_grad]
        if not curved:
            return torch.zeros_like(self.surface.weights)
        grads, vectors = zip(*curved, strict=True)
        found = torch.autograd.grad(
            grads,
            self.surface.parameters,
            grad_outputs=vectors,
            retain_graph=self._kept is not None or self.count == 0,
            allow_unused=True,
            materialize_grads=True,
        )
        return self.surface.flat(found)


class GaussNewtonProduct(_Product):
    """The generalized Gauss-Newton matrix ``J^T H_out J`` of the mean loss over all examples, times vectors.

    J is the Jacobian of the model's outputs, H_out the Hessian of the losses with respect to them: the Hessian without
    the model's own curvature, and never below 0 where the loss is convex in the outputs. Schraudolph 2002, "Fast
    curvature matrix-vector products for second-order gradient descent", section 3. Memory as for `HessianProduct`.
    """

    def __init__(self, surface: Surface, weights: Tensor | None = None, *, keep_bytes: int = KEEP_BYTES) -> None:
        try:
            super().__init__(surface, weights, keep_bytes)
            self(torch.zeros_like(surface.weights))
        except (RuntimeError, NotImplementedError) as error:
            if not _lacks_derivative(error):
                raise
            raise UserError(
                f"{_obstacle(error)}, which the Gauss-Newton matrix needs: use matrix='hessian', whose products are "
                "then differences of gradients."
            ) from error
        self.count = 0

    def _graph(self, inputs: Tree, targets: Tree) -> tuple[list[Tensor], list[Tensor], list[Tensor], Any, Any]:
        surface = self.surface
        tree = surface.outputs(inputs)
        outputs = [leaf for leaf in leaves(tree) if leaf.requires_grad]
        doubles = [leaf.detach().requires_grad_() for leaf in outputs]
        losses = surface.task.loss(_refilled(tree, iter(doubles)), targets)
        slopes = torch.autograd.grad(
            losses.sum(), doubles, create_graph=True, allow_unused=True, materialize_grads=True
        )
        # v -> J v is the derivative of u -> J^T u, which is linear in u.
        probes = [torch.zeros_like(leaf, requires_grad=True) for leaf in outputs]
        pulled = torch.autograd.grad(
            outputs,
            surface.parameters,
            grad_outputs=probes,
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return outputs, doubles, probes, pulled, slopes

    def _of(self, graph: Any, parts: list[Tensor]) -> Tensor:
        outputs, doubles, probes, pulled, slopes = graph
        used = [(grad, part) for grad, part in zip(pulled, parts, strict=True) if grad.requires_grad]
        bent = [i for i, slope in enumerate(slopes) if slope.requires_grad]
        if not used or not bent:
            return torch.zeros_like(self.surface.weights)
        grads, vectors = zip(*used, strict=True)
        settings: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        pushed = torch.autograd.grad(grads, probes, grad_outputs=vectors, **settings)
        weighed = torch.autograd.grad(
            [slopes[i] for i in bent], doubles, grad_outputs=[pushed[i] for i in bent], **settings
        )
        return self.surface.flat(
            torch.autograd.grad(outputs, self.surface.parameters, grad_outputs=weighed, **settings)
        )


def _refilled(tree: Tree, new: Iterator[Tensor]) -> Tree:
    """The tree with each tensor that needs a gradient replaced by the next new one."""
    if isinstance(tree, Tensor):
        return next(new) if tree.requires_grad else tree
    if isinstance(tree, dict):
        return {key: _refilled(part, new) for key, part in tree.items()}
    return tuple(_refilled(part, new) for part in tree)


def _refuse_dead_ends(graph: Any) -> None:
    """Raise where the graph ends at an operation that allows one derivative only.

    Torch marks it by a node that raises, yet leads nowhere: where weights may be unused, what lies behind it would be
    left out without a word.
    """
    found = tree_flatten(graph)[0]
    nodes = [tensor.grad_fn for tensor in found if isinstance(tensor, Tensor) and tensor.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "Error":
            raise RuntimeError("an operation of the model is once_differentiable")
        for behind, _ in node.next_functions:
            if behind is not None and behind not in seen:
                seen.add(behind)
                nodes.append(behind)


def _obstacle(error: Exception) -> str:
    if needs_backward(error):
        return (
            "The model checkpoints activations with use_reentrant=True, so it has no second derivative "
            "(use_reentrant=False has)"
        )
    return f"An operation of the model has no second derivative ({str(error).splitlines()[0].rstrip('.')})"


def _lacks_derivative(error: Exception) -> bool:
    words = str(error)
    return needs_backward(error) or any(
        sign in words for sign in ("not implemented", "not differentiable", "once_differentiable", "double backward")
    )
