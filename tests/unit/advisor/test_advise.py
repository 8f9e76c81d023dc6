"""Campaigns with a clock that is given: what a folder knows is used for other targets, objectives and schedules."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from critbatch.advisor.advise import AdviceCampaign
from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.advisor.result import advice_for_devices
from critbatch.advisor.run_cache import RESUME_DIR, RunCache
from critbatch.errors import UserError
from critbatch.law.clock_check import with_check
from critbatch.records.core import Advice, Goal, Objective, Outcome, Quantity, Run, Speed, Target
from critbatch.reports.views.chapters import summary
from critbatch.runtime.progress import Display
from critbatch.studies.store import Store
from critbatch.tasks.task import Task, accuracy
from critbatch.training.state import RunClock
from critbatch.training.trainer import Training
from simulated_training import World, affine, made

EASY, HARD = (Target(quantity=Quantity.VALIDATION_LOSS, value=value) for value in (0.6, 0.3))
TOLERANCE = 1.3  # of predicted time to target


def clear_task(*, noise: bool = False, target: Target = EASY) -> Task:
    """Three classes that lie apart; or labels that have nothing to do with the points."""

    def data(examples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        chance = torch.Generator().manual_seed(seed)
        labels = torch.randint(3, (examples,), generator=chance)
        points = 2 * torch.eye(3)[labels] + 0.5 * torch.randn(examples, 3, generator=chance)
        return points, torch.randint(3, (examples,), generator=chance) if noise else labels

    return Task(
        "clear",
        model=lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)),
        train=data(512, 0),
        validation=data(256, 1),
        target=target,
        unit="point",
    )


TASK = clear_task()


def clock(knee: float = 16) -> Speed:
    world = World(seconds=affine(1e-4, knee), largest=512, examples=512)
    return replace(world.speed(), task="clear", unit="point")


def campaign(folder: Path, **settings: object) -> AdviceCampaign:
    """A campaign whose question and context have these settings, each where it belongs."""
    given = {"task": TASK, "speed": clock(), "folder": folder, **settings}
    task = given["task"]
    assert isinstance(task, Task)
    question = {"recipe": task.recipe, "target": task.target}
    question |= {field.name: given[field.name] for field in fields(AdviseConfig) if field.name in given}
    place = {field.name: given[field.name] for field in fields(RunContext) if field.name in given}
    assert given.keys() <= {*question, *place, "speed"}
    config, context = AdviseConfig(**question), RunContext(**place)  # type: ignore[arg-type]
    return AdviceCampaign(config=config, context=context, speed=given["speed"])  # type: ignore[arg-type]


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Steps that are made within, by each piece of a run."""
    steps: list[int] = []
    advance = Training.advance

    def counted(self: Training, *args: object, **kwargs: object) -> Outcome | None:
        before = self.run_state.step
        try:
            return advance(self, *args, **kwargs)  # type: ignore[arg-type]
        finally:
            steps.append(self.run_state.step - before)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "advance", counted)
        yield steps


@dataclass(frozen=True)
class Told:
    folder: Path
    advice: Advice
    steps: int


def tell(folder: Path, **settings: object) -> Told:
    with counted_steps() as steps:
        advice = campaign(folder, **settings).run()
    return Told(folder, advice, sum(steps))


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return tell(tmp_path_factory.mktemp("easy"), target=EASY)


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return tell(tmp_path_factory.mktemp("hard"), target=HARD)


def copy_of(told: Told, folder: Path) -> Path:
    return shutil.copytree(told.folder, folder / "copy")


