"""Norms of examples' gradients without those gradients, against those gradients."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from critbatch.errors import UserError
from critbatch.gradient_noise import layer_rules as factors
from critbatch.gradient_noise.ghost_norms import GhostNorms
from critbatch.gradient_noise.monitor import Monitor
from critbatch.gradient_noise.noise_meter import ExampleNorms
from critbatch.tasks.models import CNN, GPT, MLP
from reference.per_example import per_example_norms2
from tiny import tiny_task

BATCH = 5


def one_by_one(model: nn.Module, call: Callable[[slice], Tensor], batch: int = BATCH) -> dict[str, Tensor]:
    """Each example's squared gradient norms, by a backward pass of its own."""
    rows = []
    for i in range(batch):
        model.zero_grad()
        call(slice(i, i + 1)).backward()
        rows.append(
            {
                name: weight.grad.abs().square().sum()
                for name, weight in model.named_parameters()
                if weight.requires_grad
            }
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


class OnlyOutputs(nn.Module):
    """The first output of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs)[0]
        return outputs


class Scaled(nn.Module):
    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor] = torch.clone) -> None:
        super().__init__()
        self.scale, self.function = nn.Parameter(torch.rand(shape) + 0.5), function

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.sin(inputs * self.function(self.scale))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4, dtype=torch.complex128)

    def double(self) -> Complex:
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(torch.complex(inputs, inputs.roll(1, 1))).abs()


class Matrix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.matrix


class Doubled(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * F.linear(inputs, self.weight, self.bias)


class Attention(nn.Module):
    def __init__(self, *, masked: bool = False, batch_first: bool = True) -> None:
        super().__init__()
        self.layer, self.masked, self.batch_first = (
            nn.MultiheadAttention(8, 2, batch_first=batch_first),
            masked,
            batch_first,
        )

    def forward(self, inputs: Tensor) -> Tensor:
        ready = inputs if self.batch_first else inputs.transpose(0, 1)
        mask = torch.ones(inputs.shape[1], inputs.shape[1]).triu(1).bool() if self.masked else None
        outputs: Tensor = self.layer(ready, ready, ready, attn_mask=mask)[0]
        return outputs if self.batch_first else outputs.transpose(0, 1)


class TimeFirst(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs.transpose(0, 1)).transpose(0, 1)
        return outputs


class Folded(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        return outputs


class Positions(nn.Module):
    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.table, self.layer = nn.Parameter(torch.randn(length, width)), nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(torch.tanh(inputs - self.table))


class LookedUp(nn.Module):
    """Positions as in GPT-2 (with a first axis of one) and nanoGPT (without)."""

    def __init__(self, length: int, width: int, *, axis: bool = False, layer: bool = False) -> None:
        super().__init__()
        self.table, self.layer, self.axis = nn.Embedding(length, width), nn.Linear(width, width), axis
        self.before = nn.Linear(width, width) if layer else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        places = torch.arange(inputs.shape[1])
        places = places[None] if self.axis else places
        return self.layer(torch.tanh(inputs + self.before(self.table(places))))


class FirstToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.layer = nn.Parameter(torch.randn(1, 1, 6)), nn.Linear(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(torch.cat([self.token.expand(len(inputs), -1, -1), inputs], 1).cumsum(1))


class Checkpointed(nn.Module):
    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.first, self.block, self.last = (
            nn.Linear(6, 6),
            nn.Sequential(Scaled((6,)), nn.Linear(6, 6)),
            nn.Linear(6, 2),
        )
        self.use_reentrant = use_reentrant

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        return self.last(checkpoint(self.block, hidden, use_reentrant=self.use_reentrant))


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
    "instance norm without a batch": (lambda: nn.InstanceNorm1d(3, affine=True), (BATCH, 3, 4)),
    "recurrent layer": (lambda: OnlyOutputs(nn.LSTM(4, 3, num_layers=2, batch_first=True)), (BATCH, 6, 4)),
    "recurrent layer in both directions": (
        lambda: OnlyOutputs(nn.GRU(4, 3, bidirectional=True, batch_first=True)),
        (BATCH, 6, 4),
    ),
    "recurrent layer as long as the batch": (lambda: OnlyOutputs(nn.GRU(4, 3, batch_first=True)), (BATCH, BATCH, 4)),
    "recurrent cell with two outputs, one of which is made of the other": (
        lambda: OnlyOutputs(nn.LSTMCell(4, 3)),
        (BATCH, 4),
    ),
    "weights of length and direction": (lambda: parametrizations.weight_norm(nn.Linear(6, 4)), (BATCH, 6)),
    "weights of length and direction, as many as examples": (
        lambda: parametrizations.weight_norm(nn.Linear(6, BATCH)),
        (BATCH, 6),
    ),
    "convolution of length and direction": (
        lambda: parametrizations.weight_norm(nn.Conv2d(2, 3, 2)),
        (BATCH, 2, 4, 4),
    ),
    "orthogonal weights": (lambda: parametrizations.orthogonal(nn.Linear(4, 4)), (BATCH, 4)),
    "weights over their largest singular value, at rest": (
        lambda: parametrizations.spectral_norm(nn.Linear(6, 4)).eval(),
        (BATCH, 6),
    ),
    "pruned weights": (lambda: prune.l1_unstructured(nn.Linear(6, 4), "weight", 0.5), (BATCH, 6)),
    "a scale without dimensions": (lambda: Scaled(()), (BATCH, 6)),
    "a scale of one number": (lambda: Scaled((1,)), (BATCH, 6)),
    "a scale of each feature": (lambda: Scaled((6,)), (BATCH, 3, 6)),
    "a function of a scale": (lambda: Scaled((6,), torch.exp), (BATCH, 3, 6)),
    "a function of a scale that cannot be followed": (lambda: Scaled((6,), torch.erf), (BATCH, 3, 6)),
    "complex weights": (lambda: Complex(), (BATCH, 6)),
    "a matrix of its own": (lambda: Matrix(), (BATCH, 3, 6)),
    "a layer that a subclass changed": (lambda: Doubled(6, 4), (BATCH, 3, 6)),
    "attention": (lambda: Attention(), (BATCH, 4, 8)),
    "attention with a mask of the whole batch's size": (lambda: Attention(masked=True), (BATCH, BATCH, 8)),
    "attention over time on the first axis": (lambda: Attention(masked=True, batch_first=False), (BATCH, 4, 8)),
    "time on the first axis within": (lambda: TimeFirst(nn.Linear(6, 4)), (BATCH, 3, 6)),
    "as much time as examples, on the first axis": (lambda: TimeFirst(nn.Linear(6, 4)), (BATCH, BATCH, 6)),
    "a recurrent layer with time on the first axis": (lambda: TimeFirst(OnlyOutputs(nn.GRU(6, 4))), (BATCH, 3, 6)),
    "normalization with time on the first axis": (lambda: TimeFirst(nn.LayerNorm(6)), (BATCH, BATCH, 6)),
    "a scale with time on the first axis": (lambda: TimeFirst(Scaled((6,))), (BATCH, BATCH, 6)),
    "places folded into the batch": (lambda: Folded(nn.Linear(6, 4)), (BATCH, 3, 6)),
    "images folded into the batch": (lambda: Folded(nn.Conv2d(2, 3, 2)), (BATCH, 3, 2, 4, 4)),
    "normalized images folded into the batch": (lambda: Folded(nn.GroupNorm(1, 2)), (BATCH, 3, 2, 4, 4)),
    "a kind without a rule folded into the batch": (lambda: Folded(nn.PReLU(3)), (BATCH, 4, 3)),
    "positions added": (lambda: Positions(4, 6), (BATCH, 4, 6)),
    "as many positions as examples": (lambda: Positions(BATCH, 6), (BATCH, BATCH, 6)),
    "positions looked up": (lambda: LookedUp(4, 6), (BATCH, 4, 6)),
    "as many looked up as examples": (lambda: LookedUp(BATCH, 6), (BATCH, BATCH, 6)),
    "positions with a first axis of one": (lambda: LookedUp(4, 6, axis=True), (BATCH, 4, 6)),
    "positions that go through a layer first": (lambda: LookedUp(4, 6, layer=True), (BATCH, 4, 6)),
    "a token of its own before the others": (lambda: FirstToken(), (BATCH, 3, 6)),
    "checkpointed": (lambda: Checkpointed(use_reentrant=False), (BATCH, 6)),
    "checkpointed by the old way": (lambda: Checkpointed(use_reentrant=True), (BATCH, 6)),
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


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")
@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_weights_that_a_hook_makes_of_others_are_counted(kind: str) -> None:
    torch.manual_seed(0)
    layer = getattr(nn.utils, kind)(nn.Linear(6, 4)).double()
    model = nn.Sequential(layer, nn.Tanh())
    for _ in range(200):  # so that an example passed alone has the same largest singular value
        model(draw(BATCH, 6))
    before = layer.weight
    agree(model, draw(BATCH, 6))
    torch.testing.assert_close(layer.weight, before)


@pytest.mark.parametrize("make", [parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectral_norm_in_train_mode_counts_and_moves_on_as_if_it_were_not_watched(
    make: Callable[[nn.Module], nn.Module],
) -> None:
    def trained(*, watched: bool) -> tuple[nn.Module, dict[str, Tensor]]:
        torch.manual_seed(0)
        model = nn.Sequential(make(nn.Linear(6, 4)), nn.Tanh()).double()
        ghost = GhostNorms(model) if watched else None
        losses = model(draw(BATCH, 6)).square().sum(1)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if ghost is not None:
            losses.sum().backward()
            return model, ghost.take(BATCH)
        rows = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
        names = [name for name, weight in model.named_parameters() if weight.requires_grad]
        return model, {name: torch.stack([row[i].square().sum() for row in rows]) for i, name in enumerate(names)}

    (watched, found), (plain, expected) = trained(watched=True), trained(watched=False)
    for name, norms2 in expected.items():
        torch.testing.assert_close(found[name], norms2, rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(watched.buffers(), plain.buffers(), strict=True):
        assert torch.equal(mine, theirs)


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
    monkeypatch.setattr("critbatch.gradient_noise.layer_calls.NUMBERS_AT_ONCE", slices)
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
    "sparse": (lambda: nn.Sequential(nn.Embedding(4, 2, sparse=True)), "0 is an Embedding with sparse gradients"),
    "by frequency": (
        lambda: nn.Sequential(nn.Embedding(4, 2, scale_grad_by_freq=True)),
        "0 is an Embedding with scale_grad_by_freq=True",
    ),
    "dropout in a recurrent layer": (
        lambda: nn.Sequential(nn.GRU(4, 2, num_layers=2, dropout=0.1)),
        r"0 \(a GRU\) has weights of its own and dropout",
    ),
    "compiled": (lambda: nn.Sequential(torch.compile(nn.Linear(4, 2))), "0 is compiled"),
    "several devices": (lambda: nn.DataParallel(nn.Linear(4, 2)), "DataParallel, which calls replicas"),
    "scripted": (lambda: torch.jit.script(nn.Linear(4, 2)), "of torch.jit"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script`", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_watched_is_refused_by_name(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(UserError, match=words):
        GhostNorms(make())


class MeanOverBatch(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs - inputs.mean(0, keepdim=True)


class BatchNormByFunction(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.batch_norm(inputs, None, None, training=True)


class OnlyLoss(nn.Module):
    """A model that makes its loss itself."""

    def __init__(self, *, mixes: bool) -> None:
        super().__init__()
        self.layer, self.mixes = nn.Linear(6, 4), mixes

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = torch.tanh(self.layer(inputs))
        return (outputs - outputs.mean(0) * self.mixes).square().sum(1).mean()


class Blocks(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"ff": nn.Linear(6, 4), "mix": inner})])
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        block = self.blocks[0]
        return self.head(torch.tanh(block["mix"](block["ff"](inputs))))


MIXING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "mean over the batch": (lambda: Blocks(MeanOverBatch()), r"mixes examples behind blocks\.0\.ff\.weight"),
    "batch norm by function": (lambda: Blocks(BatchNormByFunction()), r"cannot be told apart|mixes examples"),
    "a recurrent layer over the examples": (lambda: OnlyOutputs(nn.GRU(6, 3)), r"mixes examples behind layer"),
    "a loss of its own that mixes": (lambda: OnlyLoss(mixes=True), "mixes examples there"),
    "similarity of all examples": (lambda: Similarity(), "no axis of its outputs grows"),
}


class Similarity(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.layer(inputs)
        return outputs @ outputs.T


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("make", "words"), MIXING.values(), ids=list(MIXING))
def test_a_model_that_mixes_examples_is_found_by_passing_them_alone(
    make: Callable[[], nn.Module], words: str, dropout: float
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(dropout), make()).double()
    ghost = GhostNorms(model)
    for _ in range(2):  # training goes on
        model(draw(BATCH, 6)).square().sum().backward()
        with pytest.raises(UserError, match=words.replace("behind ", r"behind 1\.")):
            ghost.take()


def test_a_loss_that_the_model_makes_itself_gives_each_example_its_share() -> None:
    torch.manual_seed(0)
    model, inputs = OnlyLoss(mixes=False).double(), draw(BATCH, 6)
    expected = one_by_one(model, lambda rows: model(inputs[rows]) / BATCH)
    ghost = GhostNorms(model)
    model(inputs).backward()
    for name, norms2 in ghost.take(BATCH).items():
        torch.testing.assert_close(norms2, expected[name])


class Decoder(nn.Module):
    """Attention to other things than the inputs themselves, whose weights are cut into parts."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(6, 2, 8, dropout=0.3, batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, inputs: Tensor) -> Tensor:
        ready = inputs if self.batch_first else inputs.transpose(0, 1)
        outputs: Tensor = self.layer(ready, torch.sin(ready[:2] if not self.batch_first else ready[:, :2]))
        return outputs if self.batch_first else outputs.transpose(0, 1)


DROPPING: dict[str, Callable[[], nn.Module]] = {
    "positions and a scale": lambda: nn.Sequential(LookedUp(BATCH, 6), nn.Dropout(0.5), Scaled((6,)), nn.Linear(6, 2)),
    "a matrix of its own": lambda: nn.Sequential(nn.Dropout(0.5), Matrix(), nn.Dropout(0.5)),
    "attention": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, batch_first=True),
    "attention over time on the first axis": lambda: TimeFirst(nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3)),
    "attention to others": lambda: Decoder(batch_first=True),
    "attention to others over time on the first axis": lambda: Decoder(batch_first=False),
    "dropout by function": lambda: nn.Sequential(nn.Linear(6, 6), Dropped(), nn.Linear(6, 2)),
}


