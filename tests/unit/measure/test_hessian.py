"""Curvature of models whose weights are tied, unused, frozen, empty, sparse, of no dimension or of several types."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import critbatch
from critbatch.errors import UserError
from critbatch.measure.empirical_risk import EmpiricalRisk
from critbatch.measure.escape import ModelEnsemble
from critbatch.measure.hessian import GaussNewtonProduct, HessianProduct
from critbatch.records.core import Quantity, Target
from critbatch.tasks.task import Task

WORDS, WIDTH = 6, 4

# Torch says so of every checkpoint without gradients, as in an evaluation.
pytestmark = pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")


class Words(nn.Module):
    """The next word from this one. `kind` says what is unusual about it."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.kind = kind
        self.table = nn.Embedding(WORDS, WIDTH, sparse=kind == "sparse layer")
        self.last = nn.Linear(WIDTH, WORDS, bias=False)
        if kind == "tied":
            self.last.weight = self.table.weight
        if kind == "unused":
            self.unused = nn.Linear(3, 3)
        if kind == "frozen":
            self.table.weight.requires_grad_(False)
        if kind == "empty":
            self.empty = nn.Parameter(torch.zeros(0, 3))
        if kind == "no dimension":
            self.factor = nn.Parameter(torch.tensor(1.3))
        if kind == "frozen complex":
            self.phase = nn.Parameter(torch.ones(WIDTH, dtype=torch.complex64) * 1j, requires_grad=False)

    def forward(self, words: Tensor) -> Tensor:
        if self.kind == "sparse function":
            hidden = nn.functional.embedding(words, self.table.weight, sparse=True)
        else:
            hidden = self.table(words)
        hidden = torch.tanh(hidden)
        if self.kind == "frozen complex":
            hidden = (hidden * self.phase).imag
        return self.last(hidden) * (self.factor if self.kind == "no dimension" else 1)


def task_of(model: Callable[[], nn.Module], inputs: Tensor, targets: Tensor) -> Task:
    data = (inputs, targets)
    target = Target(quantity=Quantity.VALIDATION_LOSS, value=0.1)
    return Task("made", model=model, train=data, validation=data, target=target)


def words(kind: str) -> Task:
    inputs = torch.randint(0, WORDS, (40,), generator=torch.Generator().manual_seed(0))
    return task_of(lambda: Words(kind), inputs, (inputs * 2 + 1) % WORDS)


def dense_hessian(model: nn.Module, task: Task) -> Tensor:
    """By torch's own function, of the whole data set at once, in float64."""
    weights = {name: weight.detach().double() for name, weight in model.named_parameters() if weight.requires_grad}
    fixed = {name: weight.detach() for name, weight in model.named_parameters() if not weight.requires_grad}
    fixed = {name: value.to(torch.promote_types(value.dtype, torch.float64)) for name, value in fixed.items()}
    inputs, targets = task.train.span(0, len(task.train))
    inputs = inputs.double() if inputs.is_floating_point() else inputs

    def mean_loss(flat: Tensor) -> Tensor:
        parts = flat.split([weight.numel() for weight in weights.values()])
        moved = {name: part.view_as(weight) for part, (name, weight) in zip(parts, weights.items(), strict=True)}
        outputs = torch.func.functional_call(model, {**fixed, **moved}, (inputs,))
        return nn.functional.cross_entropy(outputs, targets)

    flat = torch.cat([weight.flatten() for weight in weights.values()])
    return torch.autograd.functional.hessian(mean_loss, flat)


def rows(product: HessianProduct | GaussNewtonProduct, size: int) -> Tensor:
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)])


KINDS = ("", "tied", "unused", "frozen", "empty", "no dimension", "sparse layer", "sparse function", "frozen complex")


