"""The sweep: each run once, through interruptions, kills and growing questions."""

import math
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from critbatch.errors import UserError
from critbatch.recipes import RECIPES, usual_rate
from critbatch.records.core import Outcome, Run
from critbatch.records.study import Study
from critbatch.runtime.progress import Display, display_on
from critbatch.studies.search import MOST_RUNGS, given_keys, rate_of
from critbatch.studies.spec import build_spec, usual_batch_sizes
from critbatch.studies.sweep import sweep
from stored_runs import states_in
from tiny import tiny_task

small = partial(sweep, batch_sizes=(16, 96), learning_rates=(0.03, 0.3), seeds=(0, 1), epochs=4, compile=False)


class Watcher(Display):
    """Notes what is tried, and calls `each` at each evaluation."""

    def __init__(self, each=lambda trying: None):
        super().__init__()
        self.tried, self.each = [], each

    def watch(self, progress):
        super().watch(progress)
        self.each(self.situation.trying)

    def show(self):
        if self.situation.trying and self.situation.trying not in self.tried:
            self.tried.append(self.situation.trying)


def numbers(study: Study) -> list[Run]:
    """The runs without what a clock says."""
    still = [
        replace(
            run,
            seconds=0.0,
            evaluation_seconds=0.0,
            crossing=run.crossing and replace(run.crossing, seconds=0.0),
            curve=tuple(replace(point, seconds=0.0) for point in run.curve),
        )
        for run in study.runs
    ]
    return sorted(still, key=lambda run: (run.batch_size, run.learning_rate, run.seed))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Study:
    return small(tiny_task(), out=tmp_path_factory.mktemp("unbroken"))


def test_a_sweep_makes_every_run_and_reaches_the_target_where_it_can(unbroken):
    assert unbroken.runs_left == 0
    assert len(unbroken.runs) == 2 * 2 * 2
    assert {(run.batch_size, run.learning_rate, run.seed) for run in unbroken.runs} == {
        (size, rate, seed) for size in (16, 96) for rate in (0.03, 0.3) for seed in (0, 1)
    }
    assert {run.outcome for run in unbroken.runs} == {Outcome.REACHED, Outcome.FINISHED}
    assert Study.from_json(unbroken.to_json()) == unbroken


def test_the_same_sweep_again_makes_no_run_and_a_silent_one_prints_nothing(tmp_path, capfd):
    with display_on(silent=True) as show:
        first = small(tiny_task(), out=tmp_path, progress=show)
    assert capfd.readouterr() == ("", "")
    watcher = Watcher()
    again = small(tiny_task(), out=tmp_path, progress=watcher)
    assert watcher.tried == [] and again.runs == first.runs
    assert len(states_in(tmp_path)) == 8


def test_a_question_that_grew_makes_only_what_is_missing(tmp_path):
    first = small(tiny_task(), out=tmp_path)
    watcher = Watcher()
    grown = small(tiny_task(), out=tmp_path, batch_sizes=(16, 32, 96), progress=watcher)
    assert len(watcher.tried) == 4 and all("batch size 32" in trying for trying in watcher.tried)
    assert all(run in grown.runs for run in first.runs) and len(states_in(tmp_path)) == 12
    smaller = small(tiny_task(), out=tmp_path, seeds=(1,))
    assert len(smaller.runs) == 4 and smaller.runs_left == 0


def test_ctrl_c_ends_the_sweep_cleanly_and_the_next_one_ends_where_the_unbroken_one_ends(tmp_path, unbroken):
    def press(trying: str) -> None:
        if trying == "batch size 16, learning rate 0.03, seed 0":
            signal.raise_signal(signal.SIGINT)

    broken = small(tiny_task(), out=tmp_path, progress=Watcher(press))
    assert len(broken.runs) == 2 and broken.runs_left == 6
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert numbers(small(tiny_task(), out=tmp_path)) == numbers(unbroken)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert states_in(tmp_path) == ["finished"] * 8


