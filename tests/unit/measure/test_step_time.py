"""Steps are timed at the right sizes, counted to the byte, and leave everything else as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import Dataset

from critbatch.errors import UserError
from critbatch.measure import step_time as rounds_module
from critbatch.measure.memory import CountedBytes, StepMemory, step_memory
from critbatch.measure.step_time import ROUNDS, Rounds, SpeedProgress, doublings, median_interval, speed
from critbatch.measure.timed_steps import Parts, TimedSteps, Visit
from critbatch.recipes import adam, sgd
from critbatch.recipes.plan import Plan
from critbatch.records.core import Estimate, Quantity, Speed, Target
from critbatch.runtime.distributed import Shard
from critbatch.runtime.host import processor_seconds
from critbatch.tasks.sampler import BatchGatherer, BatchIterator, EpochSampler
from critbatch.tasks.task import Task
from critbatch.training.step import Step

CPU = torch.device("cpu")
INPUTS = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 4
TARGET = Target(quantity=Quantity.VALIDATION_METRIC, value=0.9)
QUICK = 0.002


def task_of(
    model: Callable[[], nn.Module] = lambda: nn.Linear(10, 4),
    inputs: Any = INPUTS,
    targets: Any = LABELS,
    **words: Any,
) -> Task:
    return Task("tiny", model=model, train=(inputs, targets), validation=(inputs, targets), target=TARGET, **words)


def quick(task: Task, sizes: list[int] | None = None, **words: Any) -> Speed:
    return speed(task, sizes, device=CPU, seconds_per_point=QUICK, **words)


def sizes_of(record: Speed) -> list[int]:
    return [point.batch_size for point in record.points]


def plan_of(batch_size: int) -> Plan:
    return sgd(batch_size=batch_size, learning_rate=0.1, epochs=1)


class Clock:
    """Stands still, but for what is said to take time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float, function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any, **words: Any) -> Any:
            self.now += seconds
            return function(*args, **words)

        return slow


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("time.perf_counter", found)
    # What other processes really do meanwhile has no part in it.
    monkeypatch.setattr("critbatch.measure.timed_steps.processor_seconds", lambda: None)
    return found


class NoRoomFrom(nn.Linear):
    """Runs out of memory when a batch has as many examples as this."""

    def __init__(self, examples: int) -> None:
        super().__init__(10, 4)
        self.examples = examples

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) >= self.examples:
            raise torch.OutOfMemoryError("no room")
        return super().forward(inputs)


# Which sizes.


def test_sizes_double_and_end_with_the_whole_data_set() -> None:
    assert sizes_of(quick(task_of())) == [1, 2, 4, 8, 16, 32, 64]
    assert sizes_of(quick(task_of(inputs=INPUTS[:11], targets=LABELS[:11]))) == [1, 2, 4, 8, 11]


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_doublings_rise_by_no_more_than_a_factor_of_two(examples: int) -> None:
    sizes = doublings(examples)
    assert sizes[0] == 1 and sizes[-1] == examples
    assert all(a < b <= 2 * a for a, b in pairwise(sizes))


