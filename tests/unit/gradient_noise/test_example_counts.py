"""How many examples a batch has: what tensors agree on, what the user says, or a sentence."""

from __future__ import annotations

import dataclasses
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from critbatch.errors import UserError
from critbatch.gradient_noise.example_counts import AmbiguousSizeError, Evidence, ExampleCounter, agreed_size
from critbatch.gradient_noise.monitor import Monitor
from critbatch.records.core import NoiseScale

B, T = 8, 5
ROWS, STEPS = torch.zeros(B, T, 3), torch.zeros(T, B, 3)


@dataclasses.dataclass
class Graphs:
    x: Tensor
    y: Tensor


class Held:
    def __init__(self, x: Tensor) -> None:
        self.x = x


def evidence(inputs: Any, outputs: Any = None, **declared: int) -> Evidence:
    shown = Evidence(declared=dict(declared))
    shown.add_inputs((inputs,), {})
    shown.add_outputs(outputs)
    return shown


@pytest.mark.parametrize(
    ("inputs", "outputs", "declared"),
    [
        (ROWS, ROWS, {}),
        ({"x": ROWS, "scale": torch.tensor(2.0), "name": "abc"}, None, {}),
        (UserDict(x=ROWS), ROWS, {}),
        (Graphs(ROWS, ROWS[:, 0]), None, {}),
        (Held(ROWS), ROWS, {}),
        ((ROWS, [{"deep": ROWS}]), ROWS, {}),
        (list(ROWS), ROWS, {}),
        ([torch.zeros(3, 4 + i) for i in range(B)], ROWS, {}),
        ({"epoch": torch.zeros(1), "x": ROWS}, {"logits": ROWS, "loss": torch.tensor(0.0)}, {}),
        ({"ids": ROWS, "positions": torch.zeros(1, T)}, ROWS, {}),
        (ROWS, (ROWS, torch.zeros(1, B, 4)), {}),
        (STEPS, ROWS, {"rnn": B}),
        (ROWS, STEPS, {"rnn": B}),
        (pack_padded_sequence(ROWS, torch.tensor([5, 5, 4, 3, 2, 2, 1, 1]), batch_first=True), ROWS, {}),
        (torch.zeros(1, 7), torch.zeros(1, 7, 3), {}),
    ],
    ids=lambda value: "",
)
def test_tensors_that_agree_tell_it(inputs: Any, outputs: Any, declared: dict[str, int]) -> None:
    count = agreed_size(evidence(inputs, outputs, **declared))
    assert count == (1 if isinstance(inputs, Tensor) and len(inputs) == 1 else B)


@pytest.mark.parametrize(
    ("inputs", "outputs", "declared", "sentence"),
    [
        ({"epoch": torch.zeros(1), "x": ROWS}, None, {}, r"input\['epoch'\] has 1, input\['x'\] has 8"),
        (STEPS, ROWS, {}, "input has 5, output has 8"),
        (STEPS, STEPS, {"rnn": B}, "rnn has 8"),
        (ROWS, ROWS, {"rnn": T}, "rnn has 5"),
        (torch.zeros(B, T), torch.zeros(B * T, 9), {}, "input has 8, output has 40"),
        ([torch.zeros(3, 4) for _ in range(B)], None, {}, "the list input has 8 entries"),
        ({"patches": torch.zeros(96, 4), "ids": ROWS}, ROWS, {}, "has 96"),
        ({"tokens": torch.zeros(1, 40), "bounds": torch.zeros(B + 1)}, torch.zeros(1, 40, 2), {}, "has 9"),
        ("abc", None, {}, "No tensor goes into the model"),
    ],
    ids=lambda value: "",
)
def test_tensors_that_disagree_are_named_and_none_is_believed(
    inputs: Any, outputs: Any, declared: dict[str, int], sentence: str
) -> None:
    with pytest.raises(AmbiguousSizeError, match=f"{sentence}.*update\\(batch_size="):
        agreed_size(evidence(inputs, outputs, **declared))


