"""The gradient noise scale in a training loop of the user's own."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.examples import leaves
from critbatch.gradient_noise import average_pairs, separate
from critbatch.monitor_hooks import ExampleHooks, Later, MicroBatchHooks, ProcessHooks
from critbatch.noise_meter import layers, preconditioner
from critbatch.predict.other_sizes import OtherSize, other_sizes
from critbatch.records import LayerNoise, NoiseScale
from critbatch.squared_norms import squares

STEPS_AT_ONCE = 32
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
        self._skipped = 0
        self._pairs: deque[Tensor] = deque(maxlen=window)
        self._waiting: list[tuple[Later, Tensor, float]] = []
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
            return ProcessHooks(self.model, self.parameters, self._metric)
        raise UserError(f"by={self.by!r} is not known: use auto, examples, micro_batches or processes.")

    def update(self, *, gradient_scale: float = 1.0) -> None:
        """Take over what the step's backward passes showed.

        Args:
            gradient_scale: what the gradients are multiplied with, such as ``scaler.get_scale()`` of a GradScaler.

        Raises:
            UserError: if there is nothing to compare: one micro-batch, or no backward pass since the last call.
        """
        if len(self._waiting) == STEPS_AT_ONCE:
            self._settle()
        sizes, self._sizes = self._sizes, []
        seen = self._hooks.take(sizes)
        big_norm2 = squares([weight.grad for weight in self.parameters], self._metric())
        self._waiting.append((seen, big_norm2, gradient_scale))
        self._factors = None
        self.steps += 1

    @property
    def skipped(self) -> int:
        """Steps whose gradients were not finite."""
        self._settle()
        return self._skipped

    def noise_scale(self, *, in_metric: bool = False) -> NoiseScale:
        """Signal, noise and their ratio over the last steps, with its interval or the reason not to trust it.

        Args:
            in_metric: of the optimizer, over those of the steps at which it had second moments.
        """
        self._settle()
        row = int(in_metric)
        return self._told([pair[:, row].sum(-1) for pair in self._pairs if pair.shape[1] > row])

    def layers(self) -> tuple[LayerNoise, ...]:
        """The noise scale of each layer's part of the gradient."""
        self._settle()
        return tuple(
            LayerNoise(
                name=name,
                parameters=sum(self.parameters[i].numel() for i in places),
                scale=self._told([pair[:, 0, places].sum(-1) for pair in self._pairs]),
            )
            for name, places in layers(self.names).items()
        )

    def advice(self, batch_size: int, others: tuple[int, ...] = ()) -> tuple[OtherSize, ...]:
        """What other batch sizes would cost from here on, in steps and in examples, beside `batch_size`.

        McCandlish et al. 2018, arXiv:1812.06162, equation 2.7: it takes the noise scale as it is now for the rest of
        the run, and the learning rate as tuned at every size.
        """
        return other_sizes(self.noise_scale(), batch_size=batch_size, others=others)

    def state_dict(self) -> dict[str, Any]:
        self._settle()
        return {"by": self.by, "steps": self.steps, "skipped": self._skipped, "pairs": list(self._pairs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            UserError: if it is of a model with other weights.
        """
        if any(pair.shape[-1] != len(self.names) for pair in state["pairs"]):
            raise UserError(
                f"The state is of a model with {state['pairs'][0].shape[-1]} weights and this one has "
                f"{len(self.names)}: use the model that was monitored."
            )
        self.steps, self._skipped, self._waiting = state["steps"], state["skipped"], []
        self._pairs.clear()
        self._pairs.extend(state["pairs"])

    def close(self) -> None:
        """Take the hooks off."""
        self._settle()
        self._counter.remove()
        self._hooks.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _settle(self) -> None:
        """Turn what the last steps showed into signal and noise, all at once: no step waits for a device."""
        waiting, self._waiting = self._waiting, []
        for seen, big_norm2, scale in waiting:
            norms2, small, big = seen()
            # A few numbers: arrays take a tenth of the time that tensors do.
            both = [tensor.detach().cpu().double().numpy() / scale**2 for tensor in (norms2, big_norm2)]
            with np.errstate(invalid="ignore"):  # gradients may have overflowed
                pair = np.stack(separate(both[0], both[1], small=small, big=big, examples=self.examples))
            if np.isfinite(pair).all():
                self._pairs.append(torch.from_numpy(pair))
            else:
                self._skipped += 1

    def _told(self, pairs: list[Tensor]) -> NoiseScale:
        both = torch.stack(pairs) if pairs else torch.zeros(0, 2)
        scale = average_pairs(both[:, 0], both[:, 1])
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
