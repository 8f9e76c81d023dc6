"""One process of `optimizers.py`: makes some steps each time a line asks for it, and answers with seconds a step."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

RATE = 1e-4  # The weights hardly move, so that all steps are alike.
STREAM = 2**27  # Elements: half a gigabyte, more than any cache.
STEPS = {"tiny": 50, "resnet-50": 3, "bert-base": 1}


def resnet_50() -> list[tuple[int, ...]]:
    """The 161 tensors of a ResNet-50 for ImageNet: 25.6 M elements."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            for convolution in ((width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)):
                shapes += [convolution, convolution[:1], convolution[:1]]
            if block == 0:
                shapes += [(4 * width, inputs, 1, 1), (4 * width,), (4 * width,)]
            inputs = 4 * width
    return [*shapes, (1000, 2048), (1000,)]


def bert_base() -> list[tuple[int, ...]]:
    """The 199 tensors of BERT-base: 109.5 M elements."""
    wide, hidden = 3072, 768
    attention = [(hidden, hidden), (hidden,)] * 4 + [(hidden,)] * 2
    feed_forward = [(wide, hidden), (wide,), (hidden, wide), (hidden,), (hidden,), (hidden,)]
    embeddings = [(30522, hidden), (512, hidden), (2, hidden), (hidden,), (hidden,)]
    return [*embeddings, *(attention + feed_forward) * 12, (hidden, hidden), (hidden,)]


def shapes_of(model: str) -> list[tuple[int, ...]]:
    return {"resnet-50": resnet_50, "bert-base": bert_base, "tiny": lambda: [(8, 8)] * 500}[model]()


def ours(name: str, weights: list[nn.Parameter]) -> Any:
    from critbatch.optim.lamb import LAMB
    from critbatch.optim.lars import LARS

    kind = LARS if "LARS" in name else LAMB
    return kind(weights, lr=RATE, compiled="compiled" in name, foreach=True if "foreach" in name else None)


def torchs(name: str, weights: list[nn.Parameter]) -> Any:
    if "SGD" in name:
        return torch.optim.SGD(weights, lr=RATE, momentum=0.9, weight_decay=5e-4, fused=True)
    return torch.optim.Adam(weights, lr=RATE, fused=True)


def timms(name: str, weights: list[nn.Parameter]) -> Any:
    # `import timm` needs torchvision, these two files of it do not.
    place = importlib.metadata.distribution("timm").locate_file("timm/optim")
    alone = ModuleType("timm_optim")
    alone.__path__ = [str(place)]
    sys.modules.setdefault("timm_optim", alone)
    foreach = "foreach" in name
    if "LARS" in name:
        kind = importlib.import_module("timm_optim.lars").Lars
        return kind(weights, lr=RATE, momentum=0.9, weight_decay=5e-4, foreach=foreach)
    kind = importlib.import_module("timm_optim.lamb").Lamb
    return kind(weights, lr=RATE, max_grad_norm=None, foreach=foreach)


def pytorch_optimizers(name: str, weights: list[nn.Parameter]) -> Any:
    import pytorch_optimizer

    if "LARS" in name:
        return pytorch_optimizer.LARS(weights, lr=RATE, momentum=0.9, weight_decay=5e-4)
    return pytorch_optimizer.Lamb(weights, lr=RATE, weight_decay=0.01, max_grad_norm=0.0)


class Jobs:
    """Weights and gradients of a model, and the optimizers that have been asked for."""

    def __init__(self, model: str) -> None:
        torch.manual_seed(0)
        self.steps = STEPS[model]
        self.weights = [nn.Parameter(0.02 * torch.randn(shape)) for shape in shapes_of(model)]
        for weight in self.weights:
            weight.grad = 0.01 * torch.randn_like(weight)
        self._optimizers: dict[str, Any] = {}
        self._stream: tuple[Tensor, Tensor] | None = None

    def seconds(self, name: str) -> float:
        if name not in self._optimizers:
            self._optimizers[name] = self._make(name)
            # The first allocates and compiles; the second may still.
            self._timed(self._optimizers[name].step, 2)
        return self._timed(self._optimizers[name].step, self.steps)

    def _make(self, name: str) -> Any:
        makers = {"critbatch": ours, "torch": torchs, "timm": timms, "pytorch_optimizer": pytorch_optimizers}
        return makers[name.split()[0]](name, self.weights)

    def stream(self) -> dict[str, float]:
        """Seconds for a word: of a copy, and of a sum in place, which writes where it has read, as optimizers do."""
        if self._stream is None:
            self._stream = torch.ones(STREAM), torch.ones(STREAM)
        one, other = self._stream
        return {
            "copy": self._timed(lambda: one.copy_(other), 1) / (2 * STREAM),
            "add": self._timed(lambda: one.add_(other), 1) / (3 * STREAM),
        }

    @staticmethod
    def _timed(job: Callable[[], Any], times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            job()
        return (time.perf_counter() - started) / times


def main() -> None:
    torch.set_num_threads(1)
    jobs = Jobs(sys.argv[1])
    for line in sys.stdin:
        name = line.strip()
        try:
            answer: dict[str, Any] = jobs.stream() if name == "stream" else {"seconds": jobs.seconds(name)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
