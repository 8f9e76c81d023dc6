"""Why a number has no interval, and what to keep in mind with an answer."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

REASON_SENTENCES = {
    "one_seed": Sentence(
        en="Each setting was run with one seed only, so how much luck is in it is not known.",
        zh="每种设置只用一个随机种子跑过，其中有多少偶然并不知道。",
    ),
    "few_points": Sentence(
        en="Few runs stand behind it: the intervals lean on what is usual for other tasks.",
        zh="依据的训练次数很少：区间部分来自其他任务的常见情况。",
    ),
    "no_run_reached_target": Sentence(
        en="No run reached the target, so time and steps to target are not known.",
        zh="没有一次训练达到目标，因此达到目标所需的时间和步数都不知道。",
    ),
    "law_misfit": Sentence(
        en="The law of steps to target does not fit these runs: trust the sizes that were run, not those in between.",
        zh="“达到目标的步数”定律与这些训练不符：请相信真正跑过的批次大小，而不是它们之间的预测。",
    ),
    "noise_not_distinguishable": Sentence(
        en="Where the gradient's signal cannot be told from its noise, the noise scale has no upper bound.",
        zh="在梯度的信号与噪声无法区分之处，噪声尺度没有上界。",
    ),
    "batch_norm_in_train_mode": Sentence(
        en="Batch normalization ties the examples of a batch together, so the noise scale is only a rough one.",
        zh="批归一化使同一批次的样本互相影响，因此噪声尺度只是粗略值。",
    ),
    "too_few_pairs": Sentence(
        en="Too few pairs of gradients were compared to give an interval.",
        zh="比较过的梯度对太少，给不出区间。",
    ),
    "rate_at_edge": Sentence(
        en="The best learning rate lies at the edge of those tried: a better one may lie beyond.",
        zh="最好的学习率位于试过的范围边缘：范围之外可能还有更好的。",
    ),
    "best_at_edge": Sentence(
        en="The best batch size lies at the edge of those tried: a better one may lie beyond.",
        zh="最好的批次大小位于试过的范围边缘：范围之外可能还有更好的。",
    ),
    "knee_outside_sizes": Sentence(
        en="The knee lies outside of the batch sizes that were timed, so where it is cannot be bounded.",
        zh="拐点在计时过的批次大小之外，因此无法给出它的范围。",
    ),
    "time_not_affine": Sentence(
        en="Time per step does not grow along a straight line on this machine: the knee is only a rough one.",
        zh="在这台机器上，每步时间并不按直线增长：拐点只是粗略值。",
    ),
    "extrapolated": Sentence(
        en="No run was made near this batch size: its numbers reach beyond what was measured.",
        zh="在这个批次大小附近没有训练过：这些数字超出了测量范围。",
    ),
    "predicted_only": Sentence(
        en="No run was made at this batch size: its numbers follow from the law.",
        zh="这个批次大小没有训练过：这些数字由定律推出。",
    ),
    "budget_ended": Sentence(
        en="The time budget ended before all was tried that should be: more time would make the answer surer.",
        zh="时间预算用完时，该试的还没有试完：给更多时间，答案会更可靠。",
    ),
    "generalization_not_measured": Sentence(
        en="What the batch size does to generalization was not measured: only the time to one target was.",
        zh="没有测量批次大小对泛化的影响：只测量了达到一个目标的时间。",
    ),
    "one_machine": Sentence(
        en="Times were measured on one machine only: on another one, another size may be best.",
        zh="只在一台机器上测量过时间：换一台机器，最好的批次大小可能不同。",
    ),
    "validation_sample": Sentence(
        en="The target was watched on a sample of the validation set, so the step of reaching it is uncertain.",
        zh="目标是在验证集的一个抽样上观察的，因此达到目标的步数有误差。",
    ),
    "current_not_timed": Sentence(
        en="The batch size in use today was not timed, or does not fit: there is nothing to compare with.",
        zh="现在使用的批次大小没有计时，或者放不进内存：无从比较。",
    ),
    "out_of_memory": Sentence(
        en="Some batch sizes do not fit in memory: nothing is known of them.",
        zh="有些批次大小放不进内存：对它们一无所知。",
    ),
    "all_diverged": Sentence(
        en="Every run diverged: smaller learning rates are needed.",
        zh="所有训练都发散了：需要更小的学习率。",
    ),
    "some_diverged": Sentence(
        en="Some runs diverged: they count as failures of their learning rate, not as missing.",
        zh="有些训练发散了：它们算作该学习率的失败，而不是缺失。",
    ),
    "no_noise_measured": Sentence(
        en="The gradient noise scale was not measured along these runs.",
        zh="这些训练过程中没有测量梯度噪声尺度。",
    ),
    "runs_left": Sentence(
        en="The study is not finished: the answer may change with the runs that are left.",
        zh="研究还没有做完：剩下的训练可能改变答案。",
    ),
    "target_met_at_start": Sentence(
        en="The target was met at the first evaluation: set a harder one to compare batch sizes.",
        zh="第一次评估时就已达到目标：要比较批次大小，请设更难的目标。",
    ),
    "coarse_evaluations": Sentence(
        en="Evaluations lie far apart, so the step of reaching the target is known only roughly.",
        zh="两次评估相隔很远，因此只大致知道在哪一步达到目标。",
    ),
    "unsteady_times": Sentence(
        en="Times varied much from step to step: the machine may have been busy with something else.",
        zh="各步的时间相差很大：机器当时可能在忙别的事。",
    ),
    "too_few_visits": Sentence(
        en="Too few values were measured to give an interval.",
        zh="测量的次数太少，给不出区间。",
    ),
    "unknown_reason": Sentence(
        en="The record gives a reason that this version has no sentence for: {key}.",
        zh="记录给出的理由在这个版本里没有对应的句子：{key}。",
    ),
}
