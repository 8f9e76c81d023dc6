"""The mean loss over many examples as a function of the weights. Curvature, sharpness and landscape measure it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from critbatch.errors import UserError
from critbatch.records.loss_surface import Mode, Setup
from critbatch.runtime.device import pick_device, require_float64
from critbatch.tasks.data import Data, GivenData, Tree, as_data, count, map_tree
from critbatch.tasks.sampler import BatchGatherer
from critbatch.tasks.task import Task, apply
from critbatch.training.batch_norm import norms_in_training, pieces_of, taken_anew
from critbatch.training.evaluation import sample

CHUNK = 1000


class EmpiricalRisk:
    """The mean loss ``f(w)``, its gradient and the metric over all examples, computed chunk by chunk.

    It works on a copy of the model, so the model, its mode and its running statistics do not change. Attention uses the
    math kernel, because the others have no second derivative. Besides the copy, it needs memory for a few vectors of
    the length of the weights and for a forward and backward pass of one chunk.

    Args:
        task: Task with data, loss and metric.
        model: Model with the weights. Weights that need no gradient stay fixed.
        data: "train", "validation", or data of the user.
        examples: Examples to use, always the same ones. None: all.
        mode: Statistics of batch norm. Layers that training holds in eval mode always use their running statistics.
        double: Compute in float64.
        chunk: Examples in one forward pass.
        change: Function of prepared inputs and the number of their chunk that returns other inputs, such as a shift.
        device: Device of the measurement. Default: an accelerator if there is one, else cpu.

    Raises:
        UserError: if no weight needs a gradient, or a size is not possible.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        *,
        data: str | GivenData = "train",
        examples: int | None = None,
        mode: Mode = Mode.EVAL,
        double: bool = False,
        chunk: int = CHUNK,
        change: Callable[[Tree, int], Tree] | None = None,
        device: torch.device | None = None,
    ) -> None:
        if examples is not None and examples < 1:
            raise UserError(f"examples={examples} is not possible: use 1 or more.")
        if chunk < 1:
            raise UserError(f"chunk={chunk} is not possible: use 1 or more.")
        self.task, self.mode, self.chunk, self.change = task, Mode(mode), chunk, change
        self.device = device or pick_device()
        require_float64(self.device, "A measurement of the loss surface")
        self.name = data if isinstance(data, str) else "own"
        self._source = BatchGatherer(_data_of(task, data), self.device)
        self.indices = sample(count(self._source.data), examples)
        self.examples = len(self.indices)
        self.model = copy.deepcopy(model).to(self.device)
        make_dense(self.model)
        if double:
            _make_double(self.model)
        training_norms = norms_in_training(self.model)
        self._training_norms = [name for name, module in self.model.named_modules() if module in training_norms]
        self.model.eval()
        for layer in self.norms:
            layer.training = self.mode is Mode.BATCH
        self.parameters: list[Tensor] = [weight for weight in self.model.parameters() if weight.requires_grad]
        if not any(weight.numel() for weight in self.parameters):
            raise UserError("The model has no weight that needs a gradient: there is nothing to measure.")
        _refuse_complex(self.model)
        self._set_dtype()
        self._by_backward = False
        self.size = sum(weight.numel() for weight in self.parameters)
        self.weights = self.flat(self.parameters).clone()

    def twin(self, weights: Tensor | None = None, *, double: bool = False) -> EmpiricalRisk:
        """Another surface over the same examples, with its own model, at `weights`."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        if double:
            _make_double(other.model)
        other.parameters = [weight for weight in other.model.parameters() if weight.requires_grad]
        other._set_dtype()
        other.weights = (self.weights if weights is None else weights).detach().to(other.dtype, copy=True)
        other.move()
        return other

    @property
    def setup(self) -> Setup:
        return Setup(
            task=self.task.name,
            data=self.name,
            examples=self.examples,
            parameters=self.size,
            mode=self.mode,
            chunk=min(self.chunk, self.examples),
            precision=str(self.dtype).removeprefix("torch."),
            batch_norm=bool(self._training_norms),
        )

    @property
    def norms(self) -> list[_BatchNorm]:
        """The batch norms that training does not hold in eval mode."""
        return [cast(_BatchNorm, self.model.get_submodule(name)) for name in self._training_norms]

    def chunks(self, indices: Tensor | None = None) -> Iterator[tuple[Tree, Tree]]:
        """Prepared inputs, in the precision of the model, and targets of these examples; by default of all."""
        rows = iter(pieces_of(self.indices if indices is None else indices, self.chunk))
        for n, (raw, targets) in enumerate(self._source.stream(rows)):
            inputs = map_tree(self._cast, self.task.inputs(raw))
            yield inputs if self.change is None else self.change(inputs, n), map_tree(self._cast, targets)

    def losses(self, inputs: Tree, targets: Tree) -> Tensor:
        """The loss of each example of a chunk at the current weights, shape (chunk,)."""
        return self.task.loss(self.outputs(inputs), targets)

    def outputs(self, inputs: Tree) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            try:
                return apply(self.model, inputs)
            except RuntimeError as error:
                if self._input_dtype is not torch.float64 or "dtype" not in str(error):
                    raise
                raise UserError(
                    f"The model cannot compute in float64, because its forward pass sets another type ({error}): use "
                    "double=False, or let its layers take the type of their weights."
                ) from error

    def move(self, weights: Tensor | None = None) -> None:
        """Set the current weights, shape (size,); by default, the original weights of the model."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.parts(self.weights if weights is None else weights))

    def measure(self, weights: Tensor | None = None, indices: Tensor | None = None) -> tuple[float, float]:
        """Mean loss and mean metric at these weights."""
        self.move(weights)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        metric, n = torch.zeros_like(loss), 0
        with torch.no_grad():
            for inputs, targets in self.chunks(indices):
                outputs = self.outputs(inputs)
                losses = self.task.loss(outputs, targets)
                loss += losses.double().sum()
                metric += self.task.metric(outputs, targets).double().sum()
                n += len(losses)
        return loss.item() / n, metric.item() / n

    def each(self, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Loss and metric of each example at these weights, both of shape (examples,), on the CPU."""
        self.move(weights)
        losses, metrics = [], []
        with torch.no_grad():
            for inputs, targets in self.chunks():
                outputs = self.outputs(inputs)
                losses.append(self.task.loss(outputs, targets).double().cpu())
                metrics.append(self.task.metric(outputs, targets).double().cpu())
        return torch.cat(losses), torch.cat(metrics)

    def gradient(self, weights: Tensor | None = None, indices: Tensor | None = None) -> tuple[float, Tensor]:
        """Mean loss and its gradient, shape (size,), at these weights, over all examples or those of `indices`."""
        self.move(weights)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        total, n = torch.zeros_like(self.weights), 0
        for inputs, targets in self.chunks(indices):
            losses, gradient = self._gradient(inputs, targets)
            total += gradient
            loss += losses.double().sum()
            n += len(losses)
        return loss.item() / n, total / n

    def _gradient(self, inputs: Tree, targets: Tree) -> tuple[Tensor, Tensor]:
        """The loss of each example of a chunk, and the gradient of their sum, shape (size,)."""
        losses = self.losses(inputs, targets)
        if not self._by_backward:
            try:
                grads = torch.autograd.grad(losses.sum(), self.parameters, allow_unused=True, materialize_grads=True)
                return losses.detach(), self.flat(grads)
            except RuntimeError as error:
                if not needs_backward(error):
                    raise
            # The failed pass has freed parts of the graph, so the losses are computed again.
            self._by_backward, losses = True, self.losses(inputs, targets)
        for weight in self.parameters:
            weight.grad = None
        losses.sum().backward()  # type: ignore[no-untyped-call]
        grads = tuple(torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self.parameters)
        for weight in self.parameters:
            weight.grad = None
        return losses.detach(), self.flat(grads)

    def flat(self, tensors: Any) -> Tensor:
        """Join one tensor per weight into a vector of shape (size,)."""
        dense = [tensor.detach().to_dense() if tensor.is_sparse else tensor.detach() for tensor in tensors]
        return torch.cat([tensor.reshape(-1).to(self.dtype) for tensor in dense])

    def _set_dtype(self) -> None:
        """Vectors have the widest type of all weights, inputs have the type of the first weight."""
        self._input_dtype = self.dtype = self.parameters[0].dtype
        for weight in self.parameters:
            self.dtype = torch.promote_types(self.dtype, weight.dtype)

    def parts(self, vector: Tensor) -> list[Tensor]:
        """Split a vector of shape (size,) into tensors with the shapes of the weights."""
        pieces = torch.split(vector.to(self.device, self.dtype), [weight.numel() for weight in self.parameters])
        return [piece.view_as(weight).to(weight.dtype) for piece, weight in zip(pieces, self.parameters, strict=True)]

    @contextmanager
    def at(self, weights: Tensor | None) -> Iterator[None]:
        """As a context, use these weights, and the original ones afterwards."""
        self.move(weights)
        try:
            yield
        finally:
            self.move()

    def _cast(self, leaf: Tensor) -> Tensor:
        return leaf.to(self._input_dtype) if leaf.is_floating_point() else leaf


def needs_backward(error: Exception) -> bool:
    """Whether only `backward()` can compute gradients: activation checkpointing with use_reentrant=True."""
    return "checkpoint" in str(error).lower() and "inputs" in str(error)


def make_dense(model: nn.Module) -> None:
    """Make gradients of embeddings dense. The values are the same, and they can be differentiated again."""
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False


def _make_double(model: nn.Module) -> None:
    model.double()
    model._apply(lambda tensor: tensor.to(torch.complex128) if tensor.is_complex() else tensor)  # type: ignore[no-untyped-call]


def _refuse_complex(model: nn.Module) -> None:
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.is_complex():
            raise UserError(
                f"The weight {name} is complex, which is not supported here: store "
                "torch.view_as_real of it and use torch.view_as_complex in the forward pass, or freeze it."
            )


def _data_of(task: Task, data: str | GivenData) -> Data:
    if not isinstance(data, str):
        return as_data(data, "given")
    if data not in ("train", "validation"):
        raise UserError(f"data={data!r} is not known: use train, validation, or data of your own.")
    return task.train if data == "train" else task.validation


def recompute_batch_norm(surface: EmpiricalRisk, indices: Tensor | None = None) -> None:
    """Set the running statistics of batch norm to those of the examples at the current weights."""
    if not surface.norms:
        return
    with taken_anew(surface.model, surface.norms):
        for inputs, _ in surface.chunks(indices):
            surface.outputs(inputs)
