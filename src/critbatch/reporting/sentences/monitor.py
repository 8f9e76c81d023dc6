"""What a monitor says in a training loop."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

MONITOR_REASONS = {
    "no_steps_yet": Sentence(
        en="No step has been seen yet: call update() after each step's last backward pass.",
        zh="还没有看到任何一步：请在每一步的最后一次反向传播之后调用 update()。",
    ),
    "not_measurable": Sentence(
        en="The gradients of these steps could not be measured this way: the log says why.",
        zh="这些步的梯度无法用这种方式测量：日志中写明了原因。",
    ),
    "nothing_to_compare": Sentence(
        en="Most steps had a single gradient, with nothing to compare it with: accumulate gradients over two or more "
        "micro-batches, or use by='examples'.",
        zh="多数步只有一个梯度，没有可比较的：请用两个或更多微批次累积梯度，或使用 by='examples'。",
    ),
    "passes_unclear": Sentence(
        en="Forward and backward passes did not belong together in most steps: give one backward pass for each forward "
        "pass, or update(batch_size=...).",
        zh="多数步的前向传播与反向传播无法对应：每次前向传播请做一次反向传播，或使用 update(batch_size=...)。",
    ),
    "batch_size_unknown": Sentence(
        en="How many examples most steps had is not known, since the tensors of a batch disagree: give batch_size to "
        "the monitor or to update().",
        zh="多数步的样本数无法确定，因为同一批次的张量互不一致：请把 batch_size 交给监视器或 update()。",
    ),
    "gradients_changed": Sentence(
        en="In most steps the gradients in `.grad` were not those of the step's own backward passes: set gradients to "
        "zero before each step, and call update() before anything changes them.",
        zh="多数步中 `.grad` 里的梯度不是该步自己的反向传播所得："
        "请在每一步之前清零梯度，并在任何改动之前调用 update()。",
    ),
    "weights_changed": Sentence(
        en="Weights were frozen, unfrozen or put in at most steps, so that each had another gradient to measure.",
        zh="多数步都有权重被冻结、解冻或加入，因此每一步要测量的梯度都不同。",
    ),
    "micro_batch_weights_unknown": Sentence(
        en="The micro-batches differ in size, and the gradients do not tell yet whether the loss weights them equally "
        "or by size: give weights='equal' or weights='by_size' to the monitor.",
        zh="微批次大小不同，而梯度还看不出损失是等权还是按大小加权：请给监视器 weights='equal' 或 weights='by_size'。",
    ),
    "micro_batch_weights_wrong": Sentence(
        en="The gradients contradict the `weights` that were given for micro-batches of unequal size: use "
        "weights='auto'.",
        zh="梯度与给定的 `weights`（大小不等的微批次的权重）相矛盾：请使用 weights='auto'。",
    ),
    "few_timings": Sentence(
        en="Too few steps were timed to give an interval.",
        zh="计时的步数太少，给不出区间。",
    ),
}

MONITOR = {
    "monitor_noise": Sentence(
        en="At batch size {batch_size} the gradient noise scale is {noise}, and the critical batch size from here on "
        "about {critical}.",
        zh="批次大小为 {batch_size} 时，梯度噪声尺度为 {noise}，从这里起的临界批次大小约为 {critical}。",
    ),
    "monitor_larger": Sentence(
        en="From here on batch size {other} would cost {examples} more examples ({between}) and {steps} times the "
        "steps ({steps_between}){rate}{time}.",
        zh="从这里起，批次大小 {other} 会多用 {examples}（{between}）的样本，"
        "步数是 {steps} 倍（{steps_between}）{rate}{time}。",
    ),
    "monitor_smaller": Sentence(
        en="From here on batch size {other} would save {examples} of the examples ({between}) and take {steps} times "
        "the steps ({steps_between}){rate}{time}.",
        zh="从这里起，批次大小 {other} 会省下 {examples}（{between}）的样本，"
        "步数是 {steps} 倍（{steps_between}）{rate}{time}。",
    ),
    "monitor_same": Sentence(en="Batch size {other} is the one in use.", zh="批次大小 {other} 就是正在使用的。"),
    "monitor_rate": Sentence(
        en=", with learning rate {rate} ({between}) instead of {now}",
        zh="，学习率为 {rate}（{between}），而不是 {now}",
    ),
    "monitor_time": Sentence(
        en="; it would take {time} times the time ({between})", zh="；时间是 {time} 倍（{between}）"
    ),
    "monitor_even": Sentence(
        en="; that saves time if a step then takes less than {even} times as long",
        zh="；如果那时一步的时间不到现在的 {even} 倍，就能节省时间",
    ),
    "monitor_too_few": Sentence(
        en="{n} steps have been compared, too few to say what another batch size would cost: ask again after {needed}.",
        zh="只比较了 {n} 步，还不足以说明其他批次大小的代价：请在 {needed} 步之后再问。",
    ),
    "monitor_too_few_one": Sentence(
        en="{n} step has been compared, too few to say what another batch size would cost: ask again after {needed}.",
        zh="只比较了 {n} 步，还不足以说明其他批次大小的代价：请在 {needed} 步之后再问。",
    ),
    "monitor_no_signal": Sentence(
        en="Over {n} steps the gradient's signal could not be told from its noise, so there is no upper bound: a "
        "larger `window`, or more micro-batches in a step, would tell more.",
        zh="在 {n} 步之内，梯度的信号与噪声无法区分，因此没有上界："
        "更大的 `window`，或一步之内更多的微批次，能说明更多。",
    ),
}
