"""The code that uses an advice: in plain PyTorch, in Lightning, in the Hugging Face Trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from critbatch.records.core import Advice, Setting

OF_PLANS = ("order", "ghost_batch", "sam_rho", "norm_statistics", "zero_gamma")
"""Options that are more than an optimizer, a schedule and batches: only `critbatch.train` does what they say."""

# What the recipes say unless told otherwise, and what torch does.
RECIPES: dict[str, dict[str, Setting]] = {
    "sgd": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
}
TORCH: dict[str, dict[str, Setting]] = {
    "SGD": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "AdamW": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
}


@dataclass(frozen=True)
class Snippet:
    """A piece of Python.

    Args:
        name: "torch", "lightning", "huggingface", or "critbatch" where none of them can do what the recipe says.
        code: it takes `model`, `data` (a map-style data set) and `loss` (of outputs and targets) from where it is put;
            that of critbatch takes `task`.
    """

    name: str
    code: str


@dataclass(frozen=True)
class Use:
    """What of an advice goes into the code."""

    recipe: str
    batch_size: int
    learning_rate: float
    per_device: int  # examples in one forward pass on one device
    passes: int  # of a step, on each device
    devices: int
    epochs: float | None  # that its schedule is made for; None where the rate is constant from the first step on
    made_for: float  # epochs that a plan of it is made for
    options: Mapping[str, Setting]

    @classmethod
    def of(cls, advice: Advice) -> Use:
        assert advice.best is not None
        size, devices, micro = advice.best.batch_size, advice.devices, advice.micro_batch_size
        passes = max(advice.accumulation, math.ceil(size / (devices * micro)) if micro else 1)
        ran = max((run.epochs for run in advice.runs), default=1.0)
        epochs = advice.planned_epochs or math.ceil(ran)
        options = dict(advice.options)
        constant = (
            advice.recipe in RECIPES
            and options.pop("lr_decay", "constant") == "constant"
            and not options.get("warmup_epochs")
        )
        plain = constant and (options.get("decay_vectors", True) or not options.get("weight_decay"))
        return cls(
            recipe=advice.recipe,
            batch_size=size,
            learning_rate=float(f"{advice.best.learning_rate.value:.3g}"),
            per_device=math.ceil(size / (devices * passes)),
            passes=passes,
            devices=devices,
            epochs=None if plain else epochs,
            made_for=epochs,
            options=advice.options,
        )

    @property
    def drops_last(self) -> bool:
        return bool(self.options.get("drop_last"))

    @property
    def of_plans(self) -> dict[str, Setting]:
        own = {"zero_gamma"} if self.recipe == "goyal2017" else set()
        return {name: value for name, value in self.options.items() if name in OF_PLANS and name not in own}

    @property
    def of_recipe(self) -> dict[str, Setting]:
        others = {*self.of_plans, "drop_last", "micro_batch_size"}
        return {name: value for name, value in self.options.items() if name not in others}

    @property
    def steps_per_epoch(self) -> str:
        return "len(loader)" if self.passes == 1 else f"-(-len(loader) // {self.passes})"


def snippets(advice: Advice) -> tuple[Snippet, ...]:
    """Code with the advice's batch size, learning rate, accumulation, and the recipe's optimizer and schedule.

    A recipe at a constant rate is torch's own optimizer; any other is made by `critbatch.recipes`, so that its
    schedule and its spared weights are those of the runs. Empty where there was no answer.
    """
    if not advice.answered or advice.best is None:
        return ()
    use = Use.of(advice)
    if use.of_plans:
        return (Snippet("critbatch", _train(use)),)
    return (
        Snippet("torch", _torch(use)),
        Snippet("lightning", _lightning(use)),
        Snippet("huggingface", _huggingface(use)),
    )


def _torch(use: Use) -> str:
    lines = ["import torch", *_plan(use), "", _loader(use), f"optimizer = {_optimizer(use, 'model')}"]
    if use.epochs is not None:
        lines.append(f"scheduler = {_scheduler(use.steps_per_epoch)}")
    after = ["optimizer.step()", "optimizer.zero_grad()", *(["scheduler.step()"] if use.epochs is not None else [])]
    if use.passes == 1:
        lines += ["for inputs, targets in loader:", "    loss(model(inputs), targets).backward()"]
        lines += [f"    {line}" for line in after]
    else:
        lines += [
            "for number, (inputs, targets) in enumerate(loader, 1):",
            f"    (loss(model(inputs), targets) / {use.passes}).backward()",
            f"    if number % {use.passes} == 0 or number == len(loader):",
            *(f"        {line}" for line in after),
        ]
    return "\n".join(lines)


def _lightning(use: Use) -> str:
    method = ["def configure_optimizers(self):  # of your LightningModule"]
    if use.epochs is None:
        method.append(f"    return {_optimizer(use, 'self')}")
    else:
        method += [
            f"    optimizer = {_optimizer(use, 'self')}",
            f"    scheduler = {_scheduler(use.steps_per_epoch)}",
            '    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}',
        ]
    devices = f"devices={use.devices}, " if use.devices > 1 else ""
    trainer = f"trainer = lightning.Trainer({devices}accumulate_grad_batches={use.passes})"
    head = ["import torch", "import lightning.pytorch as lightning", *_plan(use)]
    return "\n".join([*head, "", *method, "", _loader(use), trainer])


def _huggingface(use: Use) -> str:
    given = [
        f"per_device_train_batch_size={use.per_device}",
        f"gradient_accumulation_steps={use.passes}",
        *(["dataloader_drop_last=True"] if use.drops_last else []),
        "max_grad_norm=0.0",  # the Trainer clips unless told otherwise
    ]
    lines = ["import torch", "from transformers import Trainer, TrainingArguments", *_plan(use), ""]
    lines.append(f"optimizer = {_optimizer(use, 'model')}")
    constant = "torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)"
    schedule = constant if use.epochs is None else _scheduler(f"-(-len(data) // {use.batch_size})")
    lines += [
        f"scheduler = {schedule}",
        "arguments = TrainingArguments(",
        *(f"    {setting}," for setting in given),
        ")",
        "trainer = Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, scheduler))",
    ]
    return "\n".join(lines)


def _train(use: Use) -> str:
    special = {**use.of_plans, **({"drop_last": True} if use.drops_last else {})}
    given = _arguments({"micro_batch_size": use.per_device, **special})
    if "order" in special:
        given = given.replace(f"order={special['order']!r}", f"order=critbatch.Order({special['order']!r})")
    lines = [
        "from dataclasses import replace",
        "",
        "import critbatch",
        "",
        f"plan = {_plan_of(use)}",
        f"plan = replace(plan, {given})",
        "run = critbatch.train(task, plan)",
    ]
    return "\n".join(lines)


def _plan(use: Use) -> list[str]:
    """The recipe as data, where torch alone has no words for it."""
    if use.epochs is None:
        return []
    return ["", "import critbatch", "", f"plan = {_plan_of(use)}"]


def _plan_of(use: Use) -> str:
    given = {"batch_size": use.batch_size, "learning_rate": use.learning_rate, "epochs": use.made_for, **use.of_recipe}
    return f'critbatch.recipes.plan_of("{use.recipe}", {_arguments(given)})'


def _loader(use: Use) -> str:
    drop = ", drop_last=True" if use.drops_last else ""
    order = "shuffle=True" if use.devices == 1 else "sampler=torch.utils.data.DistributedSampler(data)"
    return f"loader = torch.utils.data.DataLoader(data, batch_size={use.per_device}, {order}{drop})"


def _optimizer(use: Use, owner: str) -> str:
    if use.epochs is not None:
        return f"plan.phases[0].optimizer({owner}.parameters())"
    kind = {"sgd": "SGD", "adam": "AdamW"}[use.recipe]
    settings = {name: use.options.get(name, value) for name, value in RECIPES[use.recipe].items()}
    kept = {name: value for name, value in settings.items() if value != TORCH[kind][name]}
    return f"torch.optim.{kind}({owner}.parameters(), {_arguments({'lr': use.learning_rate, **kept})})"


def _scheduler(steps_per_epoch: str) -> str:
    rate = "plan.phases[0].learning_rate"
    return f"critbatch.EpochScheduler(optimizer, {rate}, steps_per_epoch={steps_per_epoch})"


def _arguments(given: Mapping[str, Setting]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
