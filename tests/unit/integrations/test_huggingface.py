"""The callback in a Hugging Face Trainer tells what a monitor in a plain loop tells, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import processes
from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import Monitor
from tiny import blobs

pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")

from critbatch.integrations.huggingface import BatchSizeMonitor  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

INPUTS, LABELS = blobs(96)
ROWS = [{"inputs": row, "labels": label} for row, label in zip(INPUTS, LABELS, strict=True)]


class Model(nn.Module):
    """Its loss is among its outputs, as with models of the hub; `recomputed` by gradient checkpoints."""

    def __init__(self, *, recomputed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.recomputed = recomputed
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if self.recomputed:
            inputs = inputs.clone().requires_grad_()
            logits = checkpoint(self.net, inputs, use_reentrant=True)
        else:
            logits = self.net(inputs)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def trained(
    folder: Path,
    *callbacks: Any,
    resume: bool = False,
    model: Model | None = None,
    collate: Any = None,
    **settings: Any,
) -> tuple[Model, Any]:
    given = {
        "max_grad_norm": 0.0,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 8,
        "save_strategy": "no",
        **settings,
    }
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        lr_scheduler_type="constant",
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        **given,
    )
    model = model or Model()
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=ROWS,
        optimizer_cls_and_kwargs=(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        callbacks=list(callbacks),
        data_collator=collate,
    )
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(ROWS)  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


def plain_loop(*, accumulation: int = 1, epochs: int = 2) -> tuple[Model, Monitor]:
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = Monitor(model, by="micro_batches" if accumulation > 1 else "examples")
    for _ in range(epochs):
        for index in range(12):
            rows = slice(8 * index, 8 * index + 8)
            (model(INPUTS[rows], LABELS[rows])["loss"] / accumulation).backward()
            if (index + 1) % accumulation == 0:
                monitor.update()
                optimizer.step()
                optimizer.zero_grad()
    return model, monitor


@pytest.mark.parametrize("accumulation", [1, 3])
def test_it_tells_what_a_monitor_tells_in_a_plain_loop(tmp_path: Path, accumulation: int) -> None:
    callback = BatchSizeMonitor(language=None)
    trained_model, _ = trained(tmp_path, callback, gradient_accumulation_steps=accumulation)
    model, monitor = plain_loop(accumulation=accumulation)
    assert all(map(torch.equal, trained_model.parameters(), model.parameters()))
    assert callback.noise_scale() == monitor.noise_scale()
    advice = callback.advice((16,))
    assert (advice.batch_size, advice.optimizer, advice.learning_rate) == (8 * accumulation, "sgd", 0.1)


@pytest.mark.parametrize("accumulation", [1, 3])
def test_it_sees_gradients_before_they_are_clipped(tmp_path: Path, accumulation: int) -> None:
    callback = BatchSizeMonitor(language=None)
    trained(tmp_path, callback, gradient_accumulation_steps=accumulation, max_grad_norm=0.01)
    _, monitor = plain_loop(accumulation=accumulation)
    # Of the first step: later ones are of other weights.
    assert torch.equal(callback._watch.state_dict()["pairs"][0], monitor.state_dict()["pairs"][0])


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_run_without_it_is_the_same_bit_for_bit(tmp_path: Path, accumulation: int) -> None:
    settings = {"gradient_accumulation_steps": accumulation, "max_grad_norm": 1.0}
    watched, _ = trained(tmp_path, BatchSizeMonitor(language=None), **settings)
    alone, _ = trained(tmp_path, **settings)
    assert all(map(torch.equal, watched.parameters(), alone.parameters()))


def test_gradient_checkpoints_do_not_end_a_pass_too_soon(tmp_path: Path) -> None:
    callback, usual = BatchSizeMonitor(language=None), BatchSizeMonitor(language=None)
    trained(tmp_path, callback, gradient_accumulation_steps=3, model=Model(recomputed=True))
    trained(tmp_path, usual, gradient_accumulation_steps=3)
    assert callback.noise_scale().noise_scale == pytest.approx(usual.noise_scale().noise_scale, rel=1e-4)


def test_it_logs_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    callback = BatchSizeMonitor(language="en")
    _, trainer = trained(tmp_path, callback)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["step"] for entry in logged] == [10, 20]
    assert all(entry["critical_batch_size"] > 0 for entry in logged)
    assert "the gradient noise scale is" in capsys.readouterr().out


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole, first, second = (BatchSizeMonitor(language=None) for _ in range(3))
    trained(tmp_path / "whole", whole)
    saving = {"save_strategy": "steps", "save_steps": 10}
    trained(tmp_path / "parts", first, num_train_epochs=1, **saving)
    trained(tmp_path / "parts", second, resume=True, **saving)
    assert second.advice().steps == 24
    assert second.noise_scale() == whole.noise_scale()


def test_what_it_cannot_watch_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="accumulate gradients"):
        trained(tmp_path, BatchSizeMonitor(by="micro_batches", strict=True))
    with pytest.raises(UserError, match="Training has not begun"):
        BatchSizeMonitor().advice()


class Reshaped(Model):
    """Its layers see another number of examples than there are."""

    def forward(self, inputs: Tensor, labels: Tensor, epoch: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.net(inputs.view(-1, 2, 4).repeat(1, 2, 1).flatten(0, 1)).view(len(inputs), 2, 3).mean(1)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("settings", [{}, {"gradient_accumulation_steps": 2}], ids=str)
def test_what_it_cannot_watch_does_not_end_the_training(
    tmp_path: Path, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    callback = BatchSizeMonitor(language=None, by="examples")
    watched, _ = trained(tmp_path, callback, model=Reshaped(), **settings)
    alone, _ = trained(tmp_path, model=Reshaped(), **settings)
    assert all(map(torch.equal, watched.parameters(), alone.parameters()))
    assert callback.noise_scale().reason == "not_measurable"
    assert callback.advice().text().endswith("The log says why.")
    assert sum("examples" in record.message for record in caplog.records) == 1
    with pytest.raises(UserError, match="examples"):
        trained(tmp_path, BatchSizeMonitor(language=None, by="examples", strict=True), model=Reshaped(), **settings)


def test_the_trainer_s_batch_size_tells_which_tensors_hold_examples(tmp_path: Path) -> None:
    class Dated(Model):
        def forward(self, epoch: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(inputs, labels)["loss"][None]

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = {key: torch.stack([row[key] for row in rows]) for key in ("inputs", "labels")}
        return {"epoch": torch.zeros(2), **batch}

    callback, usual = BatchSizeMonitor(language=None), BatchSizeMonitor(language=None)
    settings = {"gradient_accumulation_steps": 3, "remove_unused_columns": False}
    trained(tmp_path, callback, model=Dated(), collate=collate, **settings)
    trained(tmp_path, usual, **settings)
    assert callback.noise_scale().noise_scale == pytest.approx(usual.noise_scale().noise_scale, rel=1e-5)
    assert callback.advice().batch_size == 24


WORKER = """
from torch.nn.parallel import DistributedDataParallel
os.environ["LOCAL_RANK"] = str(rank)
from unit.integrations.test_huggingface import INPUTS, LABELS, BatchSizeMonitor, Model, Monitor, trained
callback = BatchSizeMonitor(language=None)
trained(out / "trainer", callback, gradient_accumulation_steps=2, max_grad_norm=0.01, ddp_backend="gloo")
model = DistributedDataParallel(Model())
monitor = Monitor(model)
for index in range(2):
    begin = 16 * index + 8 * rank
    if index == 0:
        with model.no_sync():
            (model(INPUTS[begin : begin + 8], LABELS[begin : begin + 8])["loss"] / 2).backward()
    else:
        (model(INPUTS[begin : begin + 8], LABELS[begin : begin + 8])["loss"] / 2).backward()
monitor.update()
first = {"callback": callback._watch.state_dict()["pairs"][0], "monitor": monitor.state_dict()["pairs"][0]}
torch.save({**first, "by": callback.advice().by, "size": callback.advice().batch_size}, out / f"{rank}.pt")
"""


def test_in_two_processes_it_compares_their_gradients(tmp_path: Path) -> None:
    processes.run(WORKER, tmp_path)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert (found["by"], found["size"]) == ("processes", 32)
        torch.testing.assert_close(found["callback"], found["monitor"], rtol=1e-5, atol=1e-8)