class Dropped(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        heads = inputs[:, None]
        attended = F.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.3)[:, 0]
        return F.dropout(attended, 0.5, self.training)


@pytest.mark.parametrize("length", [4, BATCH])
@pytest.mark.parametrize("make", DROPPING.values(), ids=list(DROPPING))
def test_dropout_is_that_of_the_step_and_random_numbers_are_as_without_watching(
    make: Callable[[], nn.Module], length: int
) -> None:
    model = nn.Sequential(nn.Linear(6, 6), make()).double()
    weights, names = list(model.parameters()), [name for name, _ in model.named_parameters()]
    torch.manual_seed(3)
    losses = model(draw(BATCH, length, 6)).sin().square().sum((1, 2))
    rows = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
    after = torch.get_rng_state()
    ghost = GhostNorms(model)
    torch.manual_seed(3)
    model(draw(BATCH, length, 6)).sin().square().sum().backward()
    assert torch.equal(torch.get_rng_state(), after)
    found = ghost.take(BATCH)
    assert ghost.unchecked == ""
    for i, name in enumerate(names):
        torch.testing.assert_close(found[name], torch.stack([row[i].square().sum() for row in rows]))


@pytest.mark.parametrize("pack", [list, dict, UserDict], ids=["list", "dict", "mapping of its own"])
def test_examples_are_counted_by_what_the_model_makes_of_them(pack: Any) -> None:
    """The first tensor has one row, and another as many as there are places: neither is the number of examples."""

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, batch: Any) -> Tensor:
            unit, shift, inputs = batch.values() if not isinstance(batch, list) else batch
            return self.layer(inputs * unit + shift[:, None])

    torch.manual_seed(0)
    model = Packed().double()
    tensors = {"unit": draw(1, 6), "shift": draw(3), "inputs": draw(BATCH, 3, 6)}

    def packed(rows: slice) -> Any:
        parts = {**tensors, "inputs": tensors["inputs"][rows]}
        return list(parts.values()) if pack is list else pack(parts)

    expected = one_by_one(model, lambda rows: model(packed(rows)).square().sum())
    ghost = GhostNorms(model)
    model(packed(slice(0, BATCH))).square().sum().backward()
    for name, norms2 in ghost.take(BATCH).items():
        torch.testing.assert_close(norms2, expected[name])