@pytest.mark.parametrize("keep_bytes", [0, 1 << 30])
@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_is_the_dense_one_whatever_the_weights(kind: str, keep_bytes: int) -> None:
    task = words(kind)
    model = task.new_model(0)
    surface = EmpiricalRisk(task, model, double=True, chunk=15)
    # The dense twin of a model with sparse embeddings has the same weights.
    twin = Words("" if kind.startswith("sparse") else kind)
    twin.load_state_dict(model.state_dict())
    truth = dense_hessian(twin, task)
    torch.testing.assert_close(
        rows(HessianProduct(surface, keep_bytes=keep_bytes), surface.size), truth, rtol=1e-9, atol=1e-11
    )
    assert critbatch.sharpness(task, model, subspace=3).solutions[0].values


@pytest.mark.parametrize("kind", KINDS)
def test_gauss_newton_is_symmetric_and_not_negative_whatever_the_weights(kind: str) -> None:
    task = words(kind)
    surface = EmpiricalRisk(task, task.new_model(0), double=True, chunk=15)
    matrix = rows(GaussNewtonProduct(surface), surface.size)
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-9, atol=1e-12)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-12 and matrix.any()


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant: bool | None = True) -> None:
        super().__init__()
        self.first, self.last, self.use_reentrant = nn.Linear(5, 4), nn.Linear(4, 3), use_reentrant
        self.middle = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        if self.use_reentrant is None:
            return self.last(self.middle(hidden))
        return self.last(checkpoint(self.middle, hidden, use_reentrant=self.use_reentrant))


def checkpointed(use_reentrant: bool | None) -> Task:
    inputs = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    return task_of(lambda: Checkpointed(use_reentrant), inputs, (inputs[:, 0] > 0).long())


@pytest.mark.parametrize(
    ("use_reentrant", "by", "exactness"), [(True, "differences", 1e-6), (False, "autograd", 1e-10)]
)
def test_checkpointed_activations_leave_the_hessian_as_it_is(use_reentrant: bool, by: str, exactness: float) -> None:
    task = checkpointed(use_reentrant)
    model = task.new_model(0)
    plain = Checkpointed(None)
    plain.load_state_dict(model.state_dict())
    truth = dense_hessian(plain, task)
    surface = EmpiricalRisk(task, model, double=True, chunk=15)
    product = HessianProduct(surface)
    assert product.by == by
    error = (rows(product, surface.size) - truth).norm() / truth.norm()
    assert float(error) < exactness
    record = critbatch.curvature(task, model, density=False, trace_products=surface.size)
    assert record.method == by and record.trace is not None
    assert record.trace.value == pytest.approx(float(truth.trace()), rel=1e-5)
    assert record.largest[0].value == pytest.approx(float(torch.linalg.eigvalsh(truth)[-1]), rel=1e-3)
    assert all(weight.grad is None for weight in model.parameters())


def test_checkpointed_activations_leave_sharpness_and_critical_points_as_they_are() -> None:
    model = checkpointed(True).new_model(0)
    sharp, points = [], []
    for mode in (True, None):
        task, own = checkpointed(mode), model_of(mode, model)
        sharp.append(critbatch.sharpness(task, own, subspace=4).solutions[0].values[0].value.value)
        points.append(critbatch.critical_point(task, own, batches=8))
    assert sharp[0] == pytest.approx(sharp[1], rel=1e-4)
    assert points[0].largest.value == pytest.approx(points[1].largest.value, rel=1e-3)
    assert points[0].standing is points[1].standing


