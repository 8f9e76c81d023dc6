"""The callback in a Lightning trainer tells what a monitor in a plain loop tells, and changes nothing."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import processes
from critbatch.errors import UserError
from critbatch.gradient_noise.monitor import Monitor
from tiny import blobs

lightning = pytest.importorskip("lightning.pytorch")

from critbatch.integrations.lightning import BatchSizeMonitor  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

INPUTS, LABELS = blobs(96)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def loader(batch_size: int = 8, collate: Any = None) -> DataLoader[Any]:
    return DataLoader(TensorDataset(INPUTS, LABELS), batch_size=batch_size, collate_fn=collate)


class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
    def __init__(self, *, manual: int = 0) -> None:
        super().__init__()
        self.net = network()
        self.automatic_optimization, self.manual = not manual, manual

    def training_step(self, batch: Any, index: int) -> Tensor:
        inputs, labels = batch
        loss = functional.cross_entropy(self.net(inputs), labels)
        if self.manual:
            self.manual_backward(loss / self.manual)
            if (index + 1) % self.manual == 0:
                optimizer = self.optimizers()
                optimizer.step()
                optimizer.zero_grad()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fitted(
    folder: Path,
    *callbacks: Any,
    module: Module | None = None,
    batch_size: int = 8,
    checkpoint: Path | None = None,
    collate: Any = None,
    **settings: Any,
) -> tuple[Module, Any]:
    module = module or Module()
    given = {"max_epochs": 2, "logger": False, "devices": 1, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=list(callbacks),
            **given,
        )
        trainer.fit(module, loader(batch_size, collate), ckpt_path=checkpoint)
    return module, trainer


def plain_loop(*, accumulation: int = 1, epochs: int = 2) -> tuple[nn.Module, Monitor]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    monitor = Monitor(model, by="micro_batches" if accumulation > 1 else "examples")
    for _ in range(epochs):
        for index, (inputs, labels) in enumerate(loader()):
            (functional.cross_entropy(model(inputs), labels) / accumulation).backward()
            if (index + 1) % accumulation == 0:
                monitor.update()
                optimizer.step()
                optimizer.zero_grad()
    return model, monitor


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_it_tells_what_a_monitor_tells_in_a_plain_loop(tmp_path: Path, accumulation: int, clip: float | None) -> None:
    callback = BatchSizeMonitor(language=None)
    module, _ = fitted(tmp_path, callback, accumulate_grad_batches=accumulation, gradient_clip_val=clip)
    model, monitor = plain_loop(accumulation=accumulation)
    if clip is None:
        assert callback.noise_scale() == monitor.noise_scale()
        assert all(map(torch.equal, module.net.parameters(), model.parameters()))
    else:
        # Its gradients are those before the clipping, of other weights from the second step on.
        first, other = callback._watch.state_dict()["pairs"][0], monitor.state_dict()["pairs"][0]
        assert torch.equal(first, other)
    advice = callback.advice((16,))
    assert (advice.batch_size, advice.optimizer, advice.learning_rate) == (8 * accumulation, "sgd", 0.1)
    assert advice.step_seconds is not None


@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_run_without_it_is_the_same_bit_for_bit(tmp_path: Path, accumulation: int) -> None:
    settings = {"accumulate_grad_batches": accumulation, "gradient_clip_val": 1.0}
    watched, _ = fitted(tmp_path, BatchSizeMonitor(language=None), **settings)
    alone, _ = fitted(tmp_path, **settings)
    assert all(map(torch.equal, watched.parameters(), alone.parameters()))


def test_examples_and_accumulation_go_together(tmp_path: Path) -> None:
    callback, all_at_once = BatchSizeMonitor(by="examples", language=None), BatchSizeMonitor(language=None)
    fitted(tmp_path, callback, accumulate_grad_batches=2)
    fitted(tmp_path, all_at_once, batch_size=16)
    told, other = callback.noise_scale(), all_at_once.noise_scale()
    assert told.noise_scale == pytest.approx(other.noise_scale, rel=1e-4)


@pytest.mark.parametrize("by", ["examples", "micro_batches"])
def test_in_manual_optimization_it_tells_the_same(tmp_path: Path, by: Any) -> None:
    callback, automatic = BatchSizeMonitor(by=by, language=None), BatchSizeMonitor(by=by, language=None)
    fitted(tmp_path, callback, module=Module(manual=3))
    fitted(tmp_path, automatic, accumulate_grad_batches=3)
    assert callback.noise_scale() == automatic.noise_scale()


def test_a_step_of_one_micro_batch_is_left_out(tmp_path: Path) -> None:
    callback = BatchSizeMonitor(language=None)
    fitted(tmp_path, callback, batch_size=16, accumulate_grad_batches=5)  # 6 batches: 5 and 1
    assert (callback.noise_scale().pairs, callback._watch.missed) == (2, 2)


def test_it_logs_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[dict[str, float], int]] = []

    class Logger(lightning.loggers.logger.DummyLogger):  # type: ignore[misc,name-defined]
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            seen.append((metrics, step or 0))

    callback = BatchSizeMonitor(every=10, language="zh")
    _, trainer = fitted(tmp_path, callback, logger=Logger())
    own = [(numbers, step) for numbers, step in seen if "critical_batch_size" in numbers]
    assert [step for _, step in own] == [10, 20]
    assert own[-1][0]["noise_scale"] > 0
    assert float(trainer.callback_metrics["critical_batch_size"]) == pytest.approx(own[-1][0]["critical_batch_size"])
    assert "梯度噪声尺度" in capsys.readouterr().out


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole, first, second = (BatchSizeMonitor(language=None) for _ in range(3))
    fitted(tmp_path, whole, max_epochs=2)
    _, trainer = fitted(tmp_path, first, max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.save_checkpoint(tmp_path / "half.ckpt")
    fitted(tmp_path, second, max_epochs=2, checkpoint=tmp_path / "half.ckpt")
    assert second.noise_scale() == whole.noise_scale()
    assert second.advice().steps == whole.advice().steps == 24


def test_what_it_cannot_watch_is_one_sentence(tmp_path: Path) -> None:
    class Two(Module):
        def __init__(self) -> None:
            super().__init__(manual=1)

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.net.parameters(), lr=0.1) for _ in range(2)]

    with pytest.raises(UserError, match="one optimizer, but this one has 2"):
        fitted(tmp_path, BatchSizeMonitor(strict=True), module=Two())
    with pytest.raises(UserError, match="accumulate gradients"):
        fitted(tmp_path, BatchSizeMonitor(by="micro_batches", strict=True))
    with pytest.raises(UserError, match="Training has not begun"):
        BatchSizeMonitor().advice()
    with pytest.raises(UserError, match="every=0"):
        BatchSizeMonitor(every=0)


@dataclasses.dataclass
class Graphs:
    inputs: Tensor
    labels: Tensor

    def to(self, *args: Any, **kwargs: Any) -> Graphs:
        return self


def as_graphs(rows: list[Any]) -> Any:
    return Graphs(*map(torch.stack, zip(*rows, strict=True)))


def with_an_epoch(rows: list[Any]) -> Any:
    inputs, labels = map(torch.stack, zip(*rows, strict=True))
    return {"epoch": torch.zeros(2), "inputs": inputs, "labels": labels}


class Unpacking(Module):
    def training_step(self, batch: Any, index: int) -> Tensor:
        parts = batch if isinstance(batch, dict) else vars(batch)
        return super().training_step((parts["inputs"], parts["labels"]), index)


@pytest.mark.parametrize("collate", [as_graphs, with_an_epoch])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_batches_of_any_kind_tell_the_same(tmp_path: Path, collate: Any, accumulation: int) -> None:
    usual, other = BatchSizeMonitor(language=None), BatchSizeMonitor(language=None)
    fitted(tmp_path, usual, accumulate_grad_batches=accumulation)
    fitted(tmp_path, other, module=Unpacking(), collate=collate, accumulate_grad_batches=accumulation)
    assert other.noise_scale() == usual.noise_scale()
    assert other.advice().batch_size == usual.advice().batch_size == 8 * accumulation


def test_what_it_cannot_watch_does_not_end_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Two(Module):
        def __init__(self) -> None:
            super().__init__(manual=1)

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.net.parameters(), lr=0.1) for _ in range(2)]

        def optimizers(self, *args: Any, **kwargs: Any) -> Any:
            return super().optimizers(*args, **kwargs)[0]

    callback = BatchSizeMonitor(language=None)
    fitted(tmp_path, callback, module=Two())
    with pytest.raises(UserError, match=r"Nothing was measured.*one optimizer, but this one has 2"):
        callback.noise_scale()
    assert sum("one optimizer" in record.message for record in caplog.records) == 1


def test_weights_that_another_callback_unfreezes_are_seen(tmp_path: Path) -> None:
    class Backbone(Module):
        @property
        def backbone(self) -> nn.Module:
            return self.net[0]  # type: ignore[index,no-any-return]

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD([weight for weight in self.parameters() if weight.requires_grad], lr=0.1)

    for accumulation in (1, 2):
        callback = BatchSizeMonitor(language=None)
        unfreeze = lightning.callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=1, verbose=False)
        fitted(tmp_path, unfreeze, callback, module=Backbone(), accumulate_grad_batches=accumulation, max_epochs=2)
        assert callback._watch.monitor is not None
        assert [layer.name for layer in callback._watch.monitor.layers()] == ["net.0", "net.2"]
        assert callback.noise_scale().pairs == 12 // accumulation


WORKER = """
from torch.nn.parallel import DistributedDataParallel
os.environ.update(LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2", GROUP_RANK="0", TORCHELASTIC_RUN_ID="none")
from torch.utils.data import DistributedSampler
from unit.integrations.test_lightning import INPUTS, LABELS, BatchSizeMonitor, Monitor, fitted, functional, network

callback = BatchSizeMonitor(language=None)
fitted(out, callback, devices=2, strategy="ddp", accumulate_grad_batches=2, gradient_clip_val=0.01, max_epochs=1)
model = DistributedDataParallel(network())
monitor = Monitor(model)
order = torch.tensor(list(DistributedSampler(INPUTS, shuffle=True, seed=0)))  # as Lightning has it
for index in range(2):
    rows = order[8 * index : 8 * index + 8]
    inputs, labels = INPUTS[rows], LABELS[rows]
    model.require_backward_grad_sync = index == 1
    (functional.cross_entropy(model(inputs), labels) / 2).backward()
monitor.update()
pairs = {"callback": callback._watch.state_dict()["pairs"][0], "monitor": monitor.state_dict()["pairs"][0]}
torch.save({**pairs, "by": callback.advice().by, "size": callback.advice().batch_size}, out / f"{rank}.pt")
"""


def test_in_two_processes_it_compares_their_gradients(tmp_path: Path) -> None:
    processes.run(WORKER, tmp_path)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert (found["by"], found["size"]) == ("processes", 32)
        torch.testing.assert_close(found["callback"], found["monitor"], rtol=1e-5, atol=1e-8)