@pytest.fixture(scope="module")
def harder(easy: Told, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The hard target asked for in the folder of the easy one."""
    return tell(copy_of(easy, tmp_path_factory.mktemp("harder")), target=HARD)


def same(first: Advice, second: Advice) -> bool:
    assert first.best is not None and second.best is not None
    ratio = first.best.seconds.value / second.best.seconds.value
    return 1 / TOLERANCE < ratio < TOLERANCE and 0.5 <= first.best.batch_size / second.best.batch_size <= 2


def placed(advice: Advice) -> list[tuple[tuple[int, float, int], Run]]:
    return [((run.batch_size, run.learning_rate, run.seed), run) for run in advice.runs]


def places(runs: tuple[Run, ...]) -> set[tuple[int, float, int]]:
    return {(run.batch_size, run.learning_rate, run.seed) for run in runs}


def test_asked_again_it_makes_no_step_and_says_the_same(easy: Told, tmp_path: Path) -> None:
    assert easy.advice.answered and easy.steps > 0
    again = tell(copy_of(easy, tmp_path), target=EASY)
    assert again.steps == 0
    assert replace(again.advice, provenance=easy.advice.provenance) == easy.advice


def test_a_harder_target_goes_on_from_the_runs_of_an_easier_one(harder: Told, hard: Told) -> None:
    assert harder.steps < 0.8 * hard.steps
    assert same(harder.advice, hard.advice)
    assert harder.advice.targets == (EASY, HARD) and hard.advice.targets == (HARD,)
    assert harder.advice.search_cost is not None and harder.advice.search_cost.resume_bytes > 0


def test_a_run_that_went_on_is_the_unbroken_run(harder: Told, hard: Told) -> None:
    both = [{(r.batch_size, r.learning_rate, r.seed): r for r in told.advice.runs} for told in (harder, hard)]
    shared = both[0].keys() & both[1].keys()
    came = [place for place in shared if all(runs[place].outcome is Outcome.REACHED for runs in both)]
    assert came
    for place in came:
        first, second = (runs[place].crossing for runs in both)
        assert first is not None and second is not None
        # The end at the easier target is one evaluation more, between which the crossing is a straight line.
        assert first.step == pytest.approx(second.step, rel=0.1)


def test_an_easier_target_is_read_off_the_runs_of_a_harder_one(easy: Told, hard: Told, tmp_path: Path) -> None:
    easier = tell(copy_of(hard, tmp_path), target=EASY)
    assert easier.steps < 0.5 * easy.steps
    assert same(easier.advice, easy.advice)


def test_without_the_kept_ends_a_harder_target_begins_anew(easy: Told, tmp_path: Path) -> None:
    folder = copy_of(easy, tmp_path)
    shutil.rmtree(folder / RESUME_DIR)
    assert campaign(folder, target=HARD).run().answered


def test_from_a_damaged_end_a_harder_target_begins_anew(easy: Told, tmp_path: Path) -> None:
    folder = copy_of(easy, tmp_path)
    for end in (folder / RESUME_DIR).iterdir():
        raw = bytearray(end.read_bytes())
        raw[len(raw) // 2] ^= 1
        end.write_bytes(raw)
    assert campaign(folder, target=HARD).run().answered


def test_another_machine_takes_the_steps_and_its_own_clock(easy: Told, tmp_path: Path) -> None:
    fast = campaign(copy_of(easy, tmp_path), speed=clock(knee=1000)).run()
    assert easy.advice.best is not None and fast.best is not None
    assert easy.advice.best.batch_size < fast.best.batch_size
    assert places(easy.advice.runs) <= places(fast.runs)


class Hourglass(Display):
    """A clock that stands at 0 until so many evaluations were made, and at 1 from then on."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.evaluations = most, 0

    def watch(self, progress: object) -> None:
        self.evaluations += 1

    def monotonic(self) -> float:
        return float(self.evaluations >= self.most)


def ended_after(evaluations: int, folder: Path) -> Advice:
    """The advice for the hard target with a budget of so many evaluations."""
    glass = Hourglass(evaluations)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("runtime.process", "advisor.advise"):
            patch.setattr(f"critbatch.{module}.time", glass)
        return campaign(folder, target=HARD, deadline=1.0, progress=glass).run()


@pytest.mark.parametrize("evaluations", [2, 20, 40, 60, 62, 64, 66, 68, 70, 74, 78])
def test_more_budget_goes_on_where_the_last_one_ended(hard: Told, evaluations: int, tmp_path: Path) -> None:
    """To the last run: also where a race was broken off when one of its rates had come to the target already."""
    short = ended_after(evaluations, tmp_path)
    assert "budget_ended" in short.cautions or evaluations > 60  # how many it takes in all depends on the machine
    whole = campaign(tmp_path, target=HARD).run()
    assert whole.answered and "budget_ended" not in whole.cautions
    assert whole.best == hard.advice.best
    ends = [{(*place, run.steps, run.outcome) for place, run in placed(told)} for told in (whole, hard.advice)]
    assert ends[0] == ends[1]


def test_a_budget_too_small_says_what_would_do(tmp_path: Path) -> None:
    ended = ended_after(40, tmp_path)
    assert not ended.answered and "budget_ended" in ended.cautions
    assert ended.needed_seconds is not None and 0 < ended.needed_seconds < 600
    assert "another" in summary(ended) and "--budget" in summary(ended)


def test_labels_that_are_noise_are_said_to_be(tmp_path: Path) -> None:
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=0.9)
    task = replace(clear_task(noise=True), target=target)
    advice = campaign(tmp_path, task=task, epochs=10.0).run()
    assert not advice.answered
    assert {"learns_nothing", "learns_training_set_only"} & set(advice.cautions)


