"""One process of `measure.py`: does a job each time a line asks for it, and answers with seconds and what it found."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from measured_models import model_and_data, trained

EXAMPLES, BATCH, PRODUCTS = 1000, 128, 60
Job = Callable[[], Any]


def plain(name: str) -> Job:
    """A forward and backward pass, and nothing else."""
    model, inputs, labels = model_and_data(name, BATCH)

    def job() -> float:
        model.zero_grad()
        loss = cross_entropy(model(inputs), labels, reduction="none")
        loss.sum().backward()
        return float(loss.detach().sum())

    return job


def ours_norms(name: str) -> Job:
    from critbatch.gradient_noise.ghost_norms import GhostNorms

    model, inputs, labels = model_and_data(name, BATCH)
    ghost = GhostNorms(model)

    def job() -> float:
        model.zero_grad()
        cross_entropy(model(inputs), labels, reduction="none").sum().backward()
        return float(torch.stack(list(ghost.take().values())).sum())

    return job


def vmap_norms(name: str) -> Job:
    model, inputs, labels = model_and_data(name, BATCH)
    weights = {key: weight.detach() for key, weight in model.named_parameters()}

    def loss(own: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return cross_entropy(torch.func.functional_call(model, own, (one[None],)), label[None])

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))

    def job() -> float:
        found = gradients(weights, inputs, labels)
        # The others leave the gradient of the batch behind too: it is what training needs.
        for key, weight in model.named_parameters():
            weight.grad = found[key].sum(0)
        return float(sum(grad.square().sum() for grad in found.values()))

    return job


def opacus_norms(name: str, *, ghost: bool) -> Job:
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping

    model, inputs, labels = model_and_data(name, BATCH)
    kind: Any = GradSampleModuleFastGradientClipping if ghost else GradSampleModule
    wrapped = kind(model, loss_reduction="sum")

    def job() -> float:
        wrapped.zero_grad()
        cross_entropy(wrapped(inputs), labels, reduction="none").sum().backward()
        if ghost:
            return float(wrapped.get_norm_sample().square().sum())
        return float(sum(weight.grad_sample.square().sum() for weight in wrapped.parameters()))

    return job


def backpack_norms(name: str) -> Job:
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    model, inputs, labels = model_and_data(name, BATCH)
    model, loss = extend(model), extend(nn.CrossEntropyLoss(reduction="sum"))

    def job() -> float:
        model.zero_grad()
        with backpack(BatchL2Grad()):
            loss(model(inputs), labels).backward()
        # A weight that it has no rule for has no norms: an error here, where BackPACK itself only warns.
        return float(sum(weight.batch_l2.sum() for weight in model.parameters()))

    return job


def accumulated(name: str, *, watched: bool) -> Job:
    """Two micro-batches, with and without a monitor."""
    model, inputs, labels = model_and_data(name, BATCH)
    monitor = None
    if watched:
        from critbatch.gradient_noise.monitor import Monitor

        monitor = Monitor(model, by="micro_batches")
    halves = list(zip(inputs.chunk(2), labels.chunk(2), strict=True))

    def job() -> float:
        model.zero_grad()
        for some, of_them in halves:
            (cross_entropy(model(some), of_them) / 2).backward()
        if monitor is not None:
            monitor.update()
        return 0.0

    return job


def in_processes(name: str, *, watched: bool) -> Job:
    """A step of DDP in two processes of one machine, each with a batch of its own."""
    from torch.nn.parallel import DistributedDataParallel

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    plain_model, inputs, labels = model_and_data(name, BATCH)
    model = DistributedDataParallel(plain_model)
    monitor = None
    if watched:
        from critbatch.gradient_noise.monitor import Monitor

        monitor = Monitor(model, by="processes")

    def job() -> float:
        model.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        if monitor is not None:
            monitor.update()
        return 0.0

    return job


def our_surface() -> Any:
    from critbatch.measure.empirical_risk import EmpiricalRisk
    from critbatch.records.core import Quantity, Target
    from critbatch.tasks.task import Task

    model, inputs, labels = trained("small_cnn", EXAMPLES)

    def fresh() -> nn.Module:
        return model_and_data("small_cnn", 1)[0].apply(lambda layer: getattr(layer, "reset_parameters", lambda: None)())

    target = Target(quantity=Quantity.VALIDATION_LOSS, value=0.0)
    calls = iter(range(10**9))

    def made() -> nn.Module:
        torch.manual_seed(next(calls))
        return fresh()

    task = Task("small-cnn", model=made, train=(inputs, labels), validation=(inputs, labels), target=target)
    return EmpiricalRisk(task, model, chunk=EXAMPLES)


def ours_top() -> Job:
    from critbatch.measure.hessian import HessianProduct
    from critbatch.measure.spectrum import extremes

    surface = our_surface()
    return lambda: extremes(HessianProduct(surface), surface.weights).largest[0].value


def ours_trace() -> Job:
    from critbatch.measure.hessian import HessianProduct
    from critbatch.measure.trace import hutch_plus_plus

    surface, seeds = our_surface(), itertools.count()
    return lambda: hutch_plus_plus(HessianProduct(surface), surface.weights, products=PRODUCTS, seed=next(seeds)).value


def truth_trace() -> Job:
    """The trace, by one product for each weight."""
    from critbatch.measure.hessian import HessianProduct
    from critbatch.measure.trace import hutch_plus_plus

    surface = our_surface()
    return lambda: hutch_plus_plus(HessianProduct(surface), surface.weights, products=surface.size).value


def truth_top() -> Job:
    from critbatch.measure.hessian import HessianProduct
    from critbatch.measure.spectrum import extremes

    surface = our_surface()
    return lambda: extremes(HessianProduct(surface), surface.weights, tolerance=1e-7).largest[0].value


def pyhessian(what: str) -> Job:
    from pyhessian import hessian

    model, inputs, labels = trained("small_cnn", EXAMPLES)

    def job() -> float:
        computer = hessian(model, nn.CrossEntropyLoss(), data=(inputs, labels), cuda=False)
        if what == "top":
            return float(computer.eigenvalues(top_n=1)[0][0])
        # Its own stopping rule ends after a few probes, at an error that it does not know.
        found = computer.trace(maxIter=PRODUCTS, tol=0)
        return float(sum(found) / len(found))

    return job


def curvlinops(what: str) -> Job:
    from curvlinops import HessianLinearOperator, hutchpp_trace
    from scipy.sparse.linalg import eigsh

    model, inputs, labels = trained("small_cnn", EXAMPLES)

    def job() -> float:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        operator = HessianLinearOperator(
            model, nn.CrossEntropyLoss(), weights, [(inputs, labels)], check_deterministic=False
        )
        if what == "top":
            return float(eigsh(operator.to_scipy(), k=1, which="LA", tol=1e-3, return_eigenvectors=False)[0])
        return float(hutchpp_trace(operator, PRODUCTS))

    return job


def eigenthings(what: str) -> Job:
    from hessian_eigenthings import HessianOperator, hutch_plus_plus, lanczos

    model, inputs, labels = trained("small_cnn", EXAMPLES)

    def loss(own: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(own(batch[0]), batch[1])

    def job() -> float:
        operator = HessianOperator(model, [(inputs, labels)], loss)
        if what == "top":
            # By default it stops after two steps, far from the eigenvalue.
            return float(lanczos(operator, k=1, max_iter=20, tol=1e-3, which="LA").eigenvalues[0])
        return float(hutch_plus_plus(operator, num_matvecs=PRODUCTS).estimate)

    return job


def job_named(words: str) -> Job:
    """The job of a line such as "norms mlp opacus-ghost" or "top curvlinops"."""
    what, *rest = words.split()
    if what == "norms":
        name, by = rest
        makers: dict[str, Callable[[], Job]] = {
            "plain": lambda: plain(name),
            "critbatch": lambda: ours_norms(name),
            "vmap": lambda: vmap_norms(name),
            "opacus": lambda: opacus_norms(name, ghost=False),
            "opacus-ghost": lambda: opacus_norms(name, ghost=True),
            "backpack": lambda: backpack_norms(name),
        }
        return makers[by]()
    if what in ("accumulate", "processes"):
        name, by = rest
        return (accumulated if what == "accumulate" else in_processes)(name, watched=by == "critbatch")
    by = rest[0]
    if by == "critbatch":
        return ours_top() if what == "top" else ours_trace()
    if by == "truth":
        return truth_top() if what == "top" else truth_trace()
    return {"pyhessian": pyhessian, "curvlinops": curvlinops, "hessian-eigenthings": eigenthings}[by](what)


def times_of(words: str) -> int:
    """How often a job is done in one round."""
    what, *rest = words.split()
    return 1 if what in ("top", "trace") else 20 if rest[0] == "mlp" and rest[1] in ("plain", "critbatch") else 2


def main() -> None:
    torch.set_num_threads(1)
    jobs: dict[str, Job] = {}
    answers = sys.stdout
    sys.stdout = sys.stderr  # peers print
    for line in sys.stdin:
        words = line.strip()
        try:
            if words not in jobs:
                jobs[words] = job_named(words)
                jobs[words]()
            torch.manual_seed(time.perf_counter_ns() % 2**31)
            began, times = time.perf_counter(), 0
            # A short job many times, as in training; in two processes equally often.
            while times < times_of(words):
                value = jobs[words]()
                times += 1
            answer = {"seconds": (time.perf_counter() - began) / times, "value": value}
        except Exception as error:  # a peer may fail in any way: that is its result
            answer = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
