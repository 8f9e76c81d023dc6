"""What the lecture's claims 1 to 4 rest on: as a row of a table, and as a sentence with its number."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE_STATEMENTS = {
    "order_reshuffle": Sentence(en="reshuffled every epoch", zh="每个周期重新打乱"),
    "order_shuffle_once": Sentence(en="shuffled once", zh="只打乱一次"),
    "order_sequential": Sentence(en="as the data lie", zh="按数据原来的顺序"),
    "order_with_replacement": Sentence(en="drawn with replacement", zh="有放回抽取"),
    "statement_every_example_once": Sentence(
        en="Each epoch holds every example in exactly one batch", zh="每个周期中每个样本恰好在一个批次里"
    ),
    "finding_every_example_once": Sentence(
        en="With reshuffling each epoch held every example in exactly one batch: {effect}.",
        zh="重新打乱时，每个周期中每个样本恰好在一个批次里：{effect}。",
    ),
    "statement_new_partition": Sentence(
        en="Every epoch has another partition into batches", zh="每个周期的分批都与前一个不同"
    ),
    "finding_new_partition": Sentence(
        en="With reshuffling every epoch had another partition into batches: {effect}.",
        zh="重新打乱时，每个周期的分批都与前一个不同：{effect}。",
    ),
    "statement_order_costs": Sentence(
        en="Examples {subject}: steps to the target, over those with reshuffling",
        zh="样本{subject}：达到目标的步数，与重新打乱之比",
    ),
    "finding_order_costs": Sentence(
        en="With examples {subject}, training takes {effect} the steps to the target that it takes with reshuffling.",
        zh="样本{subject}时，达到目标的步数是重新打乱的 {effect}。",
    ),
    "statement_unsteady": Sentence(
        en="Spread of the directions of steps: batch size {small} less {large}",
        zh="步的方向的分散程度：批次大小 {small} 减 {large}",
    ),
    "finding_unsteady": Sentence(
        en="The directions of steps with batch size {small} spread more than with {large}, on a scale from 0 to 1, by "
        "{effect}.",
        zh="在 0 到 1 的尺度上，批次大小 {small} 的步的方向比 {large} 更分散，相差 {effect}。",
    ),
    "statement_many_updates": Sentence(
        en="Loss after one epoch: batch size {large} over {small}",
        zh="一个周期后的损失：批次大小 {large} 与 {small} 之比",
    ),
    "finding_many_updates": Sentence(
        en="After one epoch the loss with batch size {large} is {effect} that with batch size {small}.",
        zh="一个周期后，批次大小 {large} 的损失是批次大小 {small} 的 {effect}。",
    ),
    "statement_parallel_update": Sentence(
        en="Time of {large} updates of one example, over one update of {large}",
        zh="{large} 次单样本更新的时间，与一次 {large} 个样本的更新之比",
    ),
    "finding_parallel_update": Sentence(
        en="Doing {large} updates of one example takes {effect} the time of one update of {large}.",
        zh="{large} 次单样本更新的时间是一次 {large} 个样本更新的 {effect}。",
    ),
    "statement_about_the_same": Sentence(
        en="Time of an update: batch size {large} over {small}, claimed to be about 1",
        zh="一次更新的时间：批次大小 {large} 与 {small} 之比，主张约为 1",
    ),
    "finding_about_the_same": Sentence(
        en="An update with batch size {large} takes {effect} the time of one with {small}.",
        zh="批次大小 {large} 的一次更新的时间是 {small} 的 {effect}。",
    ),
    "statement_grows": Sentence(
        en="Time of an update: batch size {large}, the largest, over the smallest",
        zh="一次更新的时间：最大的批次大小 {large} 与最小的之比",
    ),
    "finding_grows": Sentence(
        en="An update with batch size {large}, the largest, takes {effect} the time of one with the smallest.",
        zh="最大的批次大小 {large} 的一次更新的时间是最小的 {effect}。",
    ),
    "statement_shorter_epoch": Sentence(
        en="Time of an epoch: smallest batch size over {large}, where it is shortest",
        zh="一个周期的时间：最小的批次大小与最快的 {large} 之比",
    ),
    "finding_shorter_epoch": Sentence(
        en="An epoch with the smallest batch size takes {effect} the time of one with {large}, the shortest.",
        zh="最小批次大小的一个周期的时间是最快的 {large} 的 {effect}。",
    ),
    "statement_parallel_hardware": Sentence(
        en="Time of an update of {large}: one thread over all", zh="{large} 个样本一次更新的时间：单线程与全部线程之比"
    ),
    "finding_parallel_hardware": Sentence(
        en="With one thread an update of {large} takes {effect} the time of all threads.",
        zh="单线程时，{large} 个样本一次更新的时间是全部线程的 {effect}。",
    ),
    "statement_parallel_hardware_accelerator": Sentence(
        en="Time of an update of {large}: processor over accelerator",
        zh="{large} 个样本一次更新的时间：处理器与加速器之比",
    ),
    "finding_parallel_hardware_accelerator": Sentence(
        en="Without the accelerator an update of {large} takes {effect} the time with it.",
        zh="不用加速器时，{large} 个样本一次更新的时间是用它时的 {effect}。",
    ),
    "statement_train_worse_fixed": Sentence(
        en="Training {metric}, batch size {small} less {large}: equal epochs, one rate for all",
        zh="训练集{metric}，批次大小 {small} 减 {large}：周期数相同，共用一个学习率",
    ),
    "finding_train_worse_fixed": Sentence(
        en="After equal epochs with one rate for all, training {metric} with batch size {small} less that with "
        "{large} is {effect}.",
        zh="周期数相同、共用一个学习率时，训练集{metric}在批次大小 {small} 减 {large} 之差为 {effect}。",
    ),
    "statement_train_worse_tuned": Sentence(
        en="Training {metric}, batch size {small} less {large}: equal epochs, rate tuned at each size",
        zh="训练集{metric}，批次大小 {small} 减 {large}：周期数相同，各自调学习率",
    ),
    "finding_train_worse_tuned": Sentence(
        en="After equal epochs with a rate tuned at each size, training {metric} with batch size {small} less that "
        "with {large} is {effect}.",
        zh="周期数相同、各自调学习率时，训练集{metric}在批次大小 {small} 减 {large} 之差为 {effect}。",
    ),
    "statement_train_worse_steps": Sentence(
        en="Training {metric}, batch size {small} less {large}: equal steps, rate tuned",
        zh="训练集{metric}，批次大小 {small} 减 {large}：步数相同，各自调学习率",
    ),
    "finding_train_worse_steps": Sentence(
        en="After equal steps, training {metric} with batch size {small} less that with {large} is {effect}.",
        zh="步数相同时，训练集{metric}在批次大小 {small} 减 {large} 之差为 {effect}。",
    ),
    "statement_train_worse_seconds": Sentence(
        en="Training {metric}, batch size {small} less {large}: equal time, rate tuned",
        zh="训练集{metric}，批次大小 {small} 减 {large}：时间相同，各自调学习率",
    ),
    "finding_train_worse_seconds": Sentence(
        en="After equal time, training {metric} with batch size {small} less that with {large} is {effect}.",
        zh="时间相同时，训练集{metric}在批次大小 {small} 减 {large} 之差为 {effect}。",
    ),
    "statement_validation_worse": Sentence(
        en="Validation {metric}, batch size {small} less {large}: equal epochs, rate tuned",
        zh="验证集{metric}，批次大小 {small} 减 {large}：周期数相同，各自调学习率",
    ),
    "finding_validation_worse": Sentence(
        en="After equal epochs, validation {metric} with batch size {small} less that with {large} is {effect}.",
        zh="周期数相同时，验证集{metric}在批次大小 {small} 减 {large} 之差为 {effect}。",
    ),
}