def test_a_target_above_where_runs_level_off_is_said_to_be(tmp_path: Path) -> None:
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=0.95)
    task = replace(TASK, metric=lambda outputs, targets: 0.9 * accuracy(outputs, targets))
    advice = campaign(tmp_path, task=task, target=target, epochs=20.0).run()
    assert not advice.answered
    assert "levels_off" in advice.cautions and "learns_nothing" not in advice.cautions


def swinging(factor: float) -> Speed:
    """The same clock, one size of which took that many times as long at one moment as at another."""
    points = tuple(
        replace(point, swing=factor, signs=("clock_visits",)) if point.batch_size == 64 else point
        for point in clock().points
    )
    return with_check(replace(clock(), points=points))


def test_a_clock_that_swings_too_far_gives_no_answer_and_a_quiet_one_needs_no_more_runs(
    easy: Told, tmp_path: Path
) -> None:
    folder = copy_of(easy, tmp_path)
    busy = tell(folder, target=EASY, speed=swinging(5.0)).advice
    assert not busy.answered and busy.best is None and busy.points == () and busy.near_optimal_range is None
    assert "clock_unusable" in busy.cautions and "no_run_reached_target" not in busy.cautions
    for language, words in (("en", "cannot be ranked"), ("zh", "无法比较批次大小")):
        assert words in summary(busy, language) and "Warning" not in summary(busy, language)
    assert any(run.crossing is not None for run in busy.runs)
    quiet = tell(folder, target=EASY)
    assert quiet.advice.answered and quiet.steps == 0


def test_a_clock_that_swings_less_is_told_once_and_leaves_more_sizes_open(easy: Told, tmp_path: Path) -> None:
    busy = tell(copy_of(easy, tmp_path), target=EASY, speed=swinging(2.0)).advice
    assert busy.answered and busy.best is not None and easy.advice.best is not None
    assert summary(busy).count("Warning: ") == 1 and "may be within 10 %" in summary(busy)
    assert busy.near_optimal_range is not None and easy.advice.near_optimal_range is not None
    assert busy.near_optimal_range[0] < easy.advice.near_optimal_range[0]
    widths = [point.seconds.high / point.seconds.low for point in (busy.best, easy.advice.best)]  # type: ignore[operator]
    assert widths[0] > widths[1]


def test_a_clock_that_the_steps_of_training_contradict_is_taken_again_and_goes_into_the_answer(tmp_path: Path) -> None:
    compared: list[int] = []

    def compare(speed: Speed, runs: Sequence[Run]) -> Speed:
        compared.append(len(runs))
        return clock(knee=64) if len(compared) == 1 else speed

    advice = campaign(tmp_path, target=EASY, compare=compare).run()
    assert compared[0] > 0 and len(compared) >= 3  # held against it, then again, then for the answer
    assert advice.speed.points == clock(knee=64).points
    compared.clear()
    campaign(tmp_path, target=EASY, compare=compare).run()
    assert compared[0] == 0  # runs of another call may be another machine's


def test_a_law_that_does_not_fit_is_said_and_what_would_help(tmp_path: Path) -> None:
    """Runs of a folder whose steps rise with the batch: as many as make a sweep, so that none is added."""
    asked = campaign(tmp_path)
    sizes = {8: 40.0, 16: 400.0, 32: 60.0, 64: 700.0, 128: 90.0, 256: 900.0}
    with Store.open(tmp_path, asked.config.study_key({})) as store:
        for size, steps in sizes.items():
            for seed in (0, 1, 2):
                for rate in (0.05, 0.1):
                    run = replace(made(size, rate, took=steps, seed=seed), task="clear", target=EASY)
                    key = RunCache(store, asked._start_training, target=EASY, folder=tmp_path).key(size, rate, seed)  # type: ignore[arg-type]
                    store.run(key, lambda path, run=run: run)  # type: ignore[misc]
    told = tell(tmp_path)
    assert told.steps == 0
    assert told.advice.law is not None and not told.advice.law.holds
    assert "law_misfit" in told.advice.cautions
    assert "critbatch sweep" in summary(told.advice)