def test_a_budget_that_ends_leaves_a_study_that_the_next_call_goes_on_with(tmp_path, unbroken, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def age(trying: str) -> None:
        now[0] += 1.0

    broken = small(tiny_task(), out=tmp_path, budget=30.0, progress=Watcher(age))
    assert 0 < len(broken.runs) < 8 and broken.runs_left == 8 - len(broken.runs)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    for _ in range(20):
        if (study := small(tiny_task(), out=tmp_path, budget=30.0, progress=Watcher(age))).runs_left == 0:
            break
    assert numbers(study) == numbers(unbroken)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import critbatch.training.trainer
from integration.test_sweep import Watcher, small
from tiny import tiny_task

critbatch.training.trainer.SECONDS_BETWEEN_CHECKPOINTS = 0.0
evaluations = 0

def each(trying):
    global evaluations
    evaluations += trying == sys.argv[3]
    if evaluations == 4:
        os.kill(os.getpid(), signal.SIGKILL)

small(tiny_task(), out=Path(sys.argv[1]), progress=Watcher(each))
"""


def test_a_sweep_that_is_killed_ends_with_every_run_once_and_equal_to_the_unbroken_one(tmp_path, unbroken):
    trying = "batch size 16, learning rate 0.03, seed 0"
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[1] / "fixtures"), trying]
    child = subprocess.run(command, check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert states_in(tmp_path) == ["finished", "finished", "running"]
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 1
    evaluations = []
    study = small(tiny_task(), out=tmp_path, progress=Watcher(evaluations.append))
    assert study.runs_left == 0 and numbers(study) == numbers(unbroken)
    assert states_in(tmp_path) == ["finished"] * 8
    (resumed,) = [run for run in study.runs if (run.batch_size, run.learning_rate, run.seed) == (16, 0.03, 0)]
    assert evaluations.count(trying) == len(resumed.curve) - 3  # it went on from the checkpoint of the third one


def test_runs_that_diverged_are_kept_and_not_made_again(tmp_path):
    ask = partial(small, tiny_task(target=1.0), out=tmp_path, batch_sizes=(16,), learning_rates=(0.1, 1e6), seeds=(0,))
    study = ask()
    assert [run.outcome for run in study.runs] == [Outcome.FINISHED, Outcome.DIVERGED]
    watcher = Watcher()
    assert ask(progress=watcher).runs == study.runs and watcher.tried == []


def test_without_a_target_every_run_goes_to_its_last_epoch(tmp_path):
    study = small(tiny_task(), out=tmp_path, target=None, seeds=(0,))
    assert {run.epochs for run in study.runs} == {4.0}
    assert {run.outcome for run in study.runs} == {Outcome.FINISHED}


def test_a_task_whose_data_changed_is_refused(tmp_path):
    small(tiny_task(), out=tmp_path, seeds=(0,))
    with pytest.raises(UserError, match="as it was before its training data changed"):
        small(tiny_task(examples=97), out=tmp_path, seeds=(0,))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"batch_sizes": (0, 16)}, "batch_size=0 is not possible: 'tiny' has 96 training examples, so use 1 to 96"),
        ({"batch_sizes": (97,)}, "batch_size=97 is not possible: 'tiny' has 96 training examples, so use 1 to 96"),
        ({"batch_sizes": ()}, "`batch_sizes` is empty: give one value at least"),
        ({"batch_sizes": (16, 16)}, "`batch_sizes` holds 16 more than once: give each value once"),
        ({"learning_rates": (0.0,)}, "learning_rate=0.0 is not possible: use a number above 0"),
        ({"learning_rates": (-0.1,)}, "learning_rate=-0.1 is not possible"),
        (
            {"learning_rates": (math.nan,)},
            r"learning_rates is \(nan,\), a tuple: give a list, each part a finite number",
        ),
        (
            {"learning_rates": (math.inf,)},
            r"learning_rates is \(inf,\), a tuple: give a list, each part a finite number",
        ),
        ({"learning_rates": ()}, "`learning_rates` is empty"),
        ({"learning_rates": (0.1, 0.1)}, "`learning_rates` holds 0.1 more than once"),
        ({"seeds": ()}, "`seeds` is empty"),
        ({"seeds": (-1,)}, "seed=-1 is not possible: use 0 to 4294967295"),
        ({"seeds": (2**32,)}, "seed=4294967296 is not possible"),
        ({"seeds": (1, 1)}, "`seeds` holds 1 more than once"),
        ({"epochs": 0}, "epochs=0 is not possible: use a number above 0"),
        ({"epochs": math.nan}, "epochs=nan is not possible"),
        ({"recipe": "magic"}, "Recipe 'magic' is not known: use adam, adaptive"),
        ({"budget": 0}, "A budget of 0 seconds allows nothing"),
    ],
)
def test_a_question_that_cannot_be_asked_is_answered_with_a_sentence_and_leaves_no_folder(tmp_path, asked, sentence):
    with pytest.raises(UserError, match=sentence):
        small(tiny_task(), out=tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("size", [1, 16, 256, 10_000])
def test_the_rungs_of_every_recipe_are_about_a_factor_2_apart(recipe, size):
    fits = {"smith2017": {"largest_batch": 96}, "post-local-sgd": {"copies": 4}}.get(recipe)
    question = build_spec(tiny_task(), recipe=recipe, target=None, fixed=fits)
    rungs = [rate_of(question, size, rung) for rung in range(-MOST_RUNGS, MOST_RUNGS + 1)]
    assert all(1.8 < high / low < 2.2 for low, high in pairwise(rungs))
    assert rungs[MOST_RUNGS] == pytest.approx(usual_rate(recipe, size), rel=0.05)


def test_of_the_usual_batch_sizes_those_are_asked_whose_plans_fit_the_data():
    task = tiny_task(examples=600)
    assert build_spec(task, recipe="sgd", target=None).batch_sizes == (4, 16, 64, 256, 600)
    assert build_spec(task, recipe="smith2017", target=None).batch_sizes == (4,)  # 125 times as much is 500
    assert build_spec(task, recipe="post-local-sgd", target=None).batch_sizes == (16, 64, 256, 600)
    with pytest.raises(UserError, match="goes from batches of 16 to 2000, above the 600 training examples: use the"):
        build_spec(task, recipe="smith2017", target=None, batch_sizes=(4, 16))
    with pytest.raises(UserError, match="goes from batches of 4 to 500, above the 96 training examples: use the"):
        build_spec(tiny_task(), recipe="smith2017", target=None)


@pytest.mark.parametrize("examples", [1, 2, 3, 4, 7, 8, 96, 1437, 10_000, 10_001, 60_000])
def test_the_usual_batch_sizes_grow_by_2_to_8_up_to_the_whole_set(examples):
    sizes = usual_batch_sizes(examples)
    assert sizes[-1] == examples
    assert all(2 <= high / low < 8 for low, high in pairwise(sizes))
    assert sizes[0] <= 16


def test_a_sweep_tunes_one_batch_size_after_the_other_from_the_largest_and_all_for_one_seed_first():
    task = tiny_task()
    question = build_spec(
        task, batch_sizes=(4, 64), learning_rates=(0.3, 0.1), seeds=(7, 5), recipe="sgd", epochs=1, target=None
    )
    assert [(key.seed, key.batch_size, key.learning_rate) for key in given_keys(question)] == [
        (seed, size, rate) for seed in (7, 5) for size in (64, 4) for rate in (0.1, 0.3)
    ]
