"""Norms of examples' gradients without those gradients, against those gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.per_example import factors
from critbatch.per_example.ghost import GhostNorms
from critbatch.per_example.oracle import per_example_norms2
from critbatch.zoo.models import CNN, MLP
from critbatch.zoo.transformer import GPT
from tiny import tiny_task

BATCH = 5


def one_by_one(model: nn.Module, call: Callable[[slice], Tensor], batch: int = BATCH) -> dict[str, Tensor]:
    """Each example's squared gradient norms, by a backward pass of its own."""
    rows = []
    for i in range(batch):
        model.zero_grad()
        call(slice(i, i + 1)).backward()
        rows.append(
            {name: weight.grad.square().sum() for name, weight in model.named_parameters() if weight.requires_grad}
        )
    model.zero_grad()
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def agree(model: nn.Module, *inputs: Tensor) -> None:
    def call(rows: slice) -> Tensor:
        outputs = model(*(tensor[rows] for tensor in inputs))
        return (outputs[0] if isinstance(outputs, tuple) else outputs).square().sum()

    expected = one_by_one(model, call)
    ghost = GhostNorms(model)
    call(slice(0, BATCH)).backward()
    found = ghost.take()
    ghost.close()
    assert found.keys() == expected.keys()
    for name, norms2 in expected.items():
        torch.testing.assert_close(found[name].to(norms2), norms2, rtol=1e-9, atol=1e-12, msg=name)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 4), (BATCH, 6)),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False), (BATCH, 6)),
    "linear on a short sequence": (lambda: nn.Linear(16, 16), (BATCH, 3, 16)),
    "linear on a long sequence": (lambda: nn.Linear(3, 2), (BATCH, 20, 3)),
    "linear on a grid": (lambda: nn.Linear(3, 2), (BATCH, 4, 5, 3)),
    "convolution": (lambda: nn.Conv2d(3, 4, 3, padding=1), (BATCH, 3, 6, 7)),
    "convolution with stride, dilation and groups": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(2, 1), dilation=(2, 1), groups=2),
        (BATCH, 4, 9, 8),
    ),
    "convolution padded to the same size": (lambda: nn.Conv2d(2, 3, 3, padding="same"), (BATCH, 2, 6, 6)),
    "convolution padded by reflection": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
        (BATCH, 2, 6, 6),
    ),
    "convolution in one dimension": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (BATCH, 4, 9)),
    "convolution in three dimensions": (lambda: nn.Conv3d(2, 3, 2, dilation=2), (BATCH, 2, 5, 4, 4)),
    "layer norm": (lambda: nn.LayerNorm((4, 6)), (BATCH, 3, 4, 6)),
    "layer norm of vectors": (lambda: nn.LayerNorm(6), (BATCH, 6)),
    "RMS norm": (lambda: nn.RMSNorm(6), (BATCH, 3, 6)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (BATCH, 4, 5, 5)),
    "batch norm at rest": (lambda: nn.BatchNorm2d(4).eval(), (BATCH, 4, 5, 5)),
    "a kind without a rule": (lambda: nn.ConvTranspose2d(3, 2, 3), (BATCH, 3, 4, 4)),
    "instance norm": (lambda: nn.InstanceNorm2d(3, affine=True), (BATCH, 3, 4, 4)),
    "transformer layer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
        (BATCH, 4, 8),
    ),
}


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=list(LAYERS))
def test_each_kind_of_layer_gives_the_norms_of_its_examples(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    agree(nn.Sequential(make().double(), nn.Tanh()), draw(*shape))


@pytest.mark.parametrize("device_rule", [True, False])
def test_unfolding_and_grouping_give_the_same_gradients_of_a_convolution(device_rule: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).double()
    inputs, slopes = draw(BATCH, 4, 7, 7), draw(BATCH, 6, 4, 4)
    grouped = factors.convolution_gradients(layer, inputs, slopes)
    unfolded = factors.of_convolution(layer, inputs, slopes)
    torch.testing.assert_close(unfolded.gradients().reshape(grouped.shape), grouped)
    torch.testing.assert_close(unfolded.norms2().view(BATCH, -1).sum(1), grouped.flatten(1).square().sum(1))


def test_an_embedding_adds_up_what_the_same_word_gets_and_leaves_the_padding_out() -> None:
    torch.manual_seed(0)
    words = torch.tensor([[0, 1, 1, 2], [3, 3, 3, 3], [0, 0, 0, 0], [4, 0, 4, 1], [2, 2, 1, 1]])
    agree(nn.Sequential(nn.Embedding(5, 3, padding_idx=0), nn.Tanh()).double(), words)


class CalledTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.convolution = nn.Linear(6, 6), nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        twice = self.layer(torch.tanh(self.layer(inputs))).view(-1, 2, 3)
        return self.convolution(torch.tanh(self.convolution(twice)))


class Tied(nn.Module):
    def __init__(self, *, by_function: bool = False) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        if by_function:
            del self.head
        else:
            self.head.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        hidden = torch.tanh(self.embedding(words))
        return self.head(hidden) if hasattr(self, "head") else F.linear(hidden, self.embedding.weight)


class Loose(nn.Module):
    """Weights of its own beside a layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.offset, self.layer = nn.Parameter(torch.randn(6)), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(torch.tanh(inputs + self.offset))


def test_a_layer_that_is_called_twice_counts_both_calls_and_what_they_share() -> None:
    torch.manual_seed(0)
    agree(CalledTwice().double(), draw(BATCH, 6))


def test_a_weight_that_two_layers_share_counts_once_with_both() -> None:
    torch.manual_seed(0)
    words = torch.randint(7, (BATCH, 4), generator=torch.Generator().manual_seed(0))
    agree(Tied().double(), words)


def test_weights_that_belong_to_no_layer_are_counted() -> None:
    torch.manual_seed(0)
    agree(Loose().double(), draw(BATCH, 6))


def test_frozen_weights_are_left_out() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    model[0].weight.requires_grad_(False)
    agree(model, draw(BATCH, 6))


@pytest.mark.parametrize("slices", [1 << 26, 64])
def test_large_weights_are_done_some_examples_at_a_time(slices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critbatch.per_example.ghost.NUMBERS_AT_ONCE", slices)
    torch.manual_seed(0)
    agree(CNN(channels=2, size=8, widths=(3, 4)).double(), draw(BATCH, 2, 8, 8))
    agree(CalledTwice().double(), draw(BATCH, 6))


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
def test_models_agree_with_vmap_of_grad(name: str) -> None:
    torch.manual_seed(0)
    task = tiny_task(dtype=torch.float64)
    model: nn.Module
    inputs, targets = draw(BATCH, 4), torch.arange(BATCH) % 3
    if name == "mlp":
        model = MLP((4, 9, 3)).double()
    elif name == "cnn":
        model, inputs = CNN(channels=1, size=8, widths=(2, 3), classes=3).double(), draw(BATCH, 1, 8, 8)
    else:
        model = GPT(vocabulary=11, context=6, layers=2, width=8, heads=2).double()
        inputs = torch.randint(11, (BATCH, 6), generator=torch.Generator().manual_seed(0))
        targets = inputs.roll(1, 1)
    expected = per_example_norms2(task, model, inputs, targets, at_once=2)
    ghost = GhostNorms(model)
    task.loss(model(inputs), targets).sum().backward()
    found = ghost.take()
    for weight, norms2 in expected.items():
        torch.testing.assert_close(found[weight], norms2, rtol=1e-9, atol=1e-14)


def test_gradients_stay_as_they_are_and_no_hook_is_left() -> None:
    torch.manual_seed(0)
    model = CNN(channels=1, size=8, widths=(2,)).double()
    inputs = draw(BATCH, 1, 8, 8)
    model(inputs).square().sum().backward()
    plain = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    ghost = GhostNorms(model)
    model(inputs).square().sum().backward()
    ghost.take()
    ghost.close()
    for weight, grad in zip(model.parameters(), plain, strict=True):
        assert torch.equal(weight.grad, grad)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(weight._backward_hooks for weight in model.parameters())


def test_several_backward_passes_add_their_examples() -> None:
    torch.manual_seed(0)
    model, inputs = MLP((6, 4, 2)).double(), draw(BATCH, 6)
    ghost = GhostNorms(model)
    model(inputs).square().sum().backward()
    model(inputs[:2]).square().sum().backward()
    found = ghost.take()
    assert [len(norms2) for norms2 in found.values()] == [BATCH + 2] * 4
    torch.testing.assert_close(found["0.weight"][:2], found["0.weight"][BATCH:])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "batch norm": (lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), "1 is a BatchNorm1d in train mode"),
    "sparse": (lambda: nn.Embedding(4, 2, sparse=True), "with sparse gradients"),
    "sequence first": (lambda: nn.MultiheadAttention(4, 2), "batch_first=False"),
    "recurrent": (lambda: nn.LSTM(4, 3, batch_first=True), "LSTM is an LSTM, whose examples cannot be told apart"),
    "dropout in attention": (
        lambda: nn.MultiheadAttention(4, 2, dropout=0.1, batch_first=True),
        "weights of its own and dropout",
    ),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_mixes_examples_is_refused_by_name(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GhostNorms(make())


def test_a_weight_that_is_also_used_outside_its_layer_is_found() -> None:
    torch.manual_seed(0)
    model = Tied(by_function=True)
    ghost = GhostNorms(model)
    words = torch.randint(7, (BATCH, 4), generator=torch.Generator().manual_seed(0))
    model(words).square().sum().backward()
    with pytest.raises(UserError, match=r"embedding\.weight is not the sum"):
        ghost.take()


@pytest.mark.parametrize("examples", [BATCH + 2, [BATCH, 2]], ids=["in all", "of each pass"])
def test_the_number_of_examples_that_the_caller_knows_is_compared(examples: int | list[int]) -> None:
    torch.manual_seed(0)
    model, inputs = MLP((6, 4, 2)).double(), draw(BATCH, 6)
    ghost = GhostNorms(model)
    for rows in (inputs, inputs[:2]):
        model(rows).square().sum().backward()
    assert len(ghost.take(examples)["0.weight"]) == BATCH + 2
    for rows in (inputs, inputs[:2]):
        model(rows).square().sum().backward()
    with pytest.raises(UserError, match=r"had 5 \+ 2 examples, but the batch has 6"):
        ghost.take(BATCH + 1)