def model_of(use_reentrant: bool | None, other: nn.Module) -> nn.Module:
    model = Checkpointed(use_reentrant)
    model.load_state_dict(other.state_dict())
    return model


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"matrix": "gauss_newton"}, r"use_reentrant=True.*\(use_reentrant=False has\).*use matrix='hessian'"),
        ({"by": "autograd"}, "use_reentrant=True.*use by='differences'"),
    ],
)
def test_what_checkpointed_activations_do_not_allow_is_one_sentence(settings: dict[str, str], words: str) -> None:
    task = checkpointed(True)
    with pytest.raises(UserError, match=words):
        critbatch.curvature(task, task.new_model(0), **settings)  # type: ignore[arg-type]


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.EmbeddingBag(WORDS, WIDTH, sparse=True), nn.Linear(WIDTH, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        return self.last(torch.tanh(self.table(words)))


def test_a_sparse_bag_of_words_has_its_hessian_by_differences() -> None:
    inputs = torch.randint(0, WORDS, (30, 3), generator=torch.Generator().manual_seed(0))
    task = task_of(Bag, inputs, inputs[:, 0])
    model = task.new_model(0)
    surface = EmpiricalRisk(task, model, double=True)
    product = HessianProduct(surface)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.last = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)

        def forward(self, words: Tensor) -> Tensor:
            return self.last(torch.tanh(self.table(words).mean(1)))

    plain = Plain()
    plain.load_state_dict(model.state_dict())
    truth = dense_hessian(plain, task)
    assert float((rows(product, surface.size) - truth).norm() / truth.norm()) < 1e-6
    with pytest.raises(UserError, match=r"has no second derivative .* use matrix='hessian'"):
        critbatch.curvature(task, model, matrix="gauss_newton")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sparse function"])
def test_models_that_are_moved_at_once_go_where_each_goes_alone(kind: str) -> None:
    task = words(kind)
    herd = ModelEnsemble(task, starts=2, seed=3, device=torch.device("cpu"))
    herd.step(0.5, task.examples, times=3)
    inputs, targets = task.train.span(0, task.examples)
    for n in range(2):
        alone = Words("" if kind.startswith("sparse") else kind)
        alone.load_state_dict(task.new_model(3 + n).state_dict())
        optimizer = torch.optim.SGD([weight for weight in alone.parameters() if weight.requires_grad], lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(alone(inputs), targets).backward()
            optimizer.step()
        moved = herd.model(n).state_dict()
        assert moved.keys() == alone.state_dict().keys()
        for name, weight in alone.state_dict().items():
            torch.testing.assert_close(moved[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: checkpointed(True), lambda: words("sparse function")])
def test_models_that_cannot_be_moved_at_once_are_one_sentence(make: Callable[[], Task]) -> None:
    task = make()
    with pytest.raises(UserError, match=r"Several models of task 'made' cannot be trained.*use a model without"):
        critbatch.escape(task, starts=2)


class Typed(nn.Module):
    """Its middle layer has a type of its own."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(5, 4), nn.Linear(4, 4, dtype=dtype), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.middle(torch.tanh(self.first(inputs)).to(self.middle.weight.dtype))
        return self.last(torch.tanh(hidden).to(self.last.weight.dtype))


def test_weights_of_several_types_are_moved_as_vectors_of_the_widest() -> None:
    inputs = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    task = task_of(lambda: Typed(torch.float64), inputs, (inputs[:, 0] > 0).long())
    model = task.new_model(0)
    surface = EmpiricalRisk(task, model)
    assert surface.weights.dtype is surface.dtype is torch.float64
    truth = dense_hessian(model.double(), task)
    record = critbatch.curvature(task, model, density=False)
    assert record.largest[0].value == pytest.approx(float(torch.linalg.eigvalsh(truth)[-1]), rel=2e-3)
    assert critbatch.sharpness(task, model, subspace=3).solutions[0].values[0].value.value > 0


class FixedType(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(inputs.float())


class ComplexWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.last = nn.Parameter(torch.randn(5, 5, dtype=torch.complex64)), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last((inputs.to(self.mix.dtype) @ self.mix).abs())


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (FixedType, {"double": True}, "cannot compute in float64.*use double=False"),
        (ComplexWeights, {}, "The weight mix is complex.*view_as_real.*or freeze it"),
    ],
)
def test_types_that_cannot_be_measured_are_one_sentence(
    model: Callable[[], nn.Module], settings: dict[str, bool], words: str
) -> None:
    inputs = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    task = task_of(model, inputs, (inputs[:, 0] > 0).long())
    for measure in (critbatch.curvature, critbatch.sharpness, critbatch.critical_point, critbatch.landscape):
        with pytest.raises(UserError, match=words):
            measure(task, task.new_model(0), **settings)  # type: ignore[arg-type]