def test_a_step_that_calls_parts_of_the_model_counts_the_examples_of_each_part() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"first": nn.Linear(6, 4), "second": nn.Linear(4, 2)}).double()
    inputs = draw(BATCH, 6)

    def call(rows: slice) -> Tensor:
        return model["second"](torch.tanh(model["first"](inputs[rows]))).square().sum()

    expected = one_by_one(model, call)
    ghost = GhostNorms(model)
    call(slice(0, BATCH)).backward()
    for name, norms2 in ghost.take(BATCH).items():
        torch.testing.assert_close(norms2, expected[name])


def test_two_calls_of_the_model_in_one_step_share_their_examples() -> None:
    torch.manual_seed(0)
    model, inputs, others = MLP((6, 4, 2)).double(), draw(BATCH, 6), draw(BATCH, 6).flip(0)

    def call(rows: slice) -> Tensor:
        return (model(inputs[rows]) * model(others[rows])).sum()

    expected = one_by_one(model, call)
    ghost = GhostNorms(model)
    call(slice(0, BATCH)).backward()
    for name, norms2 in ghost.take(BATCH).items():
        torch.testing.assert_close(norms2, expected[name])


def test_other_lengths_and_sizes_later_are_counted_as_at_the_first_step() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(LookedUp(8, 6), Folded(nn.Linear(6, 4)), TimeFirst(nn.LayerNorm(4))).double()
    ghost = GhostNorms(model)
    for size, length in ((5, 4), (3, 8), (8, 8), (1, 3), (2, 1)):
        inputs = draw(size, length, 6)
        expected = one_by_one(model, lambda rows, inputs=inputs: model(inputs[rows]).square().sum(), size)
        ghost.discard()
        model(inputs).square().sum().backward()
        for name, norms2 in ghost.take(size).items():
            torch.testing.assert_close(norms2, expected[name], rtol=1e-9, atol=1e-12)