def test_fewer_examples_make_a_smaller_batch(easy: Told, tmp_path: Path) -> None:
    folder, speed = copy_of(easy, tmp_path), clock(knee=1000)
    free = campaign(folder, speed=speed).run()
    assert free.best is not None
    limit = free.best.batch_size * free.best.steps.value / 2
    objective = Objective(goal=Goal.EXAMPLES, examples_limit=limit)
    bound = campaign(folder, speed=speed, objective=objective).run()
    assert bound.best is not None and bound.bound_probability is not None
    assert bound.best.batch_size < free.best.batch_size
    assert bound.bound_met is (bound.bound_probability >= 0.8)
    none = campaign(folder, speed=speed, objective=replace(objective, examples_limit=1.0)).run()
    assert none.bound_met is False and none.bound_probability == 0


def test_cheapest_within_a_time_says_how_likely_it_is(easy: Told, tmp_path: Path) -> None:
    folder = copy_of(easy, tmp_path)
    asked = [Objective(goal=Goal.COST, max_time=seconds) for seconds in (1e-6, 1e6)]
    never, surely = (campaign(folder, objective=each).run() for each in asked)
    assert (never.bound_met, surely.bound_met) == (False, True)
    assert never.bound_probability == 0 and surely.bound_probability is not None and surely.bound_probability > 0.8


def test_an_accuracy_that_must_not_fall_is_measured_with_seeds(easy: Told, tmp_path: Path) -> None:
    objective = Objective(goal=Goal.ACCURACY, accuracy_margin=0.05)
    advice = campaign(copy_of(easy, tmp_path), speed=clock(knee=200), objective=objective).run()
    assert advice.best is not None and advice.accuracy
    check = advice.accuracy[-1]
    assert check.difference.n >= 3 and check.small_batch_size < check.batch_size
    assert advice.bound_met is True and check.falls is False and advice.best.batch_size == check.batch_size
    assert "generalization_not_measured" not in advice.cautions
    assert f"{check.difference.n} pairs of seeds" in summary(advice)


def test_several_devices_are_as_few_as_are_soon_enough(easy: Told) -> None:
    advice = easy.advice
    assert advice.best is not None

    def on(within: float) -> Advice:
        objective = Objective(goal=Goal.COST, max_time=within, devices=(1, 2, 4), price_per_device_hour=3.0)
        return advice_for_devices(TASK, replace(advice, objective=objective))

    ample, short = on(1e6), on(1e-9)
    assert (ample.devices, ample.bound_met) == (1, True)
    assert short.bound_met is False
    assert "per device-hour" in summary(ample)


def test_a_decaying_rate_has_its_length_planned(tmp_path: Path) -> None:
    options = {"lr_decay": "cosine", "warmup_epochs": 0.1}
    first = campaign(tmp_path, options=options).run()
    assert first.best is not None and first.planned_epochs is not None
    assert first.options == options and "length_planned" in first.cautions
    steps = first.planned_epochs * TASK.examples / first.best.batch_size
    assert steps >= 0.7 * first.best.steps.value
    again = tell(tmp_path, options=options)
    assert again.steps == 0
    assert again.advice.best == first.best and again.advice.planned_epochs == first.planned_epochs


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"recipe": "swap2020"}, "averages the weights of several copies"),
        ({"recipe": "post-local-sgd"}, "averages the weights of several copies"),
        ({"recipe": "adaptive"}, "changes its batch size during the run"),
        ({"recipe": "smith2017"}, "changes its batch size during the run"),
        ({"options": {"epochs": 3}}, "epochs is set by advise"),
        ({"options": {"betas": (0.9, 0.99)}}, "Recipe sgd has no option betas"),
        ({"options": {"lr_decay": "odd"}}, "lr_decay='odd' is not known"),
        ({"objective": Objective(goal=Goal.EXAMPLES)}, "needs a limit"),
        ({"objective": Objective(max_time=3.0)}, "belongs to the objective cost, not to time"),
        ({"objective": Objective(goal=Goal.COST, max_time=-1.0)}, "max_time=-1 is not possible"),
        ({"objective": Objective(devices=(1, 2))}, "belong to the objective cost"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    settings: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        campaign(tmp_path, **settings)


def test_no_run_takes_longer_than_its_time_and_another_limit_is_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_clock(self: RunClock, *, step: int, stop_requested: bool, always: bool = False) -> float:
        self.seconds, self.stop = float(step), stop_requested  # each step takes one second
        return self.seconds

    monkeypatch.setattr(RunClock, "read_clock", read_clock)
    short = campaign(tmp_path, target=HARD, max_run_time=12.0).run()
    assert max(run.steps for run in short.runs) == 12
    late = [run for run in short.runs if run.steps == 12 and run.outcome is not Outcome.REACHED]
    assert late and {run.outcome for run in late} == {Outcome.FINISHED}
    assert max(run.steps for run in campaign(tmp_path, target=HARD).run().runs) > 12
