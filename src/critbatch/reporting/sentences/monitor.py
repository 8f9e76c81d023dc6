"""What a monitor says in a training loop."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

MONITOR_REASONS = {
    "no_steps_yet": Sentence(
        en="No step has been seen yet: call update() after each step's last backward pass.",
        zh="还没有看到任何一步：请在每一步的最后一次反向传播之后调用 update()。",
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
