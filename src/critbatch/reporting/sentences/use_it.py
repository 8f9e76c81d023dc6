"""How to train with an answer."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

USE_IT = {
    "section_use": Sentence(en="Use it", zh="怎样使用"),
    "use_text": Sentence(
        en="Copy one of these. They take your `model`, `data` (a data set) and `loss`; the batch size counts the "
        "examples of one step over all devices and micro-batches.",
        zh="任选其一复制。其中 `model`、`data`（数据集）和 `loss` 是你自己的；"
        "批次大小是一步之内所有设备和微批次的样本总数。",
    ),
    "use_text_task": Sentence(
        en="This recipe does more than an optimizer and a schedule, so critbatch itself trains with it.",
        zh="这个方案不只是优化器和学习率计划，因此由 critbatch 自己来训练。",
    ),
    "use_torch": Sentence(en="Plain PyTorch", zh="普通 PyTorch"),
    "use_lightning": Sentence(en="Lightning", zh="Lightning"),
    "use_huggingface": Sentence(en="Hugging Face Trainer", zh="Hugging Face Trainer"),
    "use_critbatch": Sentence(en="critbatch, with your task", zh="critbatch，用你的任务"),
}