def test_where_a_trainer_knows_the_size_the_tensors_that_have_it_are_followed() -> None:
    counter = ExampleCounter(expected=B)
    batch = {"epoch": torch.zeros(1), "patches": torch.zeros(96, 4), "x": ROWS}
    assert counter.count(evidence(batch)) == B
    assert counter.count(evidence({**batch, "patches": torch.zeros(8, 4), "x": ROWS[:3]})) == 3
    with pytest.raises(AmbiguousSizeError):
        ExampleCounter(expected=B).count(evidence(torch.zeros(1, 40)))


class Recurrent(nn.Module):
    """By the last state of a GRU; `first` says on which axis its examples are."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 6, batch_first=first)
        self.head = nn.Linear(6, 2)

    def forward(self, given: Any) -> Tensor:
        return self.head(self.rnn(given)[1][-1])  # type: ignore[no-any-return]


def watched(model: nn.Module, arrange: Callable[[Tensor], Any], *, told: Any = None, **options: Any) -> NoiseScale:
    """Nine steps of two micro-batches of eight sequences."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = 0.4 * torch.randn(weight.shape, generator=generator)
    monitor = Monitor(model, by="micro_batches", **options)
    for _ in range(9):
        model.zero_grad()
        for _ in range(2):
            rows = torch.randn(B, T, 3, generator=generator)
            nn.functional.cross_entropy(model(arrange(rows)), (rows[:, :, 0].sum(1) > 0).long()).backward()
        monitor.update(batch_size=told)
    assert monitor.advice().batch_size in (2 * B, None)
    return monitor.noise_scale()


def test_time_first_and_packed_sequences_have_as_many_examples_as_sequences() -> None:
    usual = watched(Recurrent(first=True), lambda rows: rows)
    lengths = torch.full((B,), T)
    assert watched(Recurrent(first=False), lambda rows: rows.transpose(0, 1)).noise_scale == pytest.approx(
        usual.noise_scale, rel=1e-4
    )
    assert watched(
        Recurrent(first=True), lambda rows: pack_padded_sequence(rows, lengths, batch_first=True)
    ).noise_scale == pytest.approx(usual.noise_scale, rel=1e-4)