def test_two_losses_of_one_forward_pass_add_up() -> None:
    torch.manual_seed(0)
    model, inputs = MLP((6, 4, 2)).double(), draw(BATCH, 6)
    expected = one_by_one(model, lambda rows: model(inputs[rows]).square().sum() + model(inputs[rows]).sum())
    ghost = GhostNorms(model)
    outputs = model(inputs)
    outputs.square().sum().backward(retain_graph=True)
    outputs.sum().backward()
    for name, norms2 in ghost.take(BATCH).items():
        torch.testing.assert_close(norms2, expected[name])


def test_a_weight_that_is_also_used_outside_its_layer_is_found() -> None:
    torch.manual_seed(0)
    model = Tied(by_function=True)
    ghost = GhostNorms(model)
    words = torch.randint(7, (BATCH, 4), generator=torch.Generator().manual_seed(0))
    model(words).square().sum().backward()
    with pytest.raises(UserError, match=r"embedding\.weight is not the sum"):
        ghost.take()


def test_a_model_that_is_compiled_after_it_is_watched_is_refused_in_a_sentence() -> None:
    model = MLP((6, 4, 2))
    ghost = GhostNorms(model)
    F.linear(draw(BATCH, 6).float(), model.get_parameter("0.weight")).sum().backward()
    with pytest.raises(UserError, match="Gradients arrived, but no layer of the MLP was called"):
        ghost.take()