def test_given_sizes_are_sorted_and_each_is_timed_once() -> None:
    assert sizes_of(quick(task_of(), [16, 4, 16, 64])) == [4, 16, 64]


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ([4, 65], r"^batch_size=65 is above the 64 examples: use 64 or less\.$"),
        ([0, 4], r"^batch_size=0 is not possible: use 1 or more\.$"),
        ([], r"^batch_sizes is empty"),
    ],
)
def test_a_size_that_cannot_be_is_refused_in_one_sentence(sizes: list[int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        quick(task_of(), sizes)


@pytest.mark.parametrize("name", ["budget", "seconds_per_point", "micro_batch_size"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name}=0 allows nothing"):
        speed(task_of(), [4], **{name: 0})


# What is measured.


def test_each_point_has_its_steps_spread_and_parts() -> None:
    record = quick(task_of(), [4, 64])
    for point in record.points:
        seconds, quartiles = point.step_seconds, point.quartiles
        assert seconds is not None and seconds.value > 0
        if quartiles is None:
            assert seconds.n == 1
        else:
            assert quartiles[0] <= seconds.value <= quartiles[1]
        if seconds.low is None or seconds.high is None:
            assert seconds.reason == "too_few_visits"
        else:
            assert seconds.low <= seconds.value <= seconds.high and seconds.n >= ROUNDS
        parts = (point.data_seconds or 0, point.compute_seconds or 0, point.optimizer_seconds or 0)
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(seconds.value, rel=1e-12)
    assert Speed.from_json(record.to_json()) == record
    assert record.fit is None


@pytest.mark.parametrize(
    ("seconds_per_point", "n", "has_interval"), [(24, 6, True), (60, 12, True), (9, 3, False), (3, 1, False)]
)
def test_a_point_is_the_median_of_its_steps_and_has_an_interval_with_six_visits(
    clock: Clock, seconds_per_point: float, n: int, has_interval: bool
) -> None:
    task = task_of(prepare=clock.takes(1, lambda x: x), loss=clock.takes(3, lambda x, y: x.sum(1)))
    point = speed(task, [64], device=CPU, seconds_per_point=seconds_per_point).points[0]
    seconds = point.step_seconds
    assert seconds is not None
    assert (seconds.value, seconds.n, point.quartiles) == (4, n, (4, 4) if n > 1 else None)
    assert (point.data_seconds, point.compute_seconds, point.optimizer_seconds) == (1, 3, 0)
    assert (seconds.low, seconds.high, seconds.reason) == (
        (4, 4, "") if has_interval else (None, None, "too_few_visits")
    )


def test_the_interval_counts_each_visit_once(clock: Clock) -> None:
    """Six visits of a step that is not counted, one of 1 second and one of 5."""
    seconds = iter([9, 9, *[9, 1, 5] * 6])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if len(outputs) == 64:
            clock.now += next(seconds)
        return outputs.sum(1)

    point = speed(task_of(loss=loss), [64], device=CPU, seconds_per_point=60).points[0]
    assert point.step_seconds == Estimate(value=3, n=12, low=3, high=3)
    assert point.quartiles == (1, 5)


def test_the_parts_of_a_step_are_the_whole_step() -> None:
    steps = TimedSteps(task_of(), plan_of, micro_batch_size=16, device=CPU, seed=0)
    visit = steps.visit(64, seconds=0.01)
    assert visit.steps == tuple(sum(parts) for parts in visit.parts)
    assert all(part > 0 for parts in visit.parts for part in parts)


def test_the_seconds_of_a_step_go_to_the_part_that_took_them(clock: Clock) -> None:
    class SlowSGD(torch.optim.SGD):
        step = clock.takes(2, torch.optim.SGD.step)  # type: ignore[assignment]

    def plan(batch_size: int) -> Plan:
        found = plan_of(batch_size)
        return replace(found, phases=(replace(found.phases[0], optimizer=SlowSGD),))

    task = task_of(prepare=clock.takes(100, lambda x: x), loss=clock.takes(10, lambda x, y: x.sum(1)))
    steps = TimedSteps(task, plan, micro_batch_size=32, device=CPU, seed=0)
    assert steps.visit(64, seconds=1).parts == (Parts(data=200, compute=20, optimizer=2),)


def test_only_whole_batches_are_timed() -> None:
    seen: list[int] = []
    task = task_of(prepare=lambda batch: (seen.append(len(batch)), batch)[1])
    quick(task, [48])
    assert set(seen) == {3, 48}  # 3 are the examples that a task is checked with


@pytest.mark.parametrize("recipe", ["sgd", "adam"])
def test_the_weights_hardly_move(recipe: str) -> None:
    task = task_of(recipe=recipe)
    make = {"sgd": sgd, "adam": adam}[recipe]
    steps = TimedSteps(
        task,
        lambda size: make(batch_size=size, learning_rate=0.1, epochs=1),
        micro_batch_size=None,
        device=CPU,
        seed=0,
    )
    before = [weight.clone() for weight in steps.model.parameters()]
    made = len(steps.visit(4, seconds=0.05).steps)
    for old, new in zip(before, steps.model.parameters(), strict=True):
        assert 0 < (new - old).abs().max() < 1e-4 * made


def test_the_optimizer_and_the_micro_batches_are_those_of_the_plan() -> None:
    seen: list[int] = []

    class Watched(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(len(inputs))
            return super().forward(inputs)

    def plan(batch_size: int) -> Plan:
        return replace(adam(batch_size=batch_size, learning_rate=0.1, epochs=1), micro_batch_size=24)

    task = task_of(lambda: Watched(10, 4))
    heavier = quick(task, [64], plan_of=plan).points[0].peak_bytes
    assert {24, 16} <= set(seen) <= {24, 16, 2, 3}  # a task is checked with 3 examples, its memory with 2 at first
    lighter = quick(task, [64], micro_batch_size=24).points[0].peak_bytes
    assert heavier is not None and lighter is not None
    assert heavier - lighter == 4 * 44 + 2 * 4  # Adam's second moment, and its count of steps for both tensors


def test_a_visit_makes_as_many_steps_as_fit_and_one_at_least(clock: Clock) -> None:
    task = task_of(loss=clock.takes(1.0, lambda x, y: x.sum(1)))
    steps = TimedSteps(task, plan_of, micro_batch_size=None, device=CPU, seed=0)
    assert steps.visit(64, seconds=4.5).steps == (1.0,) * 4
    assert steps.visit(64, seconds=0.5).steps == (1.0,)


def test_the_system_counts_what_this_process_ran_and_what_it_waited() -> None:
    before = processor_seconds()
    if before is None:
        pytest.skip("this system does not count it")
    total = 0.0
    while (now := processor_seconds()) is not None and now[0] - before[0] < 0.02:
        total += float(torch.randn(100).sum())
    after = processor_seconds()
    assert after is not None and after[0] > before[0] and after[1] >= before[1]


def test_a_visit_has_the_share_in_which_processors_did_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds at work and one of waiting, between the readings before and after the steps."""
    counts = iter([(10.0, 5.0), (13.0, 6.0)])
    monkeypatch.setattr("critbatch.measure.timed_steps.processor_seconds", lambda: next(counts))
    steps = TimedSteps(task_of(), plan_of, micro_batch_size=None, device=CPU, seed=0)
    assert steps.visit(64, seconds=0.001).waited == 0.25
    monkeypatch.setattr("critbatch.measure.timed_steps.usable_cores", lambda: torch.get_num_threads() - 1)
    assert steps.visit(64, seconds=0.001).waited is None  # its own threads wait for each other


# Rounds.


class FakeSteps:
    """Steps of known length, on a clock of their own."""

    device, model_bytes = CPU, 0

    def __init__(self, seconds: dict[int, float], memory: Callable[[int], StepMemory] | None = None) -> None:
        self.task, self.model, self.seconds, self.clock = task_of(), nn.Linear(1, 1), seconds, Clock()
        self.memory = memory or (lambda size: StepMemory(size, size))
        self.order: list[int] = []

    def piece(self, batch_size: int) -> int:
        return batch_size

    def visit(self, batch_size: int, seconds: float) -> Visit:
        self.order.append(batch_size)
        step = self.seconds[batch_size]
        timed = max(1, int(seconds / step))
        self.clock.now += (1 + timed) * step
        return Visit((step,) * timed, (Parts(0, step, 0),) * timed)


def run_rounds(monkeypatch: pytest.MonkeyPatch, steps: FakeSteps, **words: Any) -> Rounds:
    monkeypatch.setattr("time.perf_counter", steps.clock)
    found = Rounds(steps, sorted(steps.seconds), seconds_per_point=6.0, **words)  # type: ignore[arg-type]
    found.run(random.Random(0))
    return found


def test_rounds_go_upwards_first_and_then_in_random_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = FakeSteps(dict.fromkeys(range(1, 9), 0.25))
    run_rounds(monkeypatch, steps)
    each = [steps.order[i : i + 8] for i in range(0, 8 * ROUNDS, 8)]
    assert each[0] == list(range(1, 9))
    assert all(sorted(one) == each[0] for one in each)
    assert len(set(map(tuple, each))) == ROUNDS


def test_a_slow_size_gets_three_steps_and_one_that_is_slower_than_its_time_gets_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = run_rounds(monkeypatch, FakeSteps({1: 0.1, 2: 1.0, 3: 2.0, 4: 5.9, 5: 6.1}))
    assert {size: sum(len(visit.steps) for visit in visits) for size, visits in found.visits.items()} == {
        1: 60,
        2: 6,
        3: 3,
        4: 3,
        5: 1,
    }


@pytest.mark.parametrize(
    ("deadline", "visits"), [(1000.0, [6, 6, 6]), (15.0, [4, 4, 4]), (5.0, [1, 1, 2]), (4.0, [3]), (0.0, [1])]
)
def test_a_short_budget_leaves_out_rounds_first_and_then_large_sizes(
    monkeypatch: pytest.MonkeyPatch, deadline: float, visits: list[int]
) -> None:
    steps = FakeSteps({1: 0.4, 2: 0.4, 3: 0.4})
    found = run_rounds(monkeypatch, steps, deadline=deadline)
    assert sorted(len(one) for one in found.visits.values()) == visits
    assert list(found.visits) == [1, 2, 3][: len(visits)]
    assert steps.clock.now <= max(deadline, 0.8)


def test_progress_tells_each_visit_and_counts_to_its_total(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[SpeedProgress] = []
    steps = FakeSteps(dict.fromkeys((4, 64), 0.25))
    run_rounds(monkeypatch, steps, progress=told.append)
    assert [one.batch_size for one in told] == steps.order
    assert [(one.done, one.total) for one in told] == [(done, 12) for done in range(12)]


# Running out of memory.


def test_out_of_memory_is_a_point_that_says_so_and_nothing_larger_is_tried() -> None:
    record = quick(task_of(lambda: NoRoomFrom(16)))
    assert [(point.batch_size, point.fits) for point in record.points] == [
        (1, True),
        (2, True),
        (4, True),
        (8, True),
        (16, False),
    ]
    last = record.points[-1]
    assert (last.step_seconds, last.quartiles, last.data_seconds, last.peak_bytes) == (None, None, None, None)
    assert record.largest_that_fits == 8


def test_a_size_that_fits_only_at_first_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaky(FakeSteps):
        def visit(self, batch_size: int, seconds: float) -> Visit:
            if batch_size == 2 and self.order.count(2) == 2:
                raise torch.OutOfMemoryError
            return super().visit(batch_size, seconds)

    found = run_rounds(monkeypatch, Leaky(dict.fromkeys((1, 2, 3), 0.25)))
    assert found.too_large == 2
    assert list(found.visits) == [1] and len(found.visits[1]) == ROUNDS


def test_a_size_that_a_cpu_has_no_memory_for_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "free_bytes", lambda device: 0)
    record = quick(task_of(), [8, 16, 32])
    assert [(point.batch_size, point.fits) for point in record.points] == [(8, True), (16, False)]


def test_a_large_first_size_is_tried_only_after_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    task = task_of(prepare=lambda batch: (seen.append(len(batch)), batch)[1])
    assert [point.fits for point in quick(task, [64]).points] == [True]
    assert seen[seen.index(2) :].count(2) == 2 and set(seen) == {3, 2, 64}
    monkeypatch.setattr(rounds_module, "free_bytes", lambda device: 0)
    seen.clear()
    record = quick(task, [64])
    assert [(point.batch_size, point.fits) for point in record.points] == [(64, False)]
    assert seen == [2, 2]


@pytest.mark.parametrize(("free", "largest"), [(2 * 2160, 1000), (2 * 2160 - 1, 100)])
def test_memory_is_extrapolated_from_activations_where_gradients_still_make_the_peak(
    monkeypatch: pytest.MonkeyPatch, free: int, largest: int
) -> None:
    """Gradients of 360 bytes hide activations of 2 an example: the two peaks before are alike."""
    monkeypatch.setattr(rounds_module, "free_bytes", lambda device: free)
    steps = FakeSteps(
        dict.fromkeys((10, 100, 1000), 0.25), lambda size: StepMemory(max(360, 2 * size), forward_bytes=2 * size)
    )
    assert list(run_rounds(monkeypatch, steps).visits)[-1] == largest


def test_memory_is_extrapolated_from_the_peaks_where_they_grow_faster_than_activations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds_module, "free_bytes", lambda device: 2 * 390)
    steps = FakeSteps(dict.fromkeys((10, 20, 40), 0.25), lambda size: StepMemory(10 * size, forward_bytes=size))
    found = run_rounds(monkeypatch, steps)
    assert list(found.visits) == [10, 20] and found.too_large == 40


def test_an_error_that_is_no_lack_of_memory_is_told_in_one_sentence() -> None:
    class Broken(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if len(inputs) == 16:
                raise IndexError("row 16\nof 4")
            return super().forward(inputs)

    with pytest.raises(UserError, match=r"^Task 'tiny': a step with batch_size=16 fails \(IndexError: row 16\): use"):
        quick(task_of(lambda: Broken(10, 4)), [8, 16])


# Memory, to the byte.


def step_of(task: Task, batch_size: int, plan: Plan | None = None) -> tuple[Step, BatchIterator]:
    """A step whose optimizer has its state."""
    model = task.new_model(0)
    step = Step(task, model, (plan or plan_of(batch_size)).phases[0].optimizer(model.parameters()))
    cursor = EpochSampler(task.examples, seed=0, drop_last=True)
    feed = BatchIterator(
        BatchGatherer(task.train, CPU), cursor, batch_size=batch_size, shard=Shard(), piece=lambda n: None
    )
    size, pieces = next(feed)
    step.gradient(pieces, size)
    step.update(1e-6)
    return step, feed


def no_bias_task() -> Task:
    return task_of(
        lambda: nn.Linear(10, 4, bias=False),
        targets=torch.zeros(64),
        loss=lambda outputs, targets: outputs.sum(1),
        metric=lambda outputs, targets: outputs.sum(1),
    )


@pytest.mark.parametrize("batch_size", [8, 64])
def test_peak_memory_of_a_linear_layer_is_what_paper_and_pencil_say(batch_size: int) -> None:
    """The peak of 8 examples is at the end of backward, that of 64 when the losses are made.

    With 64 examples each step begins an epoch, whose order is not counted.
    """
    weights = momentum = gradient = 4 * 10 * 4
    batch = batch_size * (10 + 1) * 4
    outputs, losses, total, mean = batch_size * 4 * 4, batch_size * 4, 4, 4
    forward = batch + losses
    at_the_loss = weights + momentum + batch + outputs + losses
    at_the_end = weights + momentum + forward + gradient + total + mean  # what each loss counts is from the step before
    found = step_memory(*step_of(no_bias_task(), batch_size), learning_rate=1e-6)
    assert found == StepMemory(max(at_the_loss, at_the_end), forward)
    assert (at_the_loss > at_the_end) == (batch_size == 64)


def test_peak_memory_is_the_same_at_each_call() -> None:
    task = task_of(lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4)))
    step, feed = step_of(task, 16)
    assert len({step_memory(step, feed, learning_rate=1e-6) for _ in range(6)}) == 1


def test_forward_memory_is_in_proportion_to_the_batch() -> None:
    task = task_of(lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4)))
    one, two, four = (step_memory(*step_of(task, size), learning_rate=1e-6).forward_bytes for size in (8, 16, 32))
    assert four - two == 2 * (two - one)


def test_bytes_are_counted_from_the_operation_that_makes_them_until_they_are_freed() -> None:
    data = torch.zeros(1000)
    with CountedBytes([]) as counted:
        part = data[:500]
        assert counted.now == 0
        copied = part + 1
        rows = copied.view(5, 100)
        assert counted.now == 2000
        del copied
        assert counted.now == 2000
        rows += 1
        assert counted.now == 2000
        del rows
        assert counted.now == 0
        numbers = torch.tensor([1.0, 2.0])
        assert counted.now == 8
    assert counted.peak == 2000
    assert len(numbers) == 2


def test_tied_weights_are_counted_once() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    assert CountedBytes([first.weight, second.weight]).now == 64


# All kinds of tasks.


class Pairs(Dataset[tuple[Tensor, int]]):
    """Makes its examples as they are asked for."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return INPUTS[index] + torch.rand(10), int(LABELS[index])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(10, 4), nn.Linear(10, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left) + self.right(right)


def test_a_dataset_is_timed_as_tensors_are() -> None:
    task = Task("pairs", model=lambda: nn.Linear(10, 4), train=Pairs(), validation=Pairs(), target=TARGET)
    found, expected = quick(task), quick(task_of())
    assert sizes_of(found) == sizes_of(expected)
    for point, same in zip(found.points, expected.points, strict=True):
        assert point.peak_bytes is not None and same.peak_bytes is not None
        assert point.peak_bytes >= same.peak_bytes


def test_dict_inputs_and_uint8_data_are_timed() -> None:
    inputs = {"left": (INPUTS * 10).to(torch.uint8), "right": INPUTS}
    task = task_of(TwoInputs, inputs, prepare=lambda batch: {key: part.float() for key, part in batch.items()})
    assert sizes_of(quick(task)) == [1, 2, 4, 8, 16, 32, 64]


def test_batch_norm_is_timed_from_two_examples_on() -> None:
    task = task_of(lambda: nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)))
    assert sizes_of(quick(task)) == [2, 4, 8, 16, 32, 64]
    with pytest.raises(UserError, match=r"batch_size=1 fails \(ValueError: Expected more than 1 value per channel"):
        quick(task, [1, 2])
    with pytest.raises(UserError, match=r"batch_size=2 fails \(ValueError: Expected more than 1 value per channel"):
        quick(task, micro_batch_size=1)


def test_the_caller_s_random_state_stays_as_it_was() -> None:
    task = Task(
        "random",
        model=lambda: nn.Sequential(nn.Linear(10, 8), nn.Dropout(0.5), nn.Linear(8, 4)),
        train=Pairs(),
        validation=(INPUTS, LABELS),
        target=TARGET,
    )
    before = torch.get_rng_state()
    record = quick(task, [1, 64], seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert record.provenance.seed == 3 and record.provenance.machine.device == "cpu"


def test_the_data_set_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TimedSteps] = []
    monkeypatch.setattr(
        "critbatch.measure.step_time.TimedSteps",
        lambda *args, **words: made.append(TimedSteps(*args, **words)) or made[0],
    )
    task = task_of()
    quick(task, [8])
    assert made[0].source.data is task.train


# The interval of a median.


def test_the_interval_of_a_median_needs_six_values() -> None:
    assert median_interval(range(5)) is None
    assert median_interval(range(6)) == (0, 5)
    assert median_interval(range(9)) == (1, 7)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    """2000 draws of 20 values of a skewed distribution; the exact level is 95.86 %, its standard error 0.45 %."""
    generator = random.Random(0)
    held = 0
    for _ in range(2000):
        found = median_interval(generator.expovariate(1.0) for _ in range(20))
        assert found is not None
        held += found[0] <= 0.6931471805599453 <= found[1]
    assert held / 2000 == pytest.approx(0.9586, abs=3 * 0.0045)
