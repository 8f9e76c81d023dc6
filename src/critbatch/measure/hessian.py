"""Products of the Hessian and of the Gauss-Newton matrix of the mean loss with vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from critbatch.errors import UserError
from critbatch.measure.empirical_risk import EmpiricalRisk, needs_backward
from critbatch.tasks.data import Tree, leaves

# Dot products and norms of vectors as long as the weights, exact to five digits for any length.
#
# A CPU sums float32 in a few lanes, one element after another. Over tens of millions of weights, a dot product or norm
# is then off by up to a per cent, depending on the CPU. So sums are accumulated in float64, piece by piece, without a
# copy of a whole vector. Projections do not need this: each is done twice, and the second pass removes what the first
# one left.

# Elements that are converted to float64 at a time.
PIECE = 1 << 20


def dot(a: Tensor, b: Tensor) -> float:
    """The dot product of two vectors of shape (size,)."""
    pieces = zip(torch.split(a, PIECE), torch.split(b, PIECE), strict=True)
    return float(torch.stack([torch.dot(left.double(), right.double()) for left, right in pieces]).sum())


def norm(vector: Tensor) -> float:
    """The norm of a vector of shape (size,)."""
    return math.sqrt(dot(vector, vector))


def unit(vector: Tensor) -> Tensor:
    """The vector scaled to norm 1."""
    return vector / norm(vector)


def outside(basis: Tensor, vector: Tensor) -> Tensor:
    """The part of the vector that is orthogonal to these orthonormal rows, shape (size,).

    It projects twice, because a single pass leaves an error as large as rounding.

    Args:
        basis: Orthonormal rows, shape (rows, size).
        vector: Vector of shape (size,).
    """
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector


def random_direction(like: Tensor, generator: torch.Generator) -> Tensor:
    """A vector of standard normal numbers with the type and device of `like`. It is the same on any device."""
    return torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)


# Step sizes that finite differences try, as multiples of 1 + the norm of the weights.
LADDER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


class Differences:
    """Finite differences, ``H v = (g(w + h v) - g(w - h v)) / 2h``, for models that cannot be differentiated twice.

    The first product tries all step sizes h of LADDER. If h is too large, the next term of the Taylor series is the
    error; if it is too small, rounding is. The step size whose result agrees best with that of the next larger one is
    used from then on. `error` is the distance between the two, relative to the result.

    Args:
        surface: Loss in float64. In float32, rounding leaves no good step size.
    """

    def __init__(self, surface: EmpiricalRisk) -> None:
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
        products = [(step * scale, self._at(unit, step * scale)) for step in LADDER]
        gaps = [(norm(fine - coarse), step, norm(fine)) for (_, coarse), (step, fine) in pairwise(products)]
        gap, self.step, size = min(gaps)
        self.error = gap / size if size > 0 else gap


KEEP_BYTES = 1 << 30


class _Product:
    """Sums the products of all chunks. The graphs of the chunks stay in memory if all of them fit."""

    def __init__(self, surface: EmpiricalRisk, weights: Tensor | None, keep_bytes: int) -> None:
        # Graphs refer to the weights, so this surface must not move. It is a copy.
        self.surface = surface.twin(weights)
        self.size, self.count, self.by = surface.size, 0, "autograd"
        self._kept: list[Any] | None = None
        self._decide(keep_bytes)

    def _decide(self, keep_bytes: int) -> None:
        """Build the graph of the first chunk, and those of the others if all fit in `keep_bytes`."""
        chunks = self.surface.chunks()
        storage_bytes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.layout is torch.strided:
                storage = tensor.untyped_storage()
                storage_bytes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            first = self._graph(*next(chunks))
        _refuse_dead_ends(first)
        if sum(storage_bytes.values()) * -(-self.surface.examples // self.surface.chunk) <= keep_bytes:
            self._kept = [first, *(self._graph(*chunk) for chunk in chunks)]

    def _graphs(self) -> Iterator[Any]:
        if self._kept is not None:
            yield from self._kept
        else:
            for chunk in self.surface.chunks():
                yield self._graph(*chunk)

    def __call__(self, vector: Tensor) -> Tensor:
        """The matrix times a vector of shape (size,), in the type of the vector."""
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
    """Products of vectors with the Hessian of the mean loss over all examples of a surface.

    It differentiates the gradient. If an operation has no second derivative, it uses finite differences of gradients in
    float64, and `by` says so. Memory: a copy of the model, and either all graphs, up to `keep_bytes`, or the graph of
    one chunk.

    Args:
        surface: Data, loss and model.
        weights: Weights at which the Hessian is taken. Default: those of the surface.
        keep_bytes: Memory for the graphs of all chunks. If they do not fit, graphs are built again for each product.
        by: "autograd" or "differences". None: the first that works.
    """

    def __init__(
        self,
        surface: EmpiricalRisk,
        weights: Tensor | None = None,
        *,
        keep_bytes: int = KEEP_BYTES,
        by: str | None = None,
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
        # A gradient that does not depend on the weights, such as that of a linear model's bias, has no graph.
        curved = [(grad, part) for grad, part in zip(graph, parts, strict=True) if grad.requires_grad]
        if not curved:
            return torch.zeros_like(self.surface.weights)
        grads, vectors = zip(*curved, strict=True)
        products = torch.autograd.grad(
            grads,
            self.surface.parameters,
            grad_outputs=vectors,
            retain_graph=self._kept is not None or self.count == 0,
            allow_unused=True,
            materialize_grads=True,
        )
        return self.surface.flat(products)


class GaussNewtonProduct(_Product):
    """Products of vectors with the generalized Gauss-Newton matrix ``J^T H_out J`` of the mean loss over all examples.

    J is the Jacobian of the model's outputs, and H_out is the Hessian of the losses with respect to the outputs. This
    is the Hessian without the curvature of the model itself. It is positive semidefinite if the loss is convex in the
    outputs. Schraudolph 2002, "Fast curvature matrix-vector products for second-order gradient descent", section 3.
    Memory as for `HessianProduct`.
    """

    def __init__(self, surface: EmpiricalRisk, weights: Tensor | None = None, *, keep_bytes: int = KEEP_BYTES) -> None:
        try:
            super().__init__(surface, weights, keep_bytes)
            self(torch.zeros_like(surface.weights))
        except (RuntimeError, NotImplementedError) as error:
            if not _lacks_derivative(error):
                raise
            raise UserError(
                f"{_obstacle(error)}, which the Gauss-Newton matrix needs: use matrix='hessian', which then uses "
                "finite differences of gradients."
            ) from error
        self.count = 0

    def _graph(self, inputs: Tree, targets: Tree) -> tuple[list[Tensor], list[Tensor], list[Tensor], Any, Any]:
        surface = self.surface
        tree = surface.outputs(inputs)
        outputs = [leaf for leaf in leaves(tree) if leaf.requires_grad]
        output_copies = [leaf.detach().requires_grad_() for leaf in outputs]
        losses = surface.task.loss(_replace_outputs(tree, iter(output_copies)), targets)
        output_gradients = torch.autograd.grad(
            losses.sum(), output_copies, create_graph=True, allow_unused=True, materialize_grads=True
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
        return outputs, output_copies, probes, pulled, output_gradients

    def _of(self, graph: Any, parts: list[Tensor]) -> Tensor:
        outputs, output_copies, probes, pulled, output_gradients = graph
        used = [(grad, part) for grad, part in zip(pulled, parts, strict=True) if grad.requires_grad]
        curved = [i for i, gradient in enumerate(output_gradients) if gradient.requires_grad]
        if not used or not curved:
            return torch.zeros_like(self.surface.weights)
        grads, vectors = zip(*used, strict=True)
        settings: dict[str, Any] = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        pushed = torch.autograd.grad(grads, probes, grad_outputs=vectors, **settings)
        weighed = torch.autograd.grad(
            [output_gradients[i] for i in curved],
            output_copies,
            grad_outputs=[pushed[i] for i in curved],
            **settings,
        )
        return self.surface.flat(
            torch.autograd.grad(outputs, self.surface.parameters, grad_outputs=weighed, **settings)
        )


def _replace_outputs(tree: Tree, new: Iterator[Tensor]) -> Tree:
    """The tree, with each tensor that needs a gradient replaced by the next new one."""
    if isinstance(tree, Tensor):
        return next(new) if tree.requires_grad else tree
    if isinstance(tree, dict):
        return {key: _replace_outputs(part, new) for key, part in tree.items()}
    return tuple(_replace_outputs(part, new) for part in tree)


def _refuse_dead_ends(graph: Any) -> None:
    """Raise an error if the graph contains an operation that allows only one derivative.

    Torch marks it by a node that would raise an error but leads nowhere. If weights may be unused, torch would silently
    leave out what lies behind this node.
    """
    tensors = tree_flatten(graph)[0]
    nodes = [tensor.grad_fn for tensor in tensors if isinstance(tensor, Tensor) and tensor.grad_fn is not None]
    visited = set(nodes)
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "Error":
            raise RuntimeError("an operation of the model is once_differentiable")
        for next_node, _ in node.next_functions:
            if next_node is not None and next_node not in visited:
                visited.add(next_node)
                nodes.append(next_node)


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
