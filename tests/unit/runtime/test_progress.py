"""What a long command shows: what is tried, the best so far, and how long is left."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from critbatch.runtime.progress import Display, Forecast, Lines, Live, Situation, display_on
from critbatch.studies.forecast import best_of_each_size, forecast
from critbatch.studies.run_key import RunKey, RunSummary, summary_of
from stored_runs import TARGET, run_of


def timed(batch_size: int, seconds: float, examples: int = 1000, seed: int = 0) -> dict[RunKey, RunSummary]:
    key = RunKey(batch_size=batch_size, learning_rate=0.1, seed=seed)
    return {
        key: summary_of(replace(run_of(key), seconds=seconds, evaluation_seconds=0.0, examples=examples), target=TARGET)
    }


EXAMPLES = dict.fromkeys((16, 64, 256), 1000.0)


def test_nothing_is_forecast_before_a_run_is_made():
    assert forecast({}, [64, 64], examples=EXAMPLES) is None


def test_a_batch_size_that_has_runs_is_forecast_by_their_mean_shared_by_the_workers():
    made = timed(64, 1.0) | timed(64, 3.0, seed=1)
    found = forecast(made, [64, 64, 64], examples=EXAMPLES)
    assert found.seconds == pytest.approx(6.0) and not found.at_most
    assert forecast(made, [64, 64, 64], examples=EXAMPLES, workers=2).seconds == pytest.approx(3.0)


def test_a_smaller_batch_is_bounded_by_as_many_seconds_a_step_and_a_larger_one_by_as_many_an_example():
    made = timed(64, 2.0, examples=500)
    smaller, larger = forecast(made, [16], examples=EXAMPLES), forecast(made, [256], examples=EXAMPLES)
    assert smaller.seconds == pytest.approx(2.0 * 2 * 4) and smaller.at_most
    assert larger.seconds == pytest.approx(2.0 * 2) and larger.at_most


def test_all_that_a_run_takes_is_counted():
    run = replace(run_of(RunKey(batch_size=64, learning_rate=0.1, seed=0)), seconds=1.0)
    assert summary_of(replace(run, evaluation_seconds=2.0, compile_seconds=4.0), target=TARGET).wall_seconds == 7.0


def test_the_best_run_of_a_batch_size_is_the_one_at_its_target_in_the_fewest_steps_and_one_that_missed_it_is_none():
    ((slow, brief),) = timed(64, 2.0).items()
    fast, missed = replace(slow, seed=1), replace(slow, batch_size=256)
    made = {
        slow: brief,
        fast: replace(brief, steps_to_target=brief.steps_to_target / 2),
        missed: replace(brief, steps_to_target=math.inf, crossing_seconds=None, loss=math.inf),
    }
    assert {size: key for size, (key, _) in best_of_each_size(made).items()} == {64: fast}


@pytest.mark.parametrize(
    ("situation", "words"),
    [
        (Situation(), "unknown yet"),
        (Situation(deadline=100.0), "60 s of the budget"),
        (Situation(left=Forecast(seconds=90.0, made=30.0)), "about 80 s"),
        (Situation(left=Forecast(seconds=900.0, made=40.0, at_most=True)), "at most 15 min"),
        (Situation(left=Forecast(seconds=1.0, made=0.0)), "about 0 s"),
        (Situation(left=Forecast(seconds=5.0, made=40.0), deadline=100.0), "about 5 s"),
        (
            Situation(left=Forecast(seconds=360.0, made=40.0), deadline=100.0),
            "60 s of the budget, which is too short by about 5 min",
        ),
    ],
)
def test_the_time_left_is_said_as_far_as_it_is_known(situation, words):
    assert situation.time_left(now=40.0) == words


def test_lines_come_with_each_stage_and_then_only_now_and_then(monkeypatch):
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Lines(stream) as show:
        show.update(stage="race", total=4)
        for done in range(4):
            now[0] += 4.0
            show.update(done=done, trying=f"run {done}")
        show.update(stage="check")
    assert stream.getvalue().splitlines() == [
        "race: 0 of 4 done",
        "race: 2 of 4 done; trying run 2; time left: unknown yet",
        "check",
    ]


def test_a_live_display_shows_the_situation_and_leaves_the_terminal_clean():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with Live(console) as show:
        show.update(
            stage="sweep of [b]tiny[/b]", total=8, done=3, trying="batch size 16", best="batch size 96", part=0.5
        )
        show._live.refresh()
    seen = stream.getvalue()
    for words in ("sweep of [b]tiny[/b]: 3 of 8 done", "trying batch size 16 (50%)", "best so far: batch size 96"):
        assert words in seen
    assert "\x1b[?25h" in seen  # the cursor is back
    console.file.truncate(0)


def test_the_display_suits_where_it_is_shown():
    assert type(display_on(io.StringIO(), silent=True)) is Display
    assert type(display_on(io.StringIO())) is Lines
