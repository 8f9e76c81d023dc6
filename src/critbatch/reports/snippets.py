"""Code snippets that use an advice: plain PyTorch, Lightning, and the Hugging Face Trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from critbatch.records.core import Advice, OptionValue, RecipeCode

# An advice of version 0.1 has no code of its recipe. Its plain recipes were these; each setting has its default in the
# recipe and in torch.
_VERSION_0_1: dict[str, tuple[str, dict[str, tuple[OptionValue, OptionValue]]]] = {
    "sgd": ("SGD", {"momentum": (0.9, 0.0), "nesterov": (False, False), "weight_decay": (0.0, 0.0)}),
    "adam": ("AdamW", {"betas": ((0.9, 0.999), (0.9, 0.999)), "eps": (1e-8, 1e-8), "weight_decay": (0.0, 0.01)}),
}
_TRAIN_OPTIONS_0_1 = ("order", "ghost_batch", "sam_rho", "norm_statistics", "zero_gamma")


def _code_of_version_0_1(advice: Advice) -> RecipeCode:
    options, own = advice.options, {"zero_gamma"} if advice.recipe == "goyal2017" else set()
    train_options = tuple(name for name in options if name in _TRAIN_OPTIONS_0_1 and name not in own)
    constant = options.get("lr_decay", "constant") == "constant" and not options.get("warmup_epochs")
    no_groups = options.get("decay_vectors", True) or not options.get("weight_decay")
    if advice.recipe not in _VERSION_0_1 or not constant or not no_groups:
        return RecipeCode(train_options=train_options)
    optimizer, defaults = _VERSION_0_1[advice.recipe]
    settings = {name: options.get(name, usual) for name, (usual, _) in defaults.items()}
    settings = {name: value for name, value in settings.items() if value != defaults[name][1]}
    return RecipeCode(torch_optimizer=optimizer, torch_settings=settings, train_options=train_options)


@dataclass(frozen=True)
class Snippet:
    """A piece of Python code.

    Args:
        name: "torch", "lightning", "huggingface", or "critbatch" if none of them can run the recipe.
        code: expects `model`, `data` (a map-style data set) and `loss` (of outputs and targets) to be defined; the
            code for critbatch expects `task`.
    """

    name: str
    code: str


@dataclass(frozen=True)
class Use:
    """The settings of an advice for the code."""

    recipe: str
    batch_size: int
    learning_rate: float
    per_device: int  # examples in one forward pass on one device
    passes: int  # examples per step on each device
    devices: int
    epochs: float | None  # length of the schedule; None if the learning rate is constant
    made_for: float  # length of the plan in epochs
    options: Mapping[str, OptionValue]
    code: RecipeCode

    @classmethod
    def of(cls, advice: Advice) -> Use:
        assert advice.best is not None
        size, devices, micro = advice.best.batch_size, advice.devices, advice.micro_batch_size
        passes = max(advice.accumulation, math.ceil(size / (devices * micro)) if micro else 1)
        ran = max((run.epochs for run in advice.runs), default=1.0)
        epochs = advice.planned_epochs or math.ceil(ran)
        code = advice.recipe_code or _code_of_version_0_1(advice)
        return cls(
            recipe=advice.recipe,
            batch_size=size,
            learning_rate=float(f"{advice.best.learning_rate.value:.3g}"),
            per_device=math.ceil(size / (devices * passes)),
            passes=passes,
            devices=devices,
            epochs=None if code.torch_optimizer else epochs,
            made_for=epochs,
            options=advice.options,
            code=code,
        )

    @property
    def drops_last(self) -> bool:
        return bool(self.options.get("drop_last"))

    @property
    def of_plans(self) -> dict[str, OptionValue]:
        return {name: value for name, value in self.options.items() if name in self.code.train_options}

    @property
    def of_recipe(self) -> dict[str, OptionValue]:
        others = {*self.of_plans, "drop_last", "micro_batch_size"}
        own = {name: value for name, value in self.options.items() if name not in others}
        return {name: value for name, value in own.items() if not name.startswith("model.")}  # the model is there

    @property
    def steps_per_epoch(self) -> str:
        return "len(loader)" if self.passes == 1 else f"-(-len(loader) // {self.passes})"


def snippets(advice: Advice) -> tuple[Snippet, ...]:
    """Code with the advice's batch size, learning rate, accumulation, and the recipe's optimizer and schedule.

    A recipe at a constant rate uses torch's own optimizer. Any other is built by `critbatch.recipes`, so that its
    schedule and its parameter groups equal those of the runs. Empty if there was no answer.
    """
    if not advice.answered or advice.best is None:
        return ()
    use = Use.of(advice)
    if use.of_plans or use.code.needs_train:
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
    arguments = [
        f"per_device_train_batch_size={use.per_device}",
        f"gradient_accumulation_steps={use.passes}",
        *(["dataloader_drop_last=True"] if use.drops_last else []),
        "max_grad_norm=0.0",  # by default the Trainer clips gradients
    ]
    lines = ["import torch", "from transformers import Trainer, TrainingArguments", *_plan(use), ""]
    lines.append(f"optimizer = {_optimizer(use, 'model')}")
    constant = "torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)"
    schedule = constant if use.epochs is None else _scheduler(f"-(-len(data) // {use.batch_size})")
    lines += [
        f"scheduler = {schedule}",
        "arguments = TrainingArguments(",
        *(f"    {setting}," for setting in arguments),
        ")",
        "trainer = Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, scheduler))",
    ]
    return "\n".join(lines)


def _train(use: Use) -> str:
    special = {**use.of_plans, **({"drop_last": True} if use.drops_last else {})}
    arguments = _arguments({"micro_batch_size": use.per_device, **special})
    if "order" in special:
        arguments = arguments.replace(f"order={special['order']!r}", f"order=critbatch.Order({special['order']!r})")
    lines = [
        "from dataclasses import replace",
        "",
        "import critbatch",
        "",
        f"plan = {_plan_of(use)}",
        f"plan = replace(plan, {arguments})",
        "run = critbatch.train(task, plan)",
    ]
    return "\n".join(lines)


def _plan(use: Use) -> list[str]:
    """The recipe as a plan, for recipes that torch alone cannot express."""
    if use.epochs is None:
        return []
    return ["", "import critbatch", "", f"plan = {_plan_of(use)}"]


def _plan_of(use: Use) -> str:
    arguments = {
        "batch_size": use.batch_size,
        "learning_rate": use.learning_rate,
        "epochs": use.made_for,
        **use.of_recipe,
    }
    return f'critbatch.recipes.plan_of("{use.recipe}", {_arguments(arguments)})'


def _loader(use: Use) -> str:
    drop = ", drop_last=True" if use.drops_last else ""
    order = "shuffle=True" if use.devices == 1 else "sampler=torch.utils.data.DistributedSampler(data)"
    return f"loader = torch.utils.data.DataLoader(data, batch_size={use.per_device}, {order}{drop})"


def _optimizer(use: Use, owner: str) -> str:
    if use.epochs is not None:
        return f"plan.phases[0].optimizer({owner}.parameters())"
    settings = _arguments({"lr": use.learning_rate, **use.code.torch_settings})
    return f"torch.optim.{use.code.torch_optimizer}({owner}.parameters(), {settings})"


def _scheduler(steps_per_epoch: str) -> str:
    rate = "plan.phases[0].learning_rate"
    return f"critbatch.EpochScheduler(optimizer, {rate}, steps_per_epoch={steps_per_epoch})"


def _arguments(values: Mapping[str, OptionValue]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
