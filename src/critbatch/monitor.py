"""The gradient noise scale in a training loop of the user's own."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.examples import leaves
from critbatch.monitor_hooks import ExampleHooks, MicroBatchHooks, ProcessHooks
from critbatch.monitor_records import MonitorAdvice
from critbatch.monitor_window import Waiting, Window
from critbatch.noise_meter import layers, preconditioner
from critbatch.predict.other_sizes import advise_from_noise
from critbatch.predict.step_curve import StepSeconds, step_curve
from critbatch.records import LayerNoise, NoiseScale
from critbatch.squared_norms import squares

By = Literal["auto", "examples", "micro_batches", "processes"]


class Monitor:
    """Watches a model's gradients while a loop of your own trains it, and tells the gradient noise scale.

    ``monitor.update()`` comes after the last ``backward()`` of a step and before anything changes the gradients:
    clipping, unscaling, the optimizer. Gradients must be None or zero before the first ``backward()`` of a step. The
    loss is a mean over the examples of a micro-batch, divided by the number of micro-batches or not.

    Args:
        model: in several processes, the DistributedDataParallel model.
        by: which small gradients are compared with that of the whole batch. "micro_batches": those of gradient
            accumulation, two or more a step. "processes": those of each process of a DDP run, before they are averaged.
            "examples": those of single examples, by `critbatch.per_example.GhostNorms`, which takes a
            part of a backward pass more. "auto" is "processes" for a DDP model of several processes, else "examples".
        examples: how many there are to draw from without replacement; infinite unless given.
        optimizer: also tells the noise scale in the metric of its second moments (Adam and its like); not by examples.
        window: the noise scale is that of the last so many steps.
        timed: whether the seconds between updates are noted, so that `advice` knows those of a step.
        process_group: by processes, of a model whose DistributedDataParallel wrapper is not at hand.

    Raises:
        UserError: if the model cannot be watched this way: a layer whose examples cannot be told apart, say.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        by: By = "auto",
        examples: float = math.inf,
        optimizer: Optimizer | None = None,
        window: int = 100,
        timed: bool = False,
        process_group: torch.distributed.ProcessGroup | None = None,
    ) -> None:
        if window < 1:
            raise UserError(f"window={window} is not possible: use 1 or more.")
        parallel = isinstance(model, DistributedDataParallel)
        if by == "auto":
            by = "processes" if parallel and torch.distributed.get_world_size() > 1 else "examples"
        if by == "examples" and optimizer is not None:
            raise UserError("by='examples' has no noise scale in the optimizer's metric: use by='micro_batches'.")
        named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
        self.names = [name.removeprefix("module.") if parallel else name for name, _ in named]
        self.parameters = [weight for _, weight in named]
        self.model, self.by, self.examples, self.optimizer = model, by, examples, optimizer
        self.steps = 0  # seen
        self.timed, self._last_update = timed, math.nan
        self._group = process_group
        self._window = Window(window, examples)
        self._sizes: list[int] = []
        self._factors: list[Tensor] | None = None
        self._batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
        self._counter = model.register_forward_pre_hook(self._count, with_kwargs=True)
        try:
            self._hooks = self._make_hooks()
        except BaseException:
            self._counter.remove()
            raise

    def _make_hooks(self) -> ExampleHooks | MicroBatchHooks | ProcessHooks:
        if self.by == "examples":
            return ExampleHooks(self.model)
        if self.by == "micro_batches":
            return MicroBatchHooks(self.parameters, self._metric)
        if self.by == "processes":
            return ProcessHooks(self.model, self.parameters, self._metric, self._group)
        raise UserError(f"by={self.by!r} is not known: use auto, examples, micro_batches or processes.")

    def micro_batch(self, examples: int) -> None:
        """Say how many examples the next backward pass is of, before its forward pass.

        Only where the model itself is not called, but parts of it: from the first call on, its calls are not counted.
        """
        self._counter.remove()
        self._hooks.next_pass()
        self._sizes.append(examples)

    def update(self, *, gradient_scale: float = 1.0, unscaled: bool = False) -> None:
        """Take over what the step's backward passes showed.

        Args:
            gradient_scale: what the gradients are multiplied with, such as ``scaler.get_scale()`` of a GradScaler.
            unscaled: whether the scaler has divided them by it since the backward passes.

        Raises:
            NothingToCompareError: a UserError; one micro-batch, or no backward pass since the last call.
            UserError: if forward and backward passes do not belong together.
        """
        now = time.perf_counter()
        seconds, self._last_update = now - self._last_update, now
        sizes, self._sizes = self._sizes, []
        seen = self._hooks.take(sizes)
        big_norm2 = squares([weight.grad for weight in self.parameters], self._metric())
        asked = seconds if self.timed and not math.isnan(seconds) else None
        self._window.add(Waiting(seen, big_norm2, gradient_scale, 1.0 if unscaled else gradient_scale, asked))
        self._factors = None
        self.steps += 1

    @property
    def skipped(self) -> int:
        """Steps whose gradients were not finite."""
        self._window.settle()
        return self._window.skipped

    def noise_scale(self, *, in_metric: bool = False) -> NoiseScale:
        """Signal, noise and their ratio over the last steps, with its interval or the reason not to trust it.

        Args:
            in_metric: of the optimizer, over those of the steps at which it had second moments.
        """
        self._window.settle()
        return self._marked(self._window.noise_scale(row=int(in_metric)))

    def layers(self) -> tuple[LayerNoise, ...]:
        """The noise scale of each layer's part of the gradient."""
        self._window.settle()
        return tuple(
            LayerNoise(
                name=name,
                parameters=sum(self.parameters[i].numel() for i in places),
                scale=self._marked(self._window.noise_scale(places=places)),
            )
            for name, places in layers(self.names).items()
        )

    def advice(
        self,
        batch_sizes: Sequence[int] | None = None,
        *,
        step_seconds: StepSeconds | None = None,
        optimizer: Optimizer | None = None,
    ) -> MonitorAdvice:
        """The noise scale now, the critical batch size from here on, and what other batch sizes would cost.

        It waits for a device, so call it now and then. `str(advice)` is a sentence or two, `advice.text("zh")` too.
        `critbatch.predict.other_sizes` has the arithmetic and where it is from.

        Args:
            batch_sizes: to compare with the size in use; from an eighth of it to eight times, by doublings, unless
                given.
            step_seconds: a `Speed`, seconds by batch size, or a function of it. With `timed=True` those of the size in
                use are known anyway.
            optimizer: whose learning rate would go with the sizes; the monitor's unless given.

        Raises:
            UserError: if a size or a time is not possible.
        """
        self._window.settle()
        optimizer = optimizer or self.optimizer
        return advise_from_noise(
            self.noise_scale(),
            batch_size=self._window.batch_size,
            others=batch_sizes,
            steps=self.steps,
            by=self.by,
            optimizer=_kind(optimizer),
            learning_rate=None if optimizer is None else float(optimizer.param_groups[0]["lr"]),
            step_seconds=step_curve(step_seconds, self._window.timed),
        )

    def state_dict(self) -> dict[str, Any]:
        self._window.settle()
        return {"by": self.by, "steps": self.steps, **self._window.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            UserError: if it is of a model with other weights.
        """
        self._window.load_state_dict(state, weights=len(self.names))
        self.steps, self._last_update = state["steps"], math.nan

    def close(self) -> None:
        """Take the hooks off."""
        self._window.settle()
        self._counter.remove()
        self._hooks.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _marked(self, scale: NoiseScale) -> NoiseScale:
        mixed = self._batch_norm and self.model.training
        return replace(scale, reason="batch_norm_in_train_mode") if mixed and not scale.reason else scale

    def _metric(self) -> list[Tensor] | None:
        """The same factors for all micro-batches of a step."""
        if self.optimizer is not None and self._factors is None:
            self._factors = preconditioner(self.optimizer, self.parameters)
        return self._factors

    def _count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and module.training:
            found = [leaf for given in (*args, *kwargs.values()) for leaf in _tensors(given) if leaf.ndim]
            self._sizes.append(len(found[0]) if found else 0)


def _tensors(given: Any) -> list[Tensor]:
    return leaves(given) if isinstance(given, (Tensor, tuple, dict)) else []


def _kind(optimizer: Optimizer | None) -> str:
    """Whose exponent its learning rate follows."""
    if isinstance(optimizer, torch.optim.SGD):
        return "sgd"
    if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        return "adam"
    return type(optimizer).__name__ if optimizer is not None else ""
