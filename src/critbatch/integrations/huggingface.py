"""The gradient noise scale in a Hugging Face Trainer: ``Trainer(..., callbacks=[BatchSizeMonitor()])``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import By, log
from critbatch.integrations.base import AfterBackward, MonitorCallback
from critbatch.law.step_time import StepSeconds
from critbatch.records.core import NoiseScale
from critbatch.records.io import atomic_replacement
from critbatch.records.monitor import MonitorAdvice

try:
    from accelerate.state import AcceleratorState, GradientState
    from transformers import TrainerCallback
except ImportError as error:
    raise UserError(
        f"BatchSizeMonitor needs transformers and accelerate ({error}): pip install 'critbatch[transformers]'."
    ) from error

STATE = "critbatch_monitor.pt"


class BatchSizeMonitor(TrainerCallback):
    """Watches the gradients of a run, logs its noise scale, and says what another batch size would cost.

    It works with gradient accumulation, on one device or with DDP. Gradients are taken at the end of the last backward
    pass of a step, because the Trainer clips before its own `on_pre_optimizer_step`. ``noise_scale`` and
    ``critical_batch_size`` go into the Trainer's log entries. Trackers come before your own callbacks, so put it first
    for them: ``trainer.callback_handler.callbacks.insert(0, BatchSizeMonitor())``. Checkpoints in ``output_dir`` hold
    the monitor's state, so that a resumed training continues from it.

    It never stops the training: a problem is logged once as a warning.

    Args:
        by: Whose gradients are compared. Default: "processes" with DDP, "micro_batches" with gradient accumulation,
            "examples" otherwise. See `critbatch.Monitor`.
        examples: Examples in the training set, drawn without replacement. Default: infinite.
        window: Number of last steps that the noise scale is measured over.
        language: Language of the advice that is printed at the end, "en" or "zh". None: nothing is printed.
        batch_size: Examples in a step, over all processes. Default: counted, with the help of
            ``per_device_train_batch_size``.
        strict: Raise a UserError if something cannot be measured.

    Raises:
        UserError: if an argument is not possible; strict alone: when training begins, if the model cannot be watched,
            or is shared out over devices in another way, and at a step that cannot be measured.
    """

    def __init__(
        self,
        *,
        by: By = "auto",
        examples: float = math.inf,
        window: int = 100,
        language: str | None = "en",
        batch_size: int | None = None,
        strict: bool = False,
    ) -> None:
        self._watch = MonitorCallback(
            by=by, examples=examples, window=window, language=language, batch_size=batch_size, strict=strict
        )
        self._after: AfterBackward | None = None
        self._scaler: Any = None

    def noise_scale(self) -> NoiseScale:
        """As `Monitor.noise_scale`, during training and after it."""
        return self._watch.noise_scale()

    def advice(
        self, batch_sizes: Sequence[int] | None = None, *, step_seconds: StepSeconds | None = None
    ) -> MonitorAdvice:
        """As `Monitor.advice`, during training and after it, with the Trainer's learning rate."""
        return self._watch.advice(batch_sizes, step_seconds=step_seconds)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end()
        kind = str(getattr(AcceleratorState().distributed_type, "value", "NO"))
        if kind in ("DEEPSPEED", "FSDP", "MEGATRON_LM") or getattr(args, "n_gpu", 1) > 1:
            how = kind if kind != "NO" else "DataParallel"
            self._watch.give_up(
                UserError(f"BatchSizeMonitor cannot see the gradients of {how}: use one device or DDP.")
            )
            return
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        self._scaler = getattr(optimizer, "scaler", None)
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE
        try:
            state_saved = torch.load(saved, weights_only=True) if state.global_step and saved.is_file() else {}
        except Exception as error:  # a damaged file
            log.warning("critbatch.Monitor begins anew, since %s cannot be read: %s", saved, error)
            state_saved = {}
        self._watch.load_state_dict(state_saved)
        self._watch.begin(
            model,
            getattr(optimizer, "optimizer", optimizer),  # accelerate's has torch's inside
            accumulation=args.gradient_accumulation_steps,
            processes=args.world_size,
            group=torch.distributed.group.WORLD if args.world_size > 1 else None,
            micro_batch_size=state.train_batch_size or args.train_batch_size,
        )
        if self._watch.monitor is not None:
            self._after = AfterBackward(model, self._step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if logs is None or "loss" not in logs:
            return
        numbers = self._watch.numbers()
        logs.update(numbers)
        if state.log_history:
            state.log_history[-1].update(numbers)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            with atomic_replacement(folder / STATE) as part:
                torch.save(self._watch.state_dict(), part)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end()
        if state.is_world_process_zero:
            self._watch.print_advice()

    def _step(self) -> None:
        """Only the last backward pass of a step ends with the gradient of the whole batch."""
        if GradientState().sync_gradients:
            self._watch.step(gradient_scale=self._scaler.get_scale() if self._scaler is not None else 1.0)

    def _end(self) -> None:
        self._watch.end()
        if self._after is not None:
            self._after.close()
        self._after = None
