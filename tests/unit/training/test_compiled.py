"""Training with `torch.compile`: the same run up to rounding, bit for bit when it is resumed, and a way on without."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
from critbatch.recipes import sgd
from critbatch.training import compiled as compiled_model
from critbatch.training.state import Budget
from critbatch.training.trainer import Training
from tiny import tiny_plan, tiny_task


class Traced:
    """A backend that runs the graph as it is, and keeps the sizes of the batches it was made for and called with."""

    def __init__(self) -> None:
        self.compiled: list[int] = []
        self.calls: list[int] = []

    def __call__(self, graph: Any, inputs: list[Tensor]) -> Any:
        (size,) = {len(each) for each in inputs if each.ndim == 2 and not isinstance(each, nn.Parameter)}
        self.compiled.append(size)

        def call(*given: Tensor) -> Any:
            self.calls.append(size)
            return graph(*given)

        return call


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    backend = Traced()
    monkeypatch.setattr(compiled_model, "BACKEND", backend)
    return backend


def weights(training: Training) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in training.model.parameters()])


def trained(compiled: bool, plan: Any, **settings: Any) -> Training:
    training = Training(tiny_task(), plan, compile=compiled, **settings)
    training.advance()
    return training


def test_whole_batches_are_compiled_and_the_short_one_and_evaluations_are_not(traced: Traced) -> None:
    plan = sgd(batch_size=36, learning_rate=0.1, epochs=2)  # of 96 examples: 36, 36, 24
    compiled = trained(True, plan)
    assert traced.compiled == [36]
    assert traced.calls == [36] * (1 + 4)  # once to try it
    assert (compiled.record().compiled_steps, compiled.record().steps) == (4, 6)
    assert torch.allclose(weights(compiled), weights(trained(False, plan)), rtol=1e-5, atol=1e-7)


def test_nothing_is_compiled_unless_asked_for(traced: Traced) -> None:
    training = Training(tiny_task(), sgd(batch_size=36, learning_rate=0.1, epochs=2))
    training.advance()
    assert (traced.compiled, training.record().compiled_steps) == ([], 0)


def test_micro_batches_are_compiled_at_their_size_and_steps_that_measure_noise_are_not(traced: Traced) -> None:
    plan = replace(sgd(batch_size=32, learning_rate=0.1, epochs=1), micro_batch_size=16)
    assert trained(True, plan, noise_every=3).record().compiled_steps == 2  # of 3 steps the first one measures
    assert traced.compiled == [16]
    assert traced.calls == [16] * (1 + 2 * 2)


def test_each_phase_is_compiled_for_its_own_batch_size(traced: Traced) -> None:
    plan = tiny_plan("smith2017", batch_size=16, epochs=12.0)
    assert [phase.batch_size for phase in plan.phases] == [16, 32, 64, 64]
    trained(True, plan)
    assert traced.compiled == [16, 32, 64]


def test_trying_to_compile_leaves_random_states_buffers_and_gradients_as_they_were(traced: Traced) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

    training = Training(replace(tiny_task(), model=model), sgd(batch_size=16, learning_rate=0.1, epochs=1))
    training.compiled.is_on = True
    before, random_state = {k: v.clone() for k, v in training.model.state_dict().items()}, torch.get_rng_state()
    training.compiled.prepare(16)
    assert traced.calls == [16]
    assert all(torch.equal(value, before[name]) for name, value in training.model.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(weight.grad is None for weight in training.model.parameters())


def test_the_names_of_weights_stay_those_of_the_model(traced: Traced) -> None:
    compiled = trained(True, sgd(batch_size=16, learning_rate=0.1, epochs=1))
    assert list(compiled.model.state_dict()) == list(tiny_task().new_model(0).state_dict())


def test_a_model_that_cannot_be_compiled_is_trained_without_after_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler\nwith much more to say")

    monkeypatch.setattr(compiled_model, "BACKEND", broken)
    plan = sgd(batch_size=16, learning_rate=0.1, epochs=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compiled = trained(True, plan)
    (warning,) = caught
    assert str(warning.message) == (
        "The model cannot be compiled (RuntimeError: no C++ compiler): training goes on without compiling."
    )
    assert torch.equal(weights(compiled), weights(trained(False, plan)))
    assert compiled.record().compiled_steps == 0


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_resumed_run_compiles_if_the_run_before_did(tmp_path: Path, traced: Traced, asked_again: bool) -> None:
    plan, file = sgd(batch_size=36, learning_rate=0.1, epochs=4), tmp_path / "run.pt"
    first = Training(tiny_task(), plan, compile=True, checkpoint=file)
    first.advance(Budget(steps=5))
    first.save()
    again = Training(tiny_task(), plan, compile=asked_again, checkpoint=file)
    again.advance()
    assert again.record().compiled_steps == 8
    assert torch.equal(weights(again), weights(trained(True, plan)))


def test_a_checkpoint_of_a_version_that_compiled_several_steps_goes_on_without(tmp_path: Path, traced: Traced) -> None:
    from critbatch.training.checkpoint import load_checkpoint, save_checkpoint

    plan, file = sgd(batch_size=36, learning_rate=0.1, epochs=4), tmp_path / "run.pt"
    first = Training(tiny_task(), plan, checkpoint=file)
    first.advance(Budget(steps=5))
    first.save()
    state = load_checkpoint(file, torch.device("cpu"))
    del state["torch_compile"]
    save_checkpoint(file, state | {"compiled": True}, keeps_previous=False)
    again = Training(tiny_task(), plan, compile=True, checkpoint=file)
    again.advance()
    assert (traced.compiled, again.record().steps) == ([], 12)


RESUMED = """
import sys, torch
from critbatch.training.state import Budget
from critbatch.recipes import sgd
from critbatch.training.trainer import Training
from tiny import tiny_task
from pathlib import Path
training = Training(tiny_task(dropout=0.3), sgd(batch_size=36, learning_rate=0.1, epochs=6), compile=True,
                    checkpoint=Path(sys.argv[1]), device=torch.device("cpu"))
training.advance(Budget(steps=int(sys.argv[2])))
training.save()
assert training.record().compiled_steps > 0
torch.save(training.model.state_dict(), sys.argv[3])
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_compiled_run_resumed_in_another_process_ends_bit_for_bit(tmp_path: Path) -> None:
    def run(file: str, steps: int, name: str) -> dict[str, Tensor]:
        words = [sys.executable, "-c", RESUMED, str(tmp_path / file), str(steps), str(tmp_path / name)]
        subprocess.run(words, check=True, cwd=Path(tiny.__file__).parent)
        state: dict[str, Tensor] = torch.load(tmp_path / name)
        return state

    whole = run("whole.pt", 1000, "whole.weights")
    run("parts.pt", 7, "half.weights")
    parts = run("parts.pt", 1000, "parts.weights")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
