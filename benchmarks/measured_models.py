"""The models and data that `measure.py` and its peers measure: the same weights in every process. Torch alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Attention from linear layers and matrix products, which every peer can take apart, and two linear layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, length, width = tokens.shape
        joint = self.joint(self.first(tokens)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = joint[0] @ joint[1].mT / (width // self.heads) ** 0.5
        mixed = scores.softmax(-1) @ joint[2]
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return tokens + self.narrow(torch.relu(self.wide(self.second(tokens))))


class Transformer(nn.Module):
    """(batch, tokens) to logits of a class for each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(65, 64)
        self.blocks = nn.Sequential(Block(64, 4), Block(64, 4))
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(tokens))).mean(1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def cnn() -> nn.Module:
    layers: list[nn.Module] = []
    for narrow, wide in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10))


def small_cnn() -> nn.Module:
    """For curvature: smooth, so that second derivatives say something."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )


SHAPES = {"mlp": (784,), "cnn": (3, 32, 32), "transformer": (64,), "small_cnn": (1, 16, 16)}
MAKERS = {"mlp": mlp, "cnn": cnn, "transformer": Transformer, "small_cnn": small_cnn}


def model_and_data(name: str, examples: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The model, and inputs that have something to do with their labels."""
    torch.manual_seed(0)
    model = MAKERS[name]()
    if name == "transformer":
        inputs = torch.randint(65, (examples, *SHAPES[name]))
        return model, inputs, inputs[:, 0] % 10
    labels = torch.randint(10, (examples,))
    centres = torch.randn(10, *SHAPES[name])
    return model, centres[labels] + torch.randn(examples, *SHAPES[name]), labels


def trained(name: str, examples: int, *, steps: int = 60) -> tuple[nn.Module, Tensor, Tensor]:
    """A model after some full-batch steps, where the Hessian has a clear largest eigenvalue."""
    model, inputs, labels = model_and_data(name, examples)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model, inputs, labels
