"""What a record says: the sentences of the terminal and of the head of the page."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

ANSWERS = {
    "to_keep_in_mind": Sentence(en="To keep in mind:", zh="请注意："),
    "advice_headline": Sentence(
        en="Train {task} with batch size {batch_size} and learning rate {rate} ({recipe}).",
        zh="训练 {task}：批次大小用 {batch_size}，学习率用 {rate}（{recipe}）。",
    ),
    "advice_time": Sentence(en="It then reaches {target} in {seconds}.", zh="这样达到{target} 需要 {seconds}。"),
    "advice_near": Sentence(
        en="Any batch size from {low} to {high} comes within 10 % of that time.",
        zh="批次大小从 {low} 到 {high}，所需时间与最短时间相差都在 10 % 以内。",
    ),
    "advice_near_alone": Sentence(
        en="No other batch size comes within 10 % of that time.",
        zh="没有别的批次大小与这个时间相差在 10 % 以内。",
    ),
    "advice_current": Sentence(
        en="The size in use today, {batch_size}, takes {seconds}: {times} times as long.",
        zh="现在用的批次大小 {batch_size} 需要 {seconds}：是最短时间的 {times} 倍。",
    ),
    "advice_current_is_best": Sentence(
        en="That is the batch size in use today: keep it.", zh="这正是现在用的批次大小：不必更换。"
    ),
    "advice_current_never": Sentence(
        en="The size in use today, {batch_size}, is not expected to reach the target.",
        zh="现在用的批次大小 {batch_size} 预计达不到目标。",
    ),
    "advice_largest": Sentence(
        en="The largest size that was timed, {batch_size}, takes {seconds}: {times} times as long.",
        zh="计过时的最大批次 {batch_size} 需要 {seconds}：是最短时间的 {times} 倍。",
    ),
    "advice_largest_is_best": Sentence(
        en="That is the largest batch size that was timed: a still larger one might bring more.",
        zh="这已是计过时的最大批次：更大的批次也许会更快。",
    ),
    "advice_largest_never": Sentence(
        en="The largest size that was timed, {batch_size}, is not expected to reach the target.",
        zh="计过时的最大批次 {batch_size} 预计达不到目标。",
    ),
    "advice_micro": Sentence(
        en="It fits in memory as {pieces} micro-batches of {micro}, their gradients added up.",
        zh="为放进内存，把它分成 {pieces} 个大小为 {micro} 的微批次，梯度累加。",
    ),
    "advice_cost": Sentence(
        en="To find this out took {n} training runs and {wall} in all.", zh="得到这个答案共用了 {n} 次训练，{wall}。"
    ),
    "advice_cost_one": Sentence(
        en="To find this out took {n} training run and {wall} in all.", zh="得到这个答案共用了 {n} 次训练，{wall}。"
    ),
    "unanswered_headline": Sentence(
        en="No batch size can be recommended for {task} yet.", zh="还不能为 {task} 推荐批次大小。"
    ),
    "unanswered_runs": Sentence(en="None of the {n} runs reached {target}.", zh="{n} 次训练中没有一次达到{target}。"),
    "unanswered_runs_one": Sentence(en="The {n} run did not reach {target}.", zh="仅有的 {n} 次训练没有达到{target}。"),
    "unanswered_some": Sentence(
        en="Of {runs} runs, {n} reached {target}: too few to build on.",
        zh="{runs} 次训练中有 {n} 次达到{target}：不足以下结论。",
    ),
    "unanswered_no_run": Sentence(en="No training run was made.", zh="没有做过训练。"),
    "unanswered_help": Sentence(
        en="More time (--budget), an easier target (--target) or another recipe (--recipe) may help.",
        zh="更多时间（--budget）、更容易的目标（--target）或另一种配方（--recipe）可能有帮助。",
    ),
    "closest_run": Sentence(
        en="The best seen was {value}, at batch size {batch_size} and learning rate {rate}.",
        zh="见到的最好结果是{value}，批次大小 {batch_size}，学习率 {rate}。",
    ),
    "speed_headline": Sentence(
        en="What one training step of {task} costs, at {n} batch sizes.",
        zh="{task} 训练一步的代价，共 {n} 个批次大小。",
    ),
    "speed_headline_one": Sentence(
        en="What one training step of {task} costs, at {n} batch size.", zh="{task} 训练一步的代价，共 {n} 个批次大小。"
    ),
    "speed_knee": Sentence(
        en="Up to a batch size of about {knee}, a step of {task} less than doubles in time; "
        "beyond, it grows in proportion.",
        zh="批次大小在约 {knee} 以下时，{task} 的每步时间增加不到一倍；超过之后随批次成比例增长。",
    ),
    "speed_grows": Sentence(
        en="Time per step of {task} grows with the batch from size {batch_size} on.",
        zh="{task} 的每步时间从批次大小 {batch_size} 起就随批次增长。",
    ),
    "speed_flat": Sentence(
        en="Up to batch size {batch_size}, the largest measured, a step of {task} less than doubles in time.",
        zh="直到测过的最大批次 {batch_size}，{task} 的每步时间增加不到一倍。",
    ),
    "speed_epoch": Sentence(
        en="One epoch takes {first} at batch size {low} and {last} at {high}.",
        zh="一个周期（epoch）在批次大小 {low} 时用 {first}，在 {high} 时用 {last}。",
    ),
    "speed_fits": Sentence(
        en="Batch size {lost} does not fit in memory; the largest measured that does is {largest}.",
        zh="批次大小 {lost} 放不进内存；测过且放得进的最大批次是 {largest}。",
    ),
    "speed_nothing": Sentence(en="Not one step of {task} could be timed.", zh="{task} 一步也没能计时。"),
    "speed_nothing_help": Sentence(
        en="None of the batch sizes fits in memory: a smaller model or example is needed.",
        zh="所有批次大小都放不进内存：需要更小的模型或样本。",
    ),
    "noise_headline": Sentence(
        en="The gradient noise scale of {task} comes to about {noise} {unit}.",
        zh="{task} 的梯度噪声尺度约为 {noise}（{unit}）。",
    ),
    "noise_lead": Sentence(
        en="After {steps} steps at batch size {batch_size} it is {scale}.",
        zh="以批次大小 {batch_size} 训练 {steps} 步后，它是 {scale}。",
    ),
    "noise_start": Sentence(en="At step {steps} it was {first}.", zh="第 {steps} 步时它是 {first}。"),
    "noise_meaning": Sentence(
        en="Batches far below it give mostly noise in each step; batches far above it give little new.",
        zh="批次远小于它时，每一步大多是噪声；批次远大于它时，多出来的样本带来的新信息很少。",
    ),
    "noise_tokens": Sentence(en="In tokens this is about {tokens}.", zh="按 token 计约为 {tokens}。"),
    "noise_nothing": Sentence(
        en="The gradient noise scale of {task} could not be told.", zh="无法得出 {task} 的梯度噪声尺度。"
    ),
    "noise_nothing_help": Sentence(
        en="No signal of the gradient was found above its noise: measure along a longer run or with larger batches.",
        zh="没有发现高于噪声的梯度信号：请沿更长的训练或用更大的批次测量。",
    ),
    "run_reached": Sentence(
        en="{task} reached {target} after {steps} steps, {epochs} epochs and {seconds}.",
        zh="{task} 用 {steps} 步、{epochs} 个周期、{seconds}达到{target}。",
    ),
    "run_finished": Sentence(
        en="{task} did not reach {target} in {steps} steps, {epochs} epochs and {seconds}.",
        zh="{task} 训练 {steps} 步、{epochs} 个周期、{seconds}后没有达到{target}。",
    ),
    "run_finished_without_target": Sentence(
        en="{task} was trained for {steps} steps, {epochs} epochs and {seconds}.",
        zh="{task} 训练了 {steps} 步、{epochs} 个周期、{seconds}。",
    ),
    "run_diverged": Sentence(en="The run of {task} diverged at step {steps}.", zh="{task} 的训练在第 {steps} 步发散。"),
    "run_out_of_memory": Sentence(
        en="The run of {task} ended because batch size {batch_size} does not fit in memory.",
        zh="{task} 的训练因批次大小 {batch_size} 放不进内存而结束。",
    ),
    "run_interrupted": Sentence(
        en="The run of {task} was interrupted after {steps} steps: it can go on from there.",
        zh="{task} 的训练在 {steps} 步后中断：可以从那里继续。",
    ),
    "run_setting": Sentence(
        en="It used batch size {batch_size}, learning rate {rate}, recipe {recipe} and seed {seed}.",
        zh="所用批次大小 {batch_size}，学习率 {rate}，配方 {recipe}，随机种子 {seed}。",
    ),
    "runs_headline": Sentence(
        en="{n} runs of {task}, none at a target.", zh="{task} 的 {n} 次训练，没有一次达到目标。"
    ),
    "runs_reached": Sentence(
        en="Of {n} runs of {task}, {reached} reached their target.", zh="{task} 的 {n} 次训练中，{reached} 次达到目标。"
    ),
    "runs_soonest": Sentence(
        en="The soonest took {seconds}, with batch size {batch_size} and learning rate {rate}.",
        zh="最快的一次用 {seconds}，批次大小 {batch_size}，学习率 {rate}。",
    ),
    "study_headline": Sentence(
        en="Of all tried, batch size {batch_size} with learning rate {rate} ({recipe}) was soonest for {task}.",
        zh="在所有试过的设置中，{task} 以批次大小 {batch_size}、学习率 {rate}（{recipe}）最快。",
    ),
    "study_time": Sentence(
        en="It reached {target} in {seconds} (median of {n} seeds, {span}).",
        zh="它达到{target} 用了 {seconds}（{n} 个随机种子的中位数，{span}）。",
    ),
    "study_time_one": Sentence(
        en="It reached {target} in {seconds} ({n} seed).", zh="它达到{target} 用了 {seconds}（{n} 个随机种子）。"
    ),
    "study_none_reached": Sentence(
        en="No run of {task} has reached {target} so far.", zh="{task} 至今没有一次训练达到{target}。"
    ),
    "study_no_target": Sentence(
        en="{n} runs of {task}, compared without a target.", zh="{task} 的 {n} 次训练，没有设目标的比较。"
    ),
    "study_no_target_one": Sentence(en="{n} run of {task}, without a target.", zh="{task} 的 {n} 次训练，没有设目标。"),
    "study_done": Sentence(en="{n} of {total} runs are made.", zh="{total} 次训练已完成 {n} 次。"),
}
