"""A recipe is one file: critbatch finds its own, and loads that of a user, whatever its optimizer is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW

import critbatch
from critbatch.advisor.result import recipe_code
from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import Monitor
from critbatch.recipes import RECIPES, WIDE_PRIOR, WIDE_RATES, LawPrior, plan_of, recipe, recipe_info, sgd
from critbatch.recipes.plan import Plan
from critbatch.recipes.registry import recipe_of_optimizer
from critbatch.reports.snippets import snippets
from critbatch.reports.views.chapters import summary
from unit.advisor.test_advise import campaign

FILE = '''
import math
from functools import partial

from torch.optim import NAdam

from critbatch.recipes import LawPrior, Phase, Plan, recipe


@recipe(
    "nadam",
    paper="Dozat 2016, ICLR workshop",
    changes="Nesterov momentum in Adam",
    needs="two more tensors a weight",
    usual_rate=lambda batch_size: 0.002,
    law_prior=LawPrior(log_rate=(math.log(0.005), 2.0), exponent=(0.5, 0.2)),
    first_learning_rates=(0.0007, 0.007, 0.07),
    optimizers=(NAdam,),
)
def my_nadam(*, batch_size: int, learning_rate: float, epochs: float, momentum_decay: float = 0.01) -> Plan:
    """NAdam at a constant learning rate."""
    optimizer = partial(NAdam, lr=learning_rate, momentum_decay=momentum_decay)
    rate = lambda epoch: learning_rate
    phase = Phase(epochs=epochs, batch_size=batch_size, optimizer=optimizer, learning_rate=rate)
    return Plan(recipe="nadam", peak=learning_rate, phases=(phase,))
'''


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(RECIPES)
    yield
    RECIPES.clear()
    RECIPES.update(before)


@pytest.fixture
def name(tmp_path: Path) -> str:
    file = tmp_path / "my_recipes.py"
    file.write_text(FILE)
    return f"{file}:my_nadam"


def test_each_recipe_file_of_the_package_registers_one_recipe_and_the_stub_names_its_function() -> None:
    folder = Path(critbatch.recipes.__file__).parent
    files = {file.stem for file in folder.glob("*.py")} - {"__init__", "base", "plan", "registry"}
    assert {info.make_plan.__module__.rpartition(".")[2] for info in RECIPES.values()} == files
    stub = (folder / "__init__.pyi").read_text()
    for info in RECIPES.values():
        assert getattr(critbatch.recipes, info.make_plan.__name__) is info.make_plan
        assert f"import {info.make_plan.__name__}\n" in stub


def test_one_file_of_a_user_is_enough_for_advice_with_prior_rates_code_and_report(name: str, tmp_path: Path) -> None:
    advice = campaign(tmp_path / "out", recipe=name, options={"momentum_decay": 0.02}).run()
    assert advice.answered and advice.best is not None
    assert {run.recipe for run in advice.runs} == {advice.recipe} == {name}
    rates = {run.learning_rate for run in advice.runs}
    assert {0.0007, 0.007, 0.07} <= rates and min(rates) == 0.0007 > min(WIDE_RATES)
    # Runs at few sizes hardly say what the exponent is: the recipe's prior, 0.5 +- 0.2, does.
    assert advice.law is not None and abs(advice.law.exponent.value - 0.5) < 0.2
    code = next(snippet.code for snippet in snippets(advice) if snippet.name == "torch")
    line = next(line for line in code.splitlines() if line.startswith("optimizer"))
    rate = float(f"{advice.best.learning_rate.value:.3g}")
    assert line == f"optimizer = torch.optim.NAdam(model.parameters(), lr={rate}, momentum_decay=0.02)"
    page = critbatch.report(advice, tmp_path / "report.html").read_text()
    assert "torch.optim.NAdam" in page and "my_nadam" in page
    assert summary(advice, "en") and summary(advice, "zh")


def test_advise_takes_a_recipe_that_a_program_registered_by_its_name(name: str, tmp_path: Path) -> None:
    recipe_info(name)
    assert plan_of("nadam", batch_size=8, epochs=1.0).peak == 0.002
    task = campaign(tmp_path / "unused").config.task
    advice = critbatch.advise(task, recipe="nadam", out=tmp_path / "out", budget=3.0)
    assert advice.recipe == "nadam" and {run.recipe for run in advice.runs} <= {"nadam"}


def test_the_file_is_loaded_once(name: str) -> None:
    assert recipe_info(name) is recipe_info(name)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("none.py:mine", "There is no file"),
        ("{file}:other", "has no recipe 'other': use my_nadam"),
        ("{file}:", "lacks a part: write path/to/file.py:recipe"),
        ("nadam2", "is not known: use adam, adaptive"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused_in_a_sentence(given: str, sentence: str, name: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe_info(given.replace("{file}", name.rpartition(":")[0]))


def test_a_file_with_an_error_is_blamed_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = 1 / 0\n")
    with pytest.raises(UserError, match=r"Recipe .* could not be loaded: .*broken.py, line 2"):
        recipe_info(f"{tmp_path / 'broken.py'}:mine")


def declared(name: str = "mine", **changed: object) -> object:
    facts = {"paper": "", "usual_rate": lambda size: 0.1, "law_prior": WIDE_PRIOR, "first_learning_rates": (0.1, 0.3)}
    return recipe(name, **{**facts, **changed})  # type: ignore[arg-type]


def mine(*, batch_size: int, learning_rate: float, epochs: float) -> Plan:
    return sgd(batch_size=batch_size, learning_rate=learning_rate, epochs=epochs)


def test_a_name_of_critbatch_is_not_replaced() -> None:
    with pytest.raises(UserError, match="Recipe sgd is one of critbatch"):
        declared("sgd")(mine)  # type: ignore[operator]
    assert RECIPES["sgd"].make_plan is sgd


@pytest.mark.parametrize("rates", [(), (0.1, 0.1), (0.3, 0.1), (-0.1, 0.1), (0.1, math.inf)])
def test_first_learning_rates_must_rise(rates: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"first_learning_rates=.* are not possible"):
        declared(first_learning_rates=rates)(mine)  # type: ignore[operator]


def test_the_function_must_take_what_every_command_gives() -> None:
    with pytest.raises(UserError, match="does not take epochs"):
        declared()(lambda *, batch_size, learning_rate: None)  # type: ignore[operator]


def test_the_function_must_return_a_plan() -> None:
    declared()(lambda *, batch_size, learning_rate, epochs: None)  # type: ignore[operator]
    with pytest.raises(UserError, match="returned a NoneType"):
        plan_of("mine", batch_size=8, learning_rate=0.1, epochs=1.0)


def test_a_plan_has_the_name_under_which_its_recipe_was_found() -> None:
    declared()(mine)  # type: ignore[operator]
    assert plan_of("mine", batch_size=8, learning_rate=0.1, epochs=1.0).recipe == "mine"


@pytest.mark.parametrize(
    ("optimizer", "recipe_name"),
    [(SGD, "sgd"), (Adam, "adam"), (AdamW, "adam"), (type("Mine", (SGD,), {}), "sgd"), (Adagrad, None)],
)
def test_a_monitor_finds_the_prior_of_its_optimizer(optimizer: type[torch.optim.Optimizer], recipe_name: str) -> None:
    model = nn.Linear(3, 1)
    made = optimizer(model.parameters(), lr=0.1)
    info = recipe_of_optimizer(made)
    assert (info.name if info is not None else None) == recipe_name
    assert Monitor(model).advice(optimizer=made).optimizer == (recipe_name or "Adagrad")


def test_a_monitor_follows_a_user_s_recipe(name: str) -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.NAdam(model.parameters(), lr=0.1)
    assert recipe_of_optimizer(optimizer) is None
    recipe_info(name)
    info = recipe_of_optimizer(optimizer)
    assert info is not None and info.law_prior == LawPrior(log_rate=(np.log(0.005), 2.0), exponent=(0.5, 0.2))


@pytest.mark.parametrize(
    ("recipe_name", "options", "optimizer", "settings"),
    [
        ("sgd", {}, "SGD", {"momentum": 0.9}),
        ("sgd", {"momentum": 0.0, "drop_last": True}, "SGD", {}),
        ("adam", {}, "AdamW", {"weight_decay": 0.0}),
        ("adam", {"weight_decay": 0.01}, "AdamW", {}),
        ("sgd", {"lr_decay": "cosine"}, "", {}),
        ("sgd", {"weight_decay": 0.1, "decay_vectors": False}, "", {}),
        ("lars2017", {}, "", {}),
    ],
)
def test_torch_alone_is_named_where_it_does_the_same(
    recipe_name: str, options: dict[str, float], optimizer: str, settings: dict[str, float]
) -> None:
    code = recipe_code(recipe_name, options)
    assert (code.torch_optimizer, code.torch_settings) == (optimizer, settings)


def test_a_plan_that_only_critbatch_carries_out_says_so() -> None:
    @declared()  # type: ignore[operator, misc]
    def sharp(*, batch_size: int, learning_rate: float, epochs: float) -> Plan:
        from dataclasses import replace

        return replace(mine(batch_size=batch_size, learning_rate=learning_rate, epochs=epochs), sam_rho=0.05)

    code = recipe_code("mine", {})
    assert code.needs_train and not code.torch_optimizer
