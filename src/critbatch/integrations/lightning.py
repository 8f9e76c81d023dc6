"""The gradient noise scale in a Lightning trainer: ``Trainer(callbacks=[BatchSizeMonitor()])``."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import By
from critbatch.integrations.base import MonitorCallback
from critbatch.law.step_time import StepSeconds
from critbatch.records.core import NoiseScale
from critbatch.records.monitor import MonitorAdvice


def _lightning() -> Any:
    """The package that is in use: `lightning.pytorch`, or the older name of the same."""
    names = ["lightning.pytorch", "pytorch_lightning"]
    if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
        names.reverse()
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reason = error
    raise UserError(f"BatchSizeMonitor needs Lightning ({reason}): pip install 'critbatch[lightning]'.") from reason


_PACKAGE = _lightning()
_Callback: Any = _PACKAGE.Callback


class BatchSizeMonitor(_Callback):
    """Watches the gradients of a run, logs its noise scale, and says what another batch size would cost.

    It works with gradient accumulation, on one device or with DDP, with one optimizer. Gradients are those before the
    trainer clips them. In manual optimization those that you clip yourself before ``optimizer.step()`` are seen
    clipped, and each training step has one backward pass. ``noise_scale`` and ``critical_batch_size`` go to the
    trainer's loggers and into ``trainer.callback_metrics``; its checkpoints hold the monitor's state.

    It never stops the training: a problem is logged once as a warning.

    Args:
        by: Whose gradients are compared. Default: "processes" with DDP, "micro_batches" with gradient accumulation,
            "examples" otherwise. See `critbatch.Monitor`.
        examples: Examples in the training set, drawn without replacement. Default: infinite.
        window: Number of last steps that the noise scale is measured over.
        every: steps from one log entry to the next.
        language: Language of the advice that is printed at the end, "en" or "zh". None: nothing is printed.
        batch_size: examples in a step, over all processes; counted unless given, with the help of the DataLoader's
            ``batch_size``.
        strict: Raise a UserError if something cannot be measured.

    Raises:
        UserError: if an argument is not possible; strict alone: when training begins, if the model or the strategy
            cannot be watched, and at a step that cannot be measured.
    """

    def __init__(
        self,
        *,
        by: By = "auto",
        examples: float = math.inf,
        window: int = 100,
        every: int = 50,
        language: str | None = "en",
        batch_size: int | None = None,
        strict: bool = False,
    ) -> None:
        super().__init__()
        if every < 1:
            raise UserError(f"every={every} is not possible: use 1 or more.")
        self.every, self._stepped = every, False
        self._watch = MonitorCallback(
            by=by, examples=examples, window=window, language=language, batch_size=batch_size, strict=strict
        )

    def noise_scale(self) -> NoiseScale:
        """As `Monitor.noise_scale`, during training and after it."""
        return self._watch.noise_scale()

    def advice(
        self, batch_sizes: Sequence[int] | None = None, *, step_seconds: StepSeconds | None = None
    ) -> MonitorAdvice:
        """As `Monitor.advice`, during training and after it, with the trainer's learning rate."""
        return self._watch.advice(batch_sizes, step_seconds=step_seconds)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        strategies = _PACKAGE.strategies
        if not isinstance(trainer.strategy, (strategies.SingleDeviceStrategy, strategies.DDPStrategy)):
            self._watch.give_up(
                UserError(
                    f"BatchSizeMonitor cannot see the gradients of a {type(trainer.strategy).__name__}: use one device "
                    "or DDP."
                )
            )
            return
        if len(trainer.optimizers) != 1:
            self._watch.give_up(
                UserError(
                    f"BatchSizeMonitor watches a model with one optimizer, but this one has {len(trainer.optimizers)}: "
                    "use critbatch.Monitor on the part of each."
                )
            )
            return
        size = getattr(trainer.train_dataloader, "batch_size", None)
        self._watch.begin(
            trainer.model,
            trainer.optimizers[0],
            accumulation=self._accumulation(trainer) if pl_module.automatic_optimization else None,
            processes=trainer.world_size,
            micro_batch_size=size if isinstance(size, int) else None,
        )

    def _accumulation(self, trainer: Any) -> int | None:
        """Backward passes in a step; None where another callback changes their number along the way."""
        schedulers = _PACKAGE.callbacks.GradientAccumulationScheduler
        if any(isinstance(callback, schedulers) for callback in trainer.callbacks):
            return None
        return int(trainer.accumulate_grad_batches)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._watch.monitor is not None:
            self._watch.monitor.begin_batch(batch)
        self._stepped = False

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Optimizer) -> None:
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler is not None else 1.0
        self._watch.step(gradient_scale=scale, unscaled=not getattr(optimizer, "_step_supports_amp_scaling", False))
        self._stepped = True

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        monitor = self._watch.monitor
        if monitor is None or not self._stepped or not monitor.steps or monitor.steps % self.every:
            return
        numbers = self._watch.numbers()
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)
        pl_module.log_dict(numbers, logger=False, batch_size=1, rank_zero_only=True)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._watch.end()
        if trainer.is_global_zero:
            self._watch.print_advice()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """After an exception, too."""
        self._watch.end()

    def state_dict(self) -> dict[str, Any]:
        return self._watch.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._watch.load_state_dict(state_dict)
