"""What an advice says beside its answer: the objective, the schedule, what it cost, and why there is none."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

ADVICE_REASONS = {
    "learns_nothing": Sentence(
        en="No run came closer to the target than at its start, at any learning rate: look whether inputs and labels "
        "belong together, whether the loss depends on the weights, and whether `critbatch train` learns at all.",
        zh="无论学习率多大，没有一次训练比开始时更接近目标：请检查输入与标签是否对应、损失是否依赖权重，"
        "并看 `critbatch train` 是否真能学到东西。",
    ),
    "learns_training_set_only": Sentence(
        en="Runs fit the training set but come no closer to the target on the validation set: its labels may be noise, "
        "or its examples of another kind; more data or regularization may help, another batch size will not.",
        zh="训练能拟合训练集，但在验证集上没有更接近目标：标签可能是噪声，或验证样本来自别的分布；"
        "更多数据或正则化可能有帮助，换批次大小没有用。",
    ),
    "levels_off": Sentence(
        en="The best run levels off below the target: longer runs will not reach it; a target just below the best that "
        "was seen (--target), another model or another recipe (--recipe) may.",
        zh="最好的一次训练在目标之下就不再进步：训练更久也达不到；可改用略低于所见最好结果的目标（--target）、"
        "别的模型或别的配方（--recipe）。",
    ),
    "length_planned": Sentence(
        en="The learning rate decays over the run, so the advice holds for the planned length: in a longer run the "
        "target comes later.",
        zh="学习率随整个训练衰减，因此建议只对所计划的长度成立：计划得更长，达到目标就更晚。",
    ),
    "devices_predicted": Sentence(
        en="Times on several devices are predicted from those of one and a usual network: `critbatch scale` measures "
        "yours.",
        zh="多个设备上的时间是由单个设备和通常的网络推算的：`critbatch scale` 可以测量你的网络。",
    ),
}

ADVICE = {
    "advice_help_law_misfit": Sentence(
        en="Where the law does not fit, `critbatch sweep` measures every batch size instead.",
        zh="定律不符时，可用 `critbatch sweep` 逐个测量每个批次大小。",
    ),
    "advice_options": Sentence(en="It is for {options}.", zh="建议适用于 {options}。"),
    "advice_planned": Sentence(
        en="Plan {epochs} epochs: the learning rate decays over them.", zh="请计划 {epochs} 个周期：学习率在其间衰减。"
    ),
    "advice_within_met": Sentence(
        en="A run comes to the target within {seconds} with a probability of {chance}.",
        zh="一次训练在 {seconds} 内达到目标的概率为 {chance}。",
    ),
    "advice_within_missed": Sentence(
        en="Within {seconds} a run comes to the target with a probability of {chance} only: no batch size is sooner; "
        "more devices (--devices), a longer time or an easier target is needed.",
        zh="在 {seconds} 内达到目标的概率只有 {chance}：没有更快的批次大小；需要更多设备（--devices）、"
        "更长的时间或更容易的目标。",
    ),
    "advice_devices": Sentence(
        en="On {n} devices together, {share} examples on each, it takes {hours} device-hours.",
        zh="在 {n} 个设备上一起训练，每个 {share} 个样本，共用 {hours} 设备小时。",
    ),
    "advice_devices_missed": Sentence(
        en="No allowed number of devices is within {seconds}: this is the soonest.",
        zh="允许的设备数中没有一个能在 {seconds} 内完成：这是最快的。",
    ),
    "advice_cheapest": Sentence(
        en="On one device the cheapest is the soonest: {hours} device-hours.",
        zh="在单个设备上，最快的也是最省的：{hours} 设备小时。",
    ),
    "advice_price": Sentence(
        en="At {price} for an hour of a device that is {cost}.", zh="每设备小时 {price}，合计 {cost}。"
    ),
    "advice_examples_met": Sentence(
        en="A run comes to the target within {limit} {unit} with a probability of {chance}; larger batches need more.",
        zh="一次训练用不超过 {limit}（{unit}）达到目标的概率为 {chance}；更大的批次需要更多。",
    ),
    "advice_examples_missed": Sentence(
        en="Within {limit} {unit} a run comes to the target with a probability of {chance} only; smaller batches "
        "hardly need fewer: a larger limit or an easier target is needed.",
        zh="用不超过 {limit}（{unit}）达到目标的概率只有 {chance}；更小的批次也省不了多少："
        "需要更大的限额或更容易的目标。",
    ),
    "advice_accuracy_kept": Sentence(
        en="Trained beyond the target for {seconds}, it ends with a validation {metric} of {large} against {small} at "
        "batch size {size} ({n} pairs of seeds, difference {difference}, {level} interval {span}): not worse by more "
        "than {margin}.",
        zh="越过目标后共训练 {seconds}，最终验证集{metric}为 {large}，批次大小 {size} 为 {small}"
        "（{n} 对随机种子，相差 {difference}，{level} 区间 {span}）：下降不超过 {margin}。",
    ),
    "advice_accuracy_falls": Sentence(
        en="Batch size {batch_size} would end with a validation {metric} of {large} against {small} at {size} ({n} "
        "pairs of seeds, difference {difference}, {level} interval {span}): worse by more than {margin}.",
        zh="批次大小 {batch_size} 最终验证集{metric}为 {large}，{size} 为 {small}"
        "（{n} 对随机种子，相差 {difference}，{level} 区间 {span}）：下降超过 {margin}。",
    ),
    "advice_accuracy_open": Sentence(
        en="At batch size {batch_size} the validation {metric} ends at {large} against {small} at {size} ({n} pairs "
        "of seeds, difference {difference}, {level} interval {span}): that it falls by {margin} at the most is "
        "not shown.",
        zh="批次大小 {batch_size} 最终验证集{metric}为 {large}，{size} 为 {small}"
        "（{n} 对随机种子，相差 {difference}，{level} 区间 {span}）：不能证明下降不超过 {margin}。",
    ),
    "advice_accuracy_gap": Sentence(
        en="The training {metric} is then {gap} above it, and {small_gap} at batch size {size}.",
        zh="此时训练集{metric}比它高 {gap}，在批次大小 {size} 时高 {small_gap}。",
    ),
    "advice_accuracy_small": Sentence(
        en="It is no larger than the small batch size that others would be compared with: nothing can fall.",
        zh="它不大于用来比较的小批次：不会有下降。",
    ),
    "advice_cost_all": Sentence(
        en="All its runs so far took {steps} steps and {seconds} of training and evaluation; their ends, kept for "
        "harder targets, take {bytes} on the disk.",
        zh="至今所有训练共 {steps} 步，训练与评估用时 {seconds}；为更难的目标保留的训练终点占磁盘 {bytes}。",
    ),
    "advice_asked": Sentence(
        en="The runs of this folder went to {n} targets: {targets}.",
        zh="这个文件夹中的训练以 {n} 个目标结束：{targets}。",
    ),
    "unanswered_budget": Sentence(
        en="As the best run goes, another {seconds} of --budget may do; the same command goes on from here.",
        zh="按最好的一次训练的进展，再给 {seconds} 的 --budget 也许就够；同一命令会从这里继续。",
    ),
    "unanswered_budget_unknown": Sentence(
        en="The budget ended before a run showed how much it needs: try --budget {seconds}, and the same command goes "
        "on from here.",
        zh="预算在看得出需要多少之前就用完了：请试 --budget {seconds}，同一命令会从这里继续。",
    ),
    "section_asked_of_advice": Sentence(en="What was asked, and what it took", zh="问题与代价"),
    "fact_objective": Sentence(en="Objective", zh="目的"),
    "fact_schedule": Sentence(en="Options", zh="选项"),
    "fact_planned": Sentence(en="Planned length", zh="计划长度"),
    "fact_micro": Sentence(en="Micro-batch", zh="微批次"),
    "fact_cost": Sentence(en="Runs and steps", zh="训练与步数"),
    "fact_train_seconds": Sentence(en="Training and evaluation", zh="训练与评估"),
    "fact_kept": Sentence(en="Kept ends of runs", zh="保留的训练终点"),
    "fact_targets": Sentence(en="Targets asked for", zh="问过的目标"),
    "objective_soonest": Sentence(en="soonest at the target", zh="最快达到目标"),
    "objective_cheapest": Sentence(en="cheapest within a time", zh="在时限内最省"),
    "objective_accuracy": Sentence(en="soonest, and the accuracy must not fall", zh="最快，且精度不得下降"),
    "objective_examples": Sentence(en="soonest within so many examples", zh="在样本限额内最快"),
    "micro_whole": Sentence(en="the whole batch in one pass", zh="整个批次一次通过"),
    "micro_pieces": Sentence(en="{micro}, {pieces} passes a step", zh="{micro}，每步 {pieces} 次"),
    "epochs_of_plan": Sentence(en="{epochs} epochs", zh="{epochs} 个周期"),
    "runs_and_steps": Sentence(en="{runs} runs, {steps} steps", zh="{runs} 次训练，{steps} 步"),
}
