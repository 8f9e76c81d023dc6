"""Which runs a study needs: the grid that widens, the samplers, and what must not depend on who made which run."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from critbatch.errors import UserError
from critbatch.records.core import Outcome, Quantity, Target
from critbatch.records.study import StudySpec
from critbatch.studies.early_stopping import hopeless
from critbatch.studies.run_key import RunKey, RunSummary
from critbatch.studies.run_table import StudyState
from critbatch.studies.search import choose, rate_of
from critbatch.studies.spec import build_spec, epochs_of_steps, lengths_of, make_plan
from tiny import tiny_task

TASK = tiny_task()
ask = partial(build_spec, TASK, batch_sizes=(16,), recipe="sgd", target=TASK.target)

World = Callable[[RunKey], RunSummary]


def brief(steps: float = math.inf, *, outcome: Outcome | None = None, metric: float = 0.5) -> RunSummary:
    return RunSummary(
        outcome=outcome or (Outcome.FINISHED if math.isinf(steps) else Outcome.REACHED),
        score=steps,
        loss=1.0 - metric,
        metric=metric,
        steps=100,
        examples=1000,
        seconds=1.0,
        wall_seconds=1.0,
        judged_by=TASK.target,
        steps_to_target=steps,
        crossing_seconds=None,
    )


def best_at(best: float, *, fails_above: float = math.inf) -> World:
    """Steps by the law of a rate, with a little luck of the seed."""

    def run(key: RunKey) -> RunSummary:
        rho = key.learning_rate / best
        luck = 1 + 0.02 * math.sin(12.9898 * key.seed + 78.233 * key.learning_rate)
        if key.learning_rate > fails_above:
            return brief(outcome=Outcome.DIVERGED)
        return brief(100 * luck * (rho + 1 / rho) / 2)

    return run


def made_by(world: World, question: StudySpec, *, order: random.Random | None = None) -> StudyState:
    """The study made to its end, each next run picked by `order` among those that are known to be needed."""
    stock = StudyState()
    for _ in range(1000):
        choice = choose(question, stock)
        free = [key for key in choice.keys if key not in stock.finished]
        if not free:
            assert choice.later == 0
            return stock
        key = order.choice(free) if order is not None else free[0]
        stock.finished[key] = world(key)
    raise AssertionError("it never ends")


def rates(stock: StudyState, seed: int = 0) -> list[float]:
    return sorted(key.learning_rate for key in stock.finished if key.seed == seed)


@pytest.mark.parametrize("off", [1e-3, 0.02, 0.4, 1.0, 3.0, 70.0, 1e3])
def test_the_grid_widens_until_the_best_rate_has_a_worse_neighbour_on_either_side(off):
    question = ask(seeds=(0,))
    best = off * rate_of(question, 16, 0)
    stock = made_by(best_at(best), question)
    tried = rates(stock)
    found = min(stock.finished, key=lambda key: stock.finished[key].score).learning_rate
    assert tried[0] < found < tried[-1]
    assert 1 / math.sqrt(2.2) < found / best < math.sqrt(2.2)
    assert len(tried) <= 4 + abs(math.log2(off))


def test_rates_that_are_given_beside_a_search_are_made_at_every_batch_size_with_every_seed():
    question = ask(batch_sizes=(4, 96), seeds=(0, 1), search="widening", learning_rates=(0.0007,))
    stock = made_by(best_at(0.3), question)
    both_given = [(key.batch_size, key.seed) for key in stock.finished if key.learning_rate == 0.0007]
    assert sorted(both_given) == [(4, 0), (4, 1), (96, 0), (96, 1)]
    alone = made_by(best_at(0.3), ask(batch_sizes=(4, 96), seeds=(0, 1)))
    assert set(alone.finished) < set(stock.finished)


def test_the_other_seeds_run_the_best_rate_and_its_neighbours_only():
    question = ask(seeds=(3, 5, 8))
    stock = made_by(best_at(9 * rate_of(question, 16, 0)), question)
    searched, others = rates(stock, seed=3), [rates(stock, seed=seed) for seed in (5, 8)]
    assert others[0] == others[1] and set(others[0]) < set(searched) and len(others[0]) == 3


def test_where_the_mean_over_seeds_prefers_a_rung_at_the_edge_its_neighbours_are_made_for_all_seeds():
    question = ask(seeds=(0, 1, 2))
    usual = rate_of(question, 16, 0)

    def unlucky(key: RunKey) -> RunSummary:
        return best_at(usual if key.seed == 0 else usual / 4)(key)

    stock = made_by(unlucky, question)
    lowest = rate_of(question, 16, -3)
    assert {seed: lowest in rates(stock, seed) for seed in (0, 1, 2)} == {0: True, 1: True, 2: True}


def test_rates_that_diverge_send_the_grid_down_and_rates_that_all_miss_the_target_are_told_apart_by_what_they_came_to():
    question = ask(seeds=(0,))
    usual = rate_of(question, 16, 0)
    stock = made_by(best_at(usual / 30, fails_above=usual / 20), question)
    assert rates(stock)[0] < usual / 40
    missed = made_by(lambda key: brief(metric=1 / (1 + abs(math.log(key.learning_rate / usual / 5)))), question)
    assert rates(missed)[-1] > 5 * usual


def test_where_every_rate_fails_the_grid_ends():
    stock = made_by(lambda key: brief(outcome=Outcome.DIVERGED), ask(seeds=(0,)))
    assert 10 < len(rates(stock)) < 20


@pytest.mark.parametrize("seed", range(5))
def test_the_runs_of_a_study_do_not_depend_on_the_order_in_which_they_are_made(seed):
    question = ask(batch_sizes=(4, 16, 96), seeds=(0, 1, 2), varied={"momentum": (0.0, 0.9)})
    world = best_at(0.5, fails_above=1.5)
    assert made_by(world, question).finished == made_by(world, question, order=random.Random(seed)).finished


def test_runs_that_go_on_after_the_target_are_searched_for_two_bests():
    question = ask(seeds=(0, 1), stops_at_target=False)
    usual = rate_of(question, 16, 0)

    def world(key: RunKey) -> RunSummary:
        steps = best_at(8 * usual)(key).steps_to_target
        return replace(brief(steps), metric=1 / (1 + abs(math.log(key.learning_rate / usual * 8))))

    tried, both = rates(made_by(world, question)), rates(made_by(world, question), seed=1)
    assert tried[0] < usual / 8 and tried[-1] > 8 * usual and len(both) == 6


def test_without_a_target_the_loss_decides():
    question = ask(seeds=(0,), target=None)
    best = 4 * rate_of(question, 16, 0)
    stock = made_by(lambda key: brief(metric=1 / (1 + abs(math.log(key.learning_rate / best)))), question)
    assert rates(stock)[-1] > best


def test_of_runs_that_go_on_the_validation_value_that_the_target_is_set_on_decides():
    question = ask(seeds=(0,), stops_at_target=False)
    best = 4 * rate_of(question, 16, 0)

    def overfits(key: RunKey) -> RunSummary:
        return replace(brief(metric=1 / (1 + abs(math.log(key.learning_rate / best)))), loss=key.learning_rate)

    assert rates(made_by(overfits, question))[-1] > best
    by_loss = replace(question, target=Target(quantity=Quantity.VALIDATION_LOSS, value=0.1))
    assert rates(made_by(overfits, by_loss))[-1] < best


@pytest.mark.parametrize("search", ["tpe", "gp", "qmc", "random"])
def test_a_sampler_of_optuna_tries_as_many_settings_as_it_is_given_and_the_other_seeds_run_the_best(search):
    question = ask(search=search, trials=8, seeds=(0, 1), varied={"momentum": (0.0, 0.9)})

    def world(key: RunKey) -> RunSummary:
        return best_at(0.2 if dict(key.options)["momentum"] == 0.0 else 0.02)(key)

    stock = made_by(world, question)
    first = [key for key in stock.finished if key.seed == 0]
    assert len(set(first)) == 8 and len(stock.finished) == 9
    assert {dict(key.options)["momentum"] for key in first} == {0.0, 0.9}
    (again,) = [key for key in stock.finished if key.seed == 1]
    assert replace(again, seed=0) == min(first, key=lambda key: stock.finished[key].score)


def test_samplers_learn():
    question = ask(search="tpe", trials=25, seeds=(0,))
    stock = made_by(best_at(0.003), question)
    late = [abs(math.log(key.learning_rate / 0.003)) for key in list(stock.finished)[15:]]
    early = [abs(math.log(key.learning_rate / 0.003)) for key in list(stock.finished)[:4]]
    assert sum(late) / len(late) < sum(early) / len(early) / 2


def test_two_workers_of_a_sampler_do_not_ask_for_the_same_setting():
    question = ask(search="tpe", trials=6, seeds=(0,))
    stock = StudyState()
    for _ in range(4):
        (new,) = [key for key in choose(question, stock).keys if key not in stock.running]
        stock.running.add(new)
    assert len(stock.running) == 4


def test_a_run_is_hopeless_when_it_is_in_the_worse_half_of_those_that_have_come_as_far():
    others = {1: {1: 1.0, 2: 0.8}, 2: {1: 2.0}, 3: {1: 0.5, 2: 0.4, 4: 0.3}}
    assert hopeless({1: 1.5}, others) and not hopeless({1: 0.6}, others)
    assert hopeless({1: 0.6, 2: 0.9}, others) and not hopeless({1: 0.6, 2: 0.3}, others)
    assert not hopeless({1: 9.0}, {})
    assert hopeless({1: math.inf}, others) and hopeless({1: math.nan}, others)


@pytest.mark.parametrize(("size", "steps"), [(40, 1), (40, 3), (40, 4), (96, 5), (1, 97), (95, 3), (13, 1000)])
def test_a_length_in_steps_is_that_many_steps_whatever_the_batch_size(size, steps):
    from critbatch.training.trainer import train

    epochs = epochs_of_steps(steps, size, TASK.examples)
    plan = make_plan("sgd", batch_size=size, learning_rate=0.01, epochs=epochs, options={})
    assert train(TASK, plan, compile=False).steps == steps


def test_a_run_is_as_long_as_the_longest_of_its_lengths():
    question = ask(batch_sizes=(8, 96), epochs=2, steps=30)
    lengths = lengths_of(question, 96, None)
    assert lengths[8] == pytest.approx(2.5, abs=0.1) and lengths[96] == pytest.approx(29.5)


def test_options_of_recipe_and_plan_reach_the_plan():
    options = {"momentum": 0.5, "ghost_batch": 8, "order": "sequential", "micro_batch_size": 4}
    plan = make_plan("sgd", batch_size=16, learning_rate=0.1, epochs=1.0, options=options)
    assert (plan.ghost_batch, plan.order, plan.micro_batch_size) == (8, "sequential", 4)
    assert plan.phases[0].optimizer(TASK.new_model(0).parameters()).defaults["momentum"] == 0.5


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"search": "magic"}, "The search 'magic' is not known: use given, widening, tpe"),
        ({"search": "tpe", "learning_rates": (0.1,)}, "Learning rates are given, and searched for by tpe"),
        ({"search": "given"}, "The search is `given`, but no learning rates are"),
        ({"trials": 5}, "trials=5 is not possible"),
        ({"trials": 0, "search": "tpe"}, "trials=0 is not possible"),
        ({"steps": 0}, "steps=0 is not possible"),
        ({"seconds": math.inf}, "seconds=inf is not possible"),
        ({"fixed": {"warmth": 1}}, "Recipe sgd has no option warmth: it has"),
        ({"fixed": {"learning_rate": 1}}, "learning_rate is not an option here"),
        ({"fixed": {"momentum": "much"}}, "momentum='much' is not possible"),
        ({"fixed": {"ghost_batch": 1}}, "ghost_batch=1 is not possible"),
        ({"fixed": {"order": "odd"}}, "order='odd' is not known"),
        ({"varied": {"momentum": ()}}, "`momentum` is empty"),
        ({"varied": {"momentum": (0.9, 0.9)}}, "`momentum` holds 0.9 more than once"),
        ({"fixed": {"momentum": 0.0}, "varied": {"momentum": (0.0, 0.9)}}, "momentum is both fixed and varied"),
    ],
)
def test_a_study_that_cannot_be_made_is_refused_with_a_sentence(asked, sentence):
    with pytest.raises(UserError, match=sentence):
        ask(**asked)
