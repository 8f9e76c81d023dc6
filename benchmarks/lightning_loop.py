"""The training of `loops.py` in Lightning, with the Python of another environment. `overhead.py` starts it.

For each line on standard input, a number of steps, it takes so many and prints the seconds as a line of JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(self.net(inputs), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class OnRequest(lightning.Callback):
    """Stops the clock and waits for the next request where the last one is done."""

    def __init__(self) -> None:
        self.left, self.started = 0, 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._wait(trainer)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            print(json.dumps({"seconds": time.perf_counter() - self.started}), flush=True)
            self._wait(trainer)

    def _wait(self, trainer: lightning.Trainer) -> None:
        line = sys.stdin.readline()
        if not line:
            trainer.should_stop = True
            return
        self.left, self.started = int(line), time.perf_counter()


def main(batch_size: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs = torch.randn(60_000, 784).div_(28)
    labels = (inputs @ torch.randn(784, 10)).argmax(1)
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=batch_size, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[OnRequest()],
    )
    print(json.dumps({"lightning": lightning.__version__}), flush=True)
    trainer.fit(Module(), loader)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main(int(sys.argv[1]), int(sys.argv[2]))
