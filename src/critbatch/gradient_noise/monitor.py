"""Measure the gradient noise scale in your own training loop."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from critbatch.arguments import check_counts
from critbatch.errors import UserError
from critbatch.gradient_noise.estimator import (
    NothingToCompareError,
    OtherWeightsError,
    PassesError,
    Scales,
    SizeError,
    Sums,
    Tally,
    UnmeasurableError,
    over_processes,
)
from critbatch.gradient_noise.example_counts import HOW, AmbiguousSizeError, Evidence, ExampleCounter
from critbatch.gradient_noise.hooks import (
    ExampleHooks,
    GradientHooks,
    Pass,
    big_norm2,
    is_sharded,
    refuse_other_shards,
    small_norms2,
)
from critbatch.gradient_noise.noise_meter import layers, preconditioner
from critbatch.gradient_noise.window import BatchSize, NoiseWindow, PendingStep, Weights
from critbatch.law.batch_size_change import advise_from_noise
from critbatch.law.prior import WIDE_PRIOR
from critbatch.law.step_time import StepSeconds, step_curve
from critbatch.recipes.base import RecipeInfo
from critbatch.recipes.registry import recipe_of_optimizer
from critbatch.records.core import LayerNoise, NoiseScale
from critbatch.records.monitor import MonitorAdvice
from critbatch.runtime.device import sum_dtype

By = Literal["auto", "examples", "micro_batches", "processes"]
NO_PASS = "There was no backward pass since the last `update()`: call it once after each step's backward passes."
MOST_FAILED_STEPS = 10  # measuring ends after so many steps that could not be measured, if none could
HALF = (torch.float16, torch.bfloat16)
log = logging.getLogger("critbatch")


class Monitor:
    """Measures the gradient noise scale of a model while your own loop trains it.

    Call ``monitor.update()`` after the last ``backward()`` of a step and before the optimizer step. If you skip a step,
    call ``discard()`` instead. Before the first ``backward()`` of a step, the gradients must be None or zero.

    In several processes, with DistributedDataParallel or ``fully_shard``, the gradients of all processes are compared.
    All processes must call ``update()`` equally often.

    A Monitor never ends your training. If it cannot measure a step, it leaves the step out and logs why, once for each
    reason. If it cannot measure any step, it stops measuring. `problem` is the last such sentence, and
    ``noise_scale().reason`` the most common reason. With ``strict=True`` it raises an error instead.

    Args:
        model: The model. In several processes: the DistributedDataParallel model, or the one given to ``fully_shard``.
        by: Which small gradients are compared with the gradient of the whole batch. "micro_batches": those of gradient
            accumulation, two or more per step over all processes. "processes": the same, for a model in several
            processes. "examples": those of single examples, by `critbatch.gradient_noise.ghost_norms`; this adds a part
            of a backward pass, and does not work for a sharded model. "auto": "processes" for a model in several
            processes, else "examples".
        examples: The number of examples from which batches are drawn without replacement; infinite by default.
        batch_size: Examples in a step, over all processes. By default they are counted from the shapes of the model's
            inputs and outputs. If these disagree, you must give it.
        weights: How micro-batches of different sizes count in the gradient of a step. "equal": the loss of each is a
            mean over its own examples, possibly divided by the number of micro-batches. "by_size": the loss of each is
            a sum over its examples, or their tokens, divided by one number for all. "auto": inferred from the
            gradients.
        optimizer: With an optimizer that has second moments (such as Adam), the noise scale is also measured in its
            metric; not for "examples".
        window: The noise scale is that of this many last steps.
        timed: Whether to record the seconds between updates, so that `advice` knows the time of a step.
        process_group: For a model whose gradients are averaged over processes, but whose DistributedDataParallel
            wrapper is not available here.
        strict: Whether a step that cannot be measured raises a UserError.

    Raises:
        UserError: If the model cannot be measured in this way, for example because the examples of a layer cannot be
            separated.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        by: By = "auto",
        examples: float = math.inf,
        batch_size: int | None = None,
        weights: Weights = "auto",
        optimizer: Optimizer | None = None,
        window: int = 100,
        timed: bool = False,
        process_group: torch.distributed.ProcessGroup | None = None,
        strict: bool = False,
    ) -> None:
        check_counts({"window": window, "batch_size": batch_size}, lambda name, value: f"{name}={value}")
        check_arguments(by=by, window=window, batch_size=batch_size, weights=weights)
        parallel = isinstance(model, DistributedDataParallel)
        if by == "auto":
            shared = parallel or any(map(is_sharded, model.parameters()))
            by = "processes" if shared and torch.distributed.get_world_size() > 1 else "examples"
        if by == "examples" and optimizer is not None:
            raise UserError("by='examples' has no noise scale in the optimizer's metric: use by='micro_batches'.")
        self.model, self.by, self.examples, self.optimizer = model, by, examples, optimizer
        self.batch_size, self.strict = batch_size, strict
        self.steps = 0  # updates
        self.problem = ""  # why the last step that was left out could not be measured
        self.timed, self._last_update = timed, math.nan
        self._window = NoiseWindow(
            window, examples, by_examples=by == "examples", weights=weights, leave_out=self._leave_out
        )
        self._factors: list[Tensor] | None = None
        self._batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
        self._counter = ExampleCounter()
        self._manual_passes = False  # whether `micro_batch` marks the beginning of each pass
        self._fault: Exception | None = None  # raised in a hook, reported at the next update
        self._stale = False  # whether the trained weights are no longer those with hooks
        self._off = False
        self._logged: set[str] = set()
        self._examples: ExampleHooks | None = None
        self._own_handles: list[Any] = []
        self._make_hooks()
        self._group = self._find_group(process_group)
        if by == "processes" and self._group is None:
            self.close()
            raise UserError(
                f"by='processes' needs a DistributedDataParallel model, but got a {type(model).__name__}: wrap it, or "
                "use by='examples'."
            )

    def _make_hooks(self) -> None:
        """Put hooks on the weights that need a gradient now."""
        named = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        parallel = isinstance(self.model, DistributedDataParallel)
        self.names = [name.removeprefix("module.") if parallel else name for name, _ in named]
        self.parameters = [weight for _, weight in named]
        self._half = any(weight.dtype in HALF for weight in self.parameters)
        refuse_other_shards(self.model, self.parameters)
        if any(map(is_sharded, self.parameters)):
            if self.by == "examples":
                raise UserError("by='examples' does not see the weights of a sharded model: use by='processes'.")
            if self.optimizer is not None:
                raise UserError("A sharded model has no noise scale in the optimizer's metric: leave `optimizer` out.")
        # This pre-hook runs first: it notices a discarded step before the other hooks run, and sharded weights are
        # still sharded then.
        self._own_handles = [self.model.register_forward_pre_hook(self._before_forward, with_kwargs=True, prepend=True)]
        try:
            if self.by == "examples":
                self._examples = ExampleHooks(self.model, [name for name, _ in named])
            self._gradients = GradientHooks(
                self.model, self.parameters, self._metric, norms=self.by != "examples", failed=self._failed
            )
            self._own_handles.append(self.model.register_forward_hook(self._after_forward))
        except BaseException:
            self._take_off_hooks()
            raise
        self._trained, self._stale = self._trained_weights(), False

    def _trained_weights(self) -> list[tuple[int, bool]]:
        """Identity of each weight, and whether it is trained. Weights of a sharded model change their identity."""
        sharded = self._gradients.sharded
        return [(0 if sharded else id(weight), weight.requires_grad) for weight in self.model.parameters()]

    def _find_group(
        self, process_group: torch.distributed.ProcessGroup | None
    ) -> torch.distributed.ProcessGroup | None:
        if process_group is not None:
            return process_group
        if isinstance(self.model, DistributedDataParallel):
            return self.model.process_group
        if self._gradients.sharded:
            weight: Any = self.parameters[0]
            return weight.device_mesh.get_group()  # type: ignore[no-any-return]
        return None

    def micro_batch(self, examples: int) -> None:
        """Say, before the forward pass, how many examples the next backward pass has.

        Use it if parts of the model are called instead of the model itself, or if the tensors do not show the number.
        After the first call, calls of the model are no longer counted.
        """
        self._manual_passes = True
        if not self._off:
            self._begin_pass(size=int(examples))

    def begin_batch(self, batch: Any) -> None:
        """Like `micro_batch`, for a trainer that has the batch but not its number of examples."""
        self._manual_passes = True
        if not self._off:
            evidence = Evidence()
            evidence.add_inputs((batch,), {})
            self._begin_pass(evidence=evidence)

    def expect(self, examples: int) -> None:
        """Say how many examples most passes of this process have. This decides where tensors disagree."""
        self._counter = ExampleCounter(examples)

    def discard(self) -> None:
        """Forget the backward passes since the last update, because their step is skipped."""
        self._gradients.passes = []
        if self._examples is not None:
            self._examples.discard()
        self._factors = None

    def update(
        self,
        *,
        batch_size: int | Sequence[int] | None = None,
        gradient_scale: float = 1.0,
        unscaled: bool = False,
    ) -> None:
        """Record what the backward passes of this step showed.

        Args:
            batch_size: Examples in the step, over all processes; or one number for each backward pass of this process.
                The default is the Monitor's `batch_size`, or else the counted number.
            gradient_scale: The factor that the gradients were multiplied by, such as ``scaler.get_scale()`` of a
                GradScaler.
            unscaled: Whether the scaler has already divided the gradients by this factor.

        Raises:
            NothingToCompareError: A UserError, only with `strict`: if there was only one micro-batch, or no backward
                pass since the last call.
            UserError: Only with `strict`: if the step cannot be measured.
        """
        now = time.perf_counter()
        seconds, self._last_update = now - self._last_update, now
        self.steps += 1
        if self._off and self._group is None:
            return
        problem: UnmeasurableError | None = None
        sums: Sums | None = None
        step_size: BatchSize | None = None
        try:
            step_size = self._given_size(batch_size)
            sums = self._sums(batch_size if isinstance(batch_size, Sequence) else None, counted=step_size is not None)
        except UnmeasurableError as error:
            problem = error
        except Exception as error:
            self._fault = self._fault or error
            problem = UnmeasurableError(in_words(error))
        self._factors = None
        world = 1 if self._group is None else torch.distributed.get_world_size(self._group)
        if problem is not None and world == 1:
            self._window.skip(problem)
        else:
            # Other processes wait for the sums of this one, even if it could not measure the step.
            later = over_processes(sums or self._no_sums(), self._group, sharded=self._gradients.sharded)
            scales = Scales(gradient_scale, 1.0 if unscaled else gradient_scale, world)
            timed = seconds if self.timed and not math.isnan(seconds) else None
            self._window.add(PendingStep(later, scales, step_size, timed, problem, self._half))
        if self.strict:
            self._window.settle()
        self._stop_if_unmeasurable()
        if self._gradients.sharded:
            self._stale = self._trained_weights() != self._trained
        if self._stale and not self._off:
            self._watch_other_weights()

    def _sums(self, sizes: Sequence[int] | None, *, counted: bool) -> Sums:
        """The sums of this process since the last update.

        Args:
            sizes: examples in each pass, if the user gives them; None to count them.
            counted: whether the size of the step is known anyway.
        """
        passes = self._gradients.take()
        examples = self._examples
        if self._fault is not None:
            raise self._fault
        if self._off:
            raise UnmeasurableError(self.problem)
        if self._stale:
            raise OtherWeightsError("Weights were frozen, unfrozen or added: measuring starts again at the next step.")
        backward = [one for one in passes if one.fired]
        if not backward:
            if examples is not None:
                examples.discard()
            raise NothingToCompareError(NO_PASS)
        if any(one.repeated for one in backward):
            raise PassesError(
                "Two backward passes went through one forward pass, or parts of it: give one backward pass for each."
            )
        if len(passes) > len(backward) and sizes is None and not counted:
            raise PassesError(
                f"A step had {len(passes)} forward passes and {len(backward)} backward passes: give one backward pass "
                "for each, or update(batch_size=...)."
            )
        known, ambiguous = self._sizes(backward, sizes)
        by_pass, small = self._small(backward, known)
        if known is None and examples is not None and len(by_pass) == len(backward):
            known = [norms2.shape[1] for norms2 in by_pass]
        if known is None and ambiguous is not None and not counted:
            raise SizeError(str(ambiguous))
        big = big_norm2(self.parameters, self._metric())
        return _summed(self._gradients, backward, known, by_pass, small, big, by_examples=examples is not None)

    def _small(self, passes: list[Pass], sizes: list[int] | None) -> tuple[list[Tensor], Tensor]:
        """Squared norms of each pass's small gradients, and their sum over the passes, shape (rows, weights)."""
        if self._examples is not None:
            norms2 = self._examples.take(sizes)
            if not norms2:
                raise NothingToCompareError(NO_PASS)
            return norms2, torch.stack([of_pass.sum(1) for of_pass in norms2]).sum(0)[None]
        every = small_norms2(passes, len(self.parameters))
        return list(every[:, :, 0]), every.sum(0).T

    def _sizes(
        self, passes: list[Pass], given: Sequence[int] | None
    ) -> tuple[list[int] | None, AmbiguousSizeError | None]:
        """Examples in each pass, or None and, if the tensors disagree, the error that says so."""
        if given is not None:
            if len(given) != len(passes) or min(given, default=0) < 1:
                raise SizeError(
                    f"batch_size={list(given)} does not fit a step of {len(passes)} backward passes: give one number "
                    "above 0 for each."
                )
            return [int(size) for size in given], None
        if all(one.size is None and one.evidence is None for one in passes):
            if self._examples is not None:
                return None, None  # only the layers show how many there are
            return None, AmbiguousSizeError(f"The model itself is not called, but parts of it: {HOW}.")
        sizes = []
        for one in passes:
            try:
                size = one.size if one.size is not None else self._counter.count(one.evidence or Evidence())
            except AmbiguousSizeError as error:
                return None, error
            if size < 1:
                return None, AmbiguousSizeError(f"A micro-batch has {size} examples: {HOW}.")
            sizes.append(size)
        return sizes, None

    def _given_size(self, batch_size: int | Sequence[int] | None) -> BatchSize | None:
        if batch_size is None or isinstance(batch_size, Sequence):
            of_all = self.batch_size if batch_size is None else None
            return BatchSize(of_all, always=True) if of_all is not None else None
        if batch_size < 1:
            raise SizeError(f"batch_size={batch_size} is not possible: use 1 or more.")
        return BatchSize(int(batch_size), always=False)

    def _no_sums(self) -> Sums:
        """Empty sums, for a process that cannot measure a step. Others may be able to."""
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        rows = 1 if self.by == "examples" or self._metric() is None else 2
        nothing = torch.zeros(rows, len(self.parameters), device=device)
        entries = self._gradients.entries.of_pass(Pass(), nothing)
        tally = torch.tensor(Tally(problems=1.0), dtype=sum_dtype(device), device=device)
        return Sums(nothing, nothing, entries, entries, tally)

    def _failed(self, error: Exception) -> None:
        self._fault = self._fault or error

    def _leave_out(self, error: UnmeasurableError) -> None:
        self.problem = str(error)
        if self.strict:
            raise error
        if error.reason not in self._logged:
            self._logged.add(error.reason)
            log.warning("critbatch.Monitor leaves out a step, and others like it. %s", self.problem)

    def _stop_if_unmeasurable(self) -> None:
        """Stop measuring if no step can be measured."""
        if self._off or self.strict:
            return
        if self._fault is not None or (self._group is None and self._is_unmeasurable()):
            self._off = True
            self._take_off_hooks()
            log.warning("critbatch.Monitor measures no further steps. Training goes on.")

    def _is_unmeasurable(self) -> bool:
        return not self._window.steps and sum(self._window.left_out.values()) >= MOST_FAILED_STEPS

    @property
    def left_out(self) -> Counter[str]:
        """Number of steps that could not be measured, for each reason: a key of reports/messages."""
        self._window.settle()
        return self._window.left_out

    @property
    def skipped(self) -> int:
        """Number of steps whose gradients were not finite."""
        self._window.settle()
        return self._window.skipped

    def noise_scale(self, *, in_metric: bool = False) -> NoiseScale:
        """Return signal, noise and their ratio over the last steps, with an interval or the reason why there is none.

        Args:
            in_metric: Whether to measure in the metric of the optimizer, over those steps at which it had second
                moments.
        """
        self._window.settle()
        return self._marked(self._window.noise_scale(row=int(in_metric)))

    def layers(self) -> tuple[LayerNoise, ...]:
        """Return the noise scale of each layer's part of the gradient."""
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
        """Return the noise scale now, the critical batch size from here on, and the cost of other batch sizes.

        This waits for the device, so do not call it at every step. `str(advice)` is a sentence or two, and so is
        `advice.text("zh")`. `critbatch.law.batch_size_change` has the formulas and their sources.

        Args:
            batch_sizes: Batch sizes to compare with the one in use. By default, doublings from an eighth of it to eight
                times it.
            step_seconds: Seconds per step: a `Speed`, a mapping from batch size to seconds, or a function of the batch
                size. With `timed=True`, those of the size in use are measured.
            optimizer: The optimizer whose learning rate changes with the batch size; the Monitor's by default.

        Raises:
            UserError: If a batch size or a time is not possible.
        """
        self._window.settle()
        optimizer = optimizer or self.optimizer
        recipe = recipe_of_optimizer(optimizer)
        return advise_from_noise(
            self.noise_scale(),
            batch_size=self._window.batch_size,
            others=batch_sizes,
            steps=self.steps,
            by=self.by,
            optimizer=_name_of(optimizer, recipe),
            prior=WIDE_PRIOR if recipe is None else recipe.law_prior,
            learning_rate=None if optimizer is None else float(optimizer.param_groups[0]["lr"]),
            step_seconds=step_curve(step_seconds, self._window.timed),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the measurements so far, to continue from after a restart."""
        self._window.settle()
        return {"by": self.by, "steps": self.steps, **self._window.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            UserError: If it belongs to a model with other weights.
        """
        self._window.load_state_dict(state, weights=len(self.names))
        self.steps, self._last_update = state["steps"], math.nan

    def close(self) -> None:
        """Remove the hooks from the model. Nothing more is measured."""
        self._window.settle()
        self._off = True
        self._take_off_hooks()

    def _take_off_hooks(self) -> None:
        for handle in self._own_handles:
            handle.remove()
        self._own_handles = []
        if self._examples is not None:
            self._examples.close()
        if hasattr(self, "_gradients"):
            self._gradients.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _marked(self, scale: NoiseScale) -> NoiseScale:
        mixed = self._batch_norm and self.model.training
        return replace(scale, reason="batch_norm_in_train_mode") if mixed and not scale.reason else scale

    def _metric(self) -> list[Tensor] | None:
        """The optimizer's metric: the same factors for all micro-batches of a step."""
        if self.optimizer is not None and self._factors is None:
            self._factors = preconditioner(self.optimizer, self.parameters)
        return self._factors

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._manual_passes or self._fault is not None or not torch.is_grad_enabled():
            return
        try:
            evidence = Evidence()
            evidence.add_inputs(args, kwargs)
            self._begin_pass(evidence=evidence)
        except Exception as error:
            self._failed(error)

    def _after_forward(self, module: nn.Module, args: tuple[Any, ...], outputs: Any) -> None:
        if self._manual_passes or self._fault is not None or not torch.is_grad_enabled():
            return
        try:
            self._gradients.see_outputs(outputs)
        except Exception as error:
            self._failed(error)

    def _begin_pass(self, *, size: int | None = None, evidence: Evidence | None = None) -> None:
        if self._gradients.thrown_away():
            self.discard()
        if not self._gradients.passes and not self._gradients.sharded and self._trained_weights() != self._trained:
            # Hooks cannot be changed while they are called.
            self._stale = True
            if self._manual_passes:
                self._watch_other_weights()
        if self._examples is not None:
            self._examples.end_pass()
        self._gradients.begin_pass(size, evidence)

    def _watch_other_weights(self) -> None:
        """Start again if weights were frozen, unfrozen or added: the gradient is a different one from here on."""
        self._window.restart()
        self._take_off_hooks()
        self._factors = None
        try:
            self._make_hooks()
        except Exception as error:
            self._off, self.problem = True, in_words(error)
            log.warning("critbatch.Monitor measures no further steps. Training goes on. %s", self.problem)


def in_words(error: Exception) -> str:
    """The sentence of an error. It leaves out a message that contains a tensor, whose memory may be freed."""
    if isinstance(error, UserError):
        return str(error)
    printable = all(isinstance(part, (str, int, float)) for part in error.args)
    return f"Measuring failed with {type(error).__name__}" + (f": {error}" if printable and error.args else ".")


def check_arguments(*, by: str, window: int, batch_size: int | None, weights: str = "auto") -> None:
    """Raise a UserError if an argument of a `Monitor` is not possible."""
    if by not in get_args(By):
        raise UserError(f"by={by!r} is not known: use auto, examples, micro_batches or processes.")
    if window < 1:
        raise UserError(f"window={window} is not possible: use 1 or more.")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size={batch_size} is not possible: use 1 or more.")
    if weights not in get_args(Weights):
        raise UserError(f"weights={weights!r} is not known: use auto, equal or by_size.")


def _summed(
    hooks: GradientHooks,
    passes: list[Pass],
    sizes: list[int] | None,
    by_pass: list[Tensor],
    small: Tensor,
    big: Tensor,
    *,
    by_examples: bool,
) -> Sums:
    """The `Sums` of one process."""
    entries = torch.stack([hooks.entries.of_pass(one, small) for one in passes])
    device, double = small.device, sum_dtype(small.device)
    known = Tally(passes=len(passes), unknown=float(len(passes)))
    trend = trend_logs = torch.zeros((), dtype=double, device=device)
    if sizes is not None:
        known = Tally(
            passes=len(passes),
            examples=sum(sizes),
            inverse=sum(1 / size for size in sizes),
            squares=sum(size**2 for size in sizes),
            logs=sum(math.log(size) for size in sizes),
        )
        if len(by_pass) == len(sizes):
            factors = torch.tensor([1.0 if by_examples else size**-0.5 for size in sizes], dtype=double, device=device)
            logs = torch.tensor([math.log(size) for size in sizes], dtype=double, device=device)
            weights = torch.stack([norms2.sum() for norms2 in by_pass]).to(double) * factors
            trend, trend_logs = weights.sum(), (weights * logs).sum()
    tally = torch.tensor(known, dtype=double, device=device)
    tally[Tally._fields.index("trend")] = trend
    tally[Tally._fields.index("trend_logs")] = trend_logs
    tally[Tally._fields.index("magnitude")] = entries.norm(dim=1).sum()
    return Sums(small, big, entries.sum(0), hooks.entries.of_grads(small), tally)


def _name_of(optimizer: Optimizer | None, recipe: RecipeInfo | None) -> str:
    """The name of the recipe, which sets how the learning rate scales, or else of the optimizer's class."""
    if recipe is not None:
        return recipe.name
    return type(optimizer).__name__ if optimizer is not None else ""