@pytest.mark.parametrize("where", ["_determine_layouts", "_follow", "_norms2", "_record"])
def test_what_goes_wrong_inside_never_ends_the_training_that_is_watched(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(GhostNorms, where, fails)
    model, inputs = MLP((6, 4, 2)).double(), draw(BATCH, 6)
    ghost = GhostNorms(model)
    for _ in range(2):
        model(inputs).square().sum().backward()
        with pytest.raises(
            UserError, match=r"(could not be measured|cannot be told apart) \(.*CUDA error: out of memory\)"
        ):
            ghost.take()


def test_examples_in_a_packed_sequence_are_refused_in_a_sentence() -> None:
    model = nn.GRU(6, 4)
    ghost = GhostNorms(model)
    outputs, _ = model(nn.utils.rnn.pack_padded_sequence(draw(4, BATCH, 6).float(), torch.full((BATCH,), 4)))
    outputs.data.sum().backward()
    with pytest.raises(UserError, match=r"cannot be told apart .* give tensors with the examples on the first axis"):
        ghost.take()


def test_norms_in_single_precision_are_right_to_five_digits_on_a_processor_without_wide_registers() -> None:
    code = (
        "import torch; from critbatch.gradient_noise.layer_rules import row_norms2;"
        "rows = torch.randn(2, 3_000_001, generator=torch.Generator().manual_seed(0)) + 3;"
        "exact = rows.double().square().sum(1);"
        "print(float(((row_norms2(rows).double() - exact) / exact).abs().max()))"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(told.stdout) < 1e-6


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


def test_other_watchers_do_not_notice_that_the_model_is_run_beside_its_training() -> None:
    torch.manual_seed(0)
    model, inputs = MLP((6, 4, 2)), draw(BATCH, 6).float()
    with Monitor(model, by="examples") as by_examples, Monitor(model, by="micro_batches") as by_micro_batches:
        for rows in (inputs, inputs.flip(0) * 2):
            model(rows).square().mean().backward()
        by_micro_batches.update()
        by_examples.update()
        assert (by_micro_batches.advice().batch_size, by_examples.advice().batch_size) == (2 * BATCH, 2 * BATCH)


def test_a_task_whose_model_mixes_examples_is_refused_before_it_is_trained() -> None:
    ExampleNorms(MLP((4, 9, 3)), tiny_task())
    with pytest.raises(UserError, match=r"mixes examples behind 0\.weight"):
        ExampleNorms(nn.Sequential(nn.Linear(4, 3), MeanOverBatch()), tiny_task())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("by", ["weights", "autocast"])
def test_half_precision_is_not_taken_for_a_mixing_of_examples(half: torch.dtype, by: str) -> None:
    torch.manual_seed(0)
    model = GPT(vocabulary=11, context=16, layers=2, width=32, heads=2)
    words = torch.randint(11, (8, 16), generator=torch.Generator().manual_seed(0))
    exact = GhostNorms(model)
    model(words).float().square().mean().backward()
    norms = exact.take(8)
    exact.close()
    if by == "weights":
        model = model.to(half)
    ghost = GhostNorms(model)
    with torch.autocast("cpu", dtype=half, enabled=by == "autocast"):
        loss = model(words).float().square().mean()
    loss.backward()
    found = ghost.take(8)
    assert ghost.unchecked == ""
    whole, whole_exact = (sum(each[name].double().sum() for name in each) for each in (found, norms))
    assert float(whole) == pytest.approx(float(whole_exact), rel=0.1)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs + torch.rand_like(inputs))


def test_a_model_that_draws_numbers_of_its_own_is_counted_and_said_not_to_be_compared() -> None:
    model = Noisy().double()
    weights = dict(model.named_parameters())
    torch.manual_seed(3)
    rows = [
        torch.autograd.grad(loss, list(weights.values()), retain_graph=True)
        for loss in model(draw(BATCH, 6)).square().sum(1)
    ]
    ghost = GhostNorms(model)
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match="Noisy draws random numbers other than dropout's"):
        model(draw(BATCH, 6)).square().sum().backward()
    found = ghost.take()
    for i, name in enumerate(weights):
        torch.testing.assert_close(found[name], torch.stack([row[i].square().sum() for row in rows]))


