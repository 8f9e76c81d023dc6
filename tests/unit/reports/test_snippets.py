"""The code that an advice hands out runs, and does what the advice and its recipe say."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import sample_records as sample
from critbatch.advisor.result import recipe_code
from critbatch.recipes import plan_of
from critbatch.records.core import Advice, OptionValue, TimePoint
from critbatch.reports.snippets import snippets
from critbatch.reports.translator import Translator
from critbatch.reports.views.chapters import chapter
from tiny import blobs, tiny_task

INPUTS, LABELS = blobs(96)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.net(inputs)
        return logits if labels is None else {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def advised(
    recipe: str = "sgd", *, micro: int | None = None, epochs: float | None = None, **options: OptionValue
) -> Advice:
    plain = sample.advice()
    best: TimePoint = replace(plain.points[1], batch_size=32)
    code = recipe_code(recipe, options)
    return replace(
        plain,
        recipe=recipe,
        recipe_code=code,
        best=best,
        micro_batch_size=micro,
        options=options,
        planned_epochs=epochs,
    )


def code(advice: Advice, name: str) -> str:
    return next(snippet.code for snippet in snippets(advice) if snippet.name == name)


def run(text: str, **given: Any) -> dict[str, Any]:
    names = {"model": Model(), "data": TensorDataset(INPUTS, LABELS), "loss": functional.cross_entropy, **given}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, "snippet", "exec", dont_inherit=True), names)
    return names


CASES = {
    "sgd": advised(),
    "sgd in micro-batches": advised(micro=8),
    "sgd, nesterov and decay of weights": advised(nesterov=True, weight_decay=1e-4, drop_last=True),
    "sgd, cosine": advised(epochs=3.0, lr_decay="cosine", warmup_epochs=1.0, micro=16),
    "adam": advised("adam", betas=(0.9, 0.95)),
    "adam, spared vectors": advised("adam", weight_decay=0.1, decay_vectors=False),
    "lamb2020": advised("lamb2020", epochs=4.0),
    "goyal2017": advised("goyal2017", epochs=4.0, zero_gamma=False),
}


@pytest.mark.parametrize("advice", CASES.values(), ids=list(CASES))
def test_plain_torch_trains_with_the_recipe_s_optimizer_and_rate(advice: Advice) -> None:
    torch.manual_seed(0)
    names = run(code(advice, "torch"))
    check(advice, names["optimizer"])
    micro = advice.micro_batch_size or 32
    assert names["loader"].batch_size == micro
    if "scheduler" in names:
        assert names["scheduler"].last_epoch == 3  # of 96 examples in batches of 32
        assert names["scheduler"].epoch == 1.0
    assert len(code(advice, "torch").splitlines()) <= 18


def check(advice: Advice, optimizer: torch.optim.Optimizer) -> None:
    """Its settings are those of the recipe's own optimizer; the rate is checked where it is the first one."""
    assert advice.best is not None
    options = {name: value for name, value in advice.options.items() if name != "drop_last"}
    epochs = advice.planned_epochs or 9.0
    rate = float(f"{advice.best.learning_rate.value:.3g}")  # as the report writes it
    plan = plan_of(advice.recipe, batch_size=32, learning_rate=rate, epochs=epochs, **options)
    truth = plan.phases[0].optimizer(Model().parameters())
    assert type(optimizer).__name__ == type(truth).__name__
    assert len(optimizer.param_groups) == len(truth.param_groups)
    for group, true_group in zip(optimizer.param_groups, truth.param_groups, strict=True):
        other = {"params", "fused", "lr", "initial_lr", "foreach"}
        assert {name: group[name] for name in group if name not in other} == {
            name: true_group[name] for name in true_group if name not in other
        }
    assert optimizer.param_groups[0].get("initial_lr", rate) == rate


@pytest.mark.parametrize("advice", CASES.values(), ids=list(CASES))
def test_in_lightning_it_trains(advice: Advice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    monkeypatch.chdir(tmp_path)
    names = run(code(advice, "lightning"))

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        configure_optimizers = names["configure_optimizers"]

        def __init__(self) -> None:
            super().__init__()
            self.model = Model()

        def training_step(self, batch: Any, index: int) -> Tensor:
            return functional.cross_entropy(self.model(batch[0]), batch[1])

    trainer = names["trainer"]
    trainer.fit_loop.max_epochs = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Module(), names["loader"])
    assert trainer.global_step == 3
    check(advice, trainer.optimizers[0])


@pytest.mark.parametrize("advice", CASES.values(), ids=list(CASES))
def test_in_the_hugging_face_trainer_it_trains(advice: Advice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    rows = [{"inputs": row, "labels": label} for row, label in zip(INPUTS, LABELS, strict=True)]
    names = run(code(advice, "huggingface"), data=rows)
    trainer = names["trainer"]
    trainer.args.num_train_epochs, trainer.args.disable_tqdm = 1, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    assert trainer.state.global_step == 3
    check(advice, names["optimizer"])
    if advice.planned_epochs is None:
        assert advice.best is not None
        assert names["optimizer"].param_groups[0]["lr"] == pytest.approx(advice.best.learning_rate.value, rel=5e-3)


@pytest.mark.parametrize("options", [{"sam_rho": 0.05}, {"order": "sequential", "drop_last": True}])
def test_what_only_critbatch_can_do_is_its_own_call(options: dict[str, OptionValue]) -> None:
    (snippet,) = snippets(advised(**options, micro=16))
    assert snippet.name == "critbatch"
    names = run(snippet.code.replace("epochs=", "epochs=0.05 * "), task=tiny_task())
    plan = names["plan"]
    assert (plan.micro_batch_size, plan.batch_size) == (16, 32)
    assert all(getattr(plan, name) == value for name, value in options.items())
    assert names["run"].steps > 0


def test_several_devices_share_the_batch() -> None:
    advice = replace(advised(), devices=4, accumulation=2, micro_batch_size=4)
    assert "batch_size=4, sampler=torch.utils.data.DistributedSampler(data)" in code(advice, "torch")
    assert "devices=4, accumulate_grad_batches=2" in code(advice, "lightning")
    assert "per_device_train_batch_size=4" in code(advice, "huggingface")


def test_without_an_answer_there_is_no_code() -> None:
    assert snippets(sample.unanswered()) == ()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_shows_it(language: str) -> None:
    def shown(advice: Advice) -> list[str]:
        sections = {section.key: section for section in chapter(advice, Translator(language)).sections}
        blocks = sections["use"].blocks if "use" in sections else ()
        return [block.code for block in blocks if block.kind == "facts"]

    advice = sample.advice()
    assert shown(advice) == [snippet.code for snippet in snippets(advice)]
    assert shown(sample.unanswered()) == []


@pytest.mark.parametrize("name", CASES)
def test_advice_of_version_0_1_which_does_not_hold_the_code_gives_the_same(name: str) -> None:
    assert snippets(replace(CASES[name], recipe_code=None)) == snippets(CASES[name])