class TimeFirst(nn.Module):
    """No layer says where its examples are."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)

    def forward(self, given: Tensor) -> Tensor:
        return self.inner(given).mean(0)  # type: ignore[no-any-return]


class BatchFirst(TimeFirst):
    def forward(self, given: Tensor) -> Tensor:
        return self.inner(given).mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("options", [{"batch_size": 2 * B}, {"told": 2 * B}, {"told": [B, B]}], ids=str)
def test_what_the_user_says_holds(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    usual = watched(BatchFirst(), lambda rows: rows)
    told = watched(TimeFirst(), lambda rows: rows.transpose(0, 1), **options)
    assert told.noise_scale == pytest.approx(usual.noise_scale, rel=1e-5)
    assert not caplog.records
    guess = watched(TimeFirst(), lambda rows: rows.transpose(0, 1))
    assert (guess.reason, guess.pairs) == ("batch_size_unknown", 0)
    assert ["input has 5, output has 8" in record.message for record in caplog.records] == [True]


def test_a_size_said_once_gives_way_to_the_tensors_in_a_short_step() -> None:
    model = BatchFirst()
    monitor = Monitor(model, by="micro_batches", batch_size=16)
    for size in (8, 8, 3):
        model.zero_grad()
        for _ in range(2):
            model(torch.randn(size, T, 3)).square().mean().backward()
        monitor.update()
    monitor.noise_scale()
    assert [size for size, _ in monitor.state_dict()["times"]] == [16, 16, 6]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (100, "give one number for each"),
        ([8], "does not fit a step of 2 backward passes"),
        ([8, 0], "above 0"),
        (0, "use 1 or more"),
    ],
)
def test_sizes_that_do_not_fit_the_step_are_one_sentence(told: Any, sentence: str) -> None:
    model = BatchFirst()
    monitor = Monitor(model, by="micro_batches", strict=True)
    for size in (8, 4):
        model(torch.randn(size, T, 3)).square().mean().backward()
    with pytest.raises(UserError, match=sentence):
        monitor.update(batch_size=told)


def test_single_examples_are_as_many_as_the_layers_have_where_tensors_disagree() -> None:
    class Dated(BatchFirst):
        def forward(self, given: Any) -> Tensor:
            return super().forward(given["x"]).square().sum()

    monitors = []
    for model, arrange in (
        (BatchFirst(), lambda rows: rows),
        (Dated(), lambda rows: {"epoch": rows[:1, 0], "x": rows}),
    ):
        generator = torch.Generator().manual_seed(0)
        for weight in model.parameters():
            weight.data = 0.4 * torch.randn(weight.shape, generator=generator)
        monitors.append(Monitor(model, strict=True))
        for size in (8, 6):
            model.zero_grad()
            model(arrange(torch.randn(size, T, 3, generator=generator))).square().sum().sqrt().backward()
            monitors[-1].update()
    one, other = monitors
    assert [size for size, _ in other.state_dict()["times"]] == [8, 6]
    assert one.advice().batch_size == other.advice().batch_size


def test_one_backward_pass_of_two_forward_passes_needs_a_size() -> None:
    model = BatchFirst()
    monitor = Monitor(model, by="micro_batches")
    generator = torch.Generator().manual_seed(0)
    for told in (None, 16):
        model.zero_grad()
        for _ in range(2):
            one, other = (torch.randn(8, T, 3, generator=generator) for _ in range(2))
            (model(one) - model(other)).square().mean().backward()
        monitor.update(batch_size=told)
    assert monitor.left_out == {"passes_unclear": 1}
    assert (monitor.noise_scale().pairs, monitor.advice().batch_size) == (1, 16)


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
@pytest.mark.parametrize(
    "arrange",
    [lambda rows: {"x": rows, "other": rows[:3]}, lambda rows: "abc", lambda rows: [rows[0], rows]],
    ids=["dict", "text", "list"],
)
def test_watching_never_ends_a_training_unless_strict(by: Any, arrange: Any) -> None:
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, given: Any) -> Tensor:
            return self.inner(torch.ones(4, 3)).sum()  # type: ignore[no-any-return]

    model = Takes()
    monitor = Monitor(model, by=by)
    for _ in range(12):
        model.zero_grad()
        for _ in range(2):
            model(arrange(ROWS)).backward()
        monitor.update()
    assert monitor.noise_scale().reason == ("not_measurable" if by == "examples" else "batch_size_unknown")
    assert monitor.problem and monitor.advice().text() and monitor.advice().text("zh")
    assert not model._forward_hooks and not model.inner._forward_hooks  # measuring has ended
    strict = Monitor(model, by=by, strict=True)
    for _ in range(2):
        model(arrange(ROWS)).backward()
    with pytest.raises(UserError):
        strict.update()


def test_an_error_in_a_hook_is_kept_until_the_update_and_ends_measuring_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for target, by in (
        ("critbatch.gradient_noise.ghost_norms.GhostNorms._meet", "examples"),
        ("critbatch.gradient_noise.hooks.squares_of", "micro_batches"),
        ("critbatch.gradient_noise.example_counts.Evidence.add_inputs", "micro_batches"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, _fail)
            model = nn.Linear(3, 2)
            monitor = Monitor(model, by=by)  # type: ignore[arg-type]
            for _ in range(2):
                model(torch.ones(4, 3)).sum().backward()
            monitor.update()
            model(torch.ones(4, 3)).sum().backward()
            monitor.update()
        assert "no more" in monitor.problem
        assert monitor.noise_scale().reason == "not_measurable"
        assert not model._forward_hooks and not model._forward_pre_hooks
    assert len(caplog.records) == 6


def _fail(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("no more")