def test_a_weight_without_elements_has_norms_of_zero() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.empty = nn.Parameter(torch.zeros(0, 3))

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.layer(inputs)
            return outputs

    model = Model()
    norms = GhostNorms(model)
    model(torch.randn(5, 4)).square().mean().backward()
    taken = norms.take(5)
    assert taken["empty"].tolist() == [0.0] * 5 and bool((taken["layer.weight"] > 0).all())


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("watch", [GhostNorms, Monitor])
def test_activations_are_freed_with_the_step_without_the_garbage_collector(watch: Any, positions: bool) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.positions, self.last = nn.Linear(4, 8), nn.Embedding(5, 8), nn.Linear(8, 2)
            self.activations: list[weakref.ref[Tensor]] = []

        def forward(self, inputs: Tensor) -> Tensor:
            inner = self.first(inputs)
            if positions:
                inner = inner + self.positions(torch.arange(5))
            self.activations.append(weakref.ref(inner))
            outputs: Tensor = self.last(inner)
            return outputs

    model = Model()
    watcher = watch(model)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            model.zero_grad()
            model(torch.randn(6, 5, 4)).square().mean().backward()
            watcher.take() if watch is GhostNorms else watcher.update()
        assert not [one for one in model.activations[-3:] if one() is not None]
    finally:
        gc.enable()
