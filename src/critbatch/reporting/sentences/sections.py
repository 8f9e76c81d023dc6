"""Headings and paragraphs of the sections."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

SECTIONS = {
    "section_cost": Sentence(en="What each batch size costs", zh="每个批次大小的代价"),
    "cost_text": Sentence(
        en="Each row is a batch size with the learning rate that is best for it.",
        zh="每一行是一个批次大小，以及最适合它的学习率。",
    ),
    "cost_study_text": Sentence(
        en="Each row is a batch size with the learning rate, of those tried, that came to the target soonest.",
        zh="每一行是一个批次大小，以及试过的学习率中最快达到目标的那个。",
    ),
    "cost_caption": Sentence(en="Batch sizes and what they cost", zh="各批次大小及其代价"),
    "cost_level": Sentence(
        en="The small numbers are {level} intervals of steps and time.", zh="小字是步数与时间的 {level} 区间。"
    ),
    "cost_spread": Sentence(
        en="The small numbers go from the lowest to the highest seed.", zh="小字是各随机种子中的最低值至最高值。"
    ),
    "cost_no_interval": Sentence(en="Where there is no interval: {reason}", zh="没有区间之处：{reason}"),
    "cost_nothing": Sentence(
        en="No batch size can be compared by its time to target: no run reached one.",
        zh="无法按达到目标的时间比较批次大小：没有训练达到目标。",
    ),
    "section_hardware": Sentence(en="Time of a step and of an epoch", zh="一步与一个周期（epoch）的时间"),
    "hardware_text": Sentence(
        en="Parallel hardware makes small batches cost almost the same time as larger ones, up to a point. "
        "An epoch of large batches has fewer steps, so it is shorter.",
        zh="并行硬件使小批次与较大批次每步所花的时间几乎一样，直到某个限度。大批次的一个周期步数更少，因此更短。",
    ),
    "hardware_knee": Sentence(
        en="The knee, where the fixed part of a step and the part that grows are equal, lies at batch size {knee}.",
        zh="拐点是一步中固定部分与增长部分相等之处，位于批次大小 {knee}。",
    ),
    "hardware_no_fit": Sentence(
        en="No curve was fitted to these times, so no knee is given.", zh="没有为这些时间拟合曲线，因此不给出拐点。"
    ),
    "does_not_fit": Sentence(
        en="These batch sizes do not fit in memory: {sizes}.", zh="这些批次大小放不进内存：{sizes}。"
    ),
    "does_not_fit_one": Sentence(
        en="This batch size does not fit in memory: {sizes}.", zh="这个批次大小放不进内存：{sizes}。"
    ),
    "no_split": Sentence(en="How the time of a step is split was not measured.", zh="没有测量一步的时间如何分配。"),
    "no_memory": Sentence(en="Peak memory was not measured.", zh="没有测量内存峰值。"),
    "hardware_nothing": Sentence(en="No step was timed.", zh="没有为任何一步计时。"),
    "hardware_caption": Sentence(en="Time and memory of a step, in numbers", zh="一步的时间与内存（数字）"),
    "section_accuracy": Sentence(en="Batch size and {metric}", zh="批次大小与{metric}"),
    "accuracy_text": Sentence(
        en="All batch sizes after the same number of epochs, {epochs}, each at the best learning rate tried for it. "
        "A larger batch makes fewer steps in an epoch, so being lower here does not mean that it ends lower.",
        zh="所有批次大小都训练相同的周期（epoch）数：{epochs}，并各用试过的最好学习率。"
        "大批次在一个周期内步数更少，所以这里较低并不表示最终也较低。",
    ),
    "accuracy_nothing": Sentence(
        en="There are no runs that could be compared after the same number of epochs.",
        zh="没有可以在相同周期数下比较的训练。",
    ),
    "section_steps": Sentence(en="Steps to target", zh="达到目标的步数"),
    "steps_text": Sentence(
        en="Each mark is a run. Larger batches usually need fewer steps, but ever less so.",
        zh="每个标记是一次训练。批次越大，所需步数通常越少，但减少得越来越慢。",
    ),
    "steps_nothing": Sentence(en="No run had a target to reach.", zh="没有设了目标的训练。"),
    "no_law": Sentence(
        en="No law was fitted through these runs: each stands for itself.",
        zh="没有为这些训练拟合定律：每一次只代表它自己。",
    ),
    "law_text": Sentence(
        en="However large the batch, S_min steps are needed, and at a batch size of B_noise twice as many. "
        "Here S_min is {min_steps} and B_noise is {noise}.",
        zh="无论批次多大，至少需要 S_min 步；批次大小为 B_noise 时需要两倍的步数。"
        "这里 S_min 为 {min_steps}，B_noise 为 {noise}。",
    ),
    "section_rate": Sentence(en="Learning rate", zh="学习率"),
    "rate_text": Sentence(
        en="Larger batches usually bear larger learning rates, until the noise no longer matters. "
        "A rate too small costs time, one too large fails.",
        zh="批次越大，可用的学习率通常越大，直到噪声不再重要。学习率太小只是慢，太大则会失败。",
    ),
    "rate_nothing": Sentence(en="No best learning rate is known.", zh="不知道最好的学习率。"),
    "section_runs": Sentence(en="The training runs", zh="训练过程"),
    "runs_nothing": Sentence(en="No training run was made.", zh="没有做过训练。"),
    "curves_nothing": Sentence(
        en="No run got as far as an evaluation, so there are no curves.", zh="没有训练进行到一次评估，因此没有曲线。"
    ),
    "curves_chosen": Sentence(
        en="Drawn are {shown} of {runs} runs, the best at each batch size first.",
        zh="画出 {runs} 次训练中的 {shown} 次，每个批次大小最好的优先。",
    ),
    "curves_thinned": Sentence(en="Long curves are thinned to {points} points.", zh="较长的曲线只画 {points} 个点。"),
    "seeds": Sentence(en="Seeds: {seeds}.", zh="随机种子：{seeds}。"),
    "run_members": Sentence(
        en="{recipe} at batch size {size}, seed {seed}: {n} copies ended at a validation {metric} of {low} to {high}, "
        "their mean at {mean}. It took {seconds}, and would take {parallel} with a device for each copy.",
        zh="{recipe}，批次大小 {size}，随机种子 {seed}：{n} 个副本的验证{metric}为 {low} 至 {high}，平均之后为 {mean}。"
        "用时 {seconds}；若每个副本各有一个设备，则为 {parallel}。",
    ),
    "run_grew": Sentence(
        en="{recipe}, seed {seed}: the batch grew from {first} to {last}.",
        zh="{recipe}，随机种子 {seed}：批次从 {first} 增长到 {last}。",
    ),
    "seeds_one": Sentence(en="Seed: {seeds}.", zh="随机种子：{seeds}。"),
    "runs_caption": Sentence(en="All {n} runs, in numbers", zh="全部 {n} 次训练（数字）"),
    "runs_caption_one": Sentence(en="The {n} run, in numbers", zh="这 {n} 次训练（数字）"),
    "section_noise": Sentence(en="Gradient noise", zh="梯度噪声"),
    "noise_text": Sentence(
        en="The gradient noise scale is the batch size at which the noise of a step equals its signal. "
        "It usually grows as training goes on.",
        zh="梯度噪声尺度是一步中噪声与信号相等时的批次大小。它通常随训练增大。",
    ),
    "noise_which": Sentence(
        en="It was measured along {n} runs; drawn is the one with batch size {batch_size}, "
        "learning rate {rate} and seed {seed}.",
        zh="沿 {n} 次训练测量；画出的是批次大小 {batch_size}、学习率 {rate}、随机种子 {seed} 的那一次。",
    ),
    "noise_which_one": Sentence(
        en="It was measured along {n} run, with batch size {batch_size}, learning rate {rate} and seed {seed}.",
        zh="沿 {n} 次训练测量：批次大小 {batch_size}、学习率 {rate}、随机种子 {seed}。",
    ),
    "noise_silent": Sentence(
        en="At {n} points no signal of the gradient was found above its noise: they are not drawn.",
        zh="有 {n} 个点没有发现高于噪声的梯度信号：没有画出。",
    ),
    "noise_silent_one": Sentence(
        en="At {n} point no signal of the gradient was found above its noise: it is not drawn.",
        zh="有 {n} 个点没有发现高于噪声的梯度信号：没有画出。",
    ),
    "noise_caption": Sentence(en="The noise scale, in numbers", zh="噪声尺度（数字）"),
    "section_trust": Sentence(en="How far to trust this", zh="可以信到什么程度"),
    "trust_weak": Sentence(en="To keep in mind", zh="请注意"),
    "trust_absent": Sentence(en="Not measured", zh="没有测量的"),
    "trust_no_weakness": Sentence(en="No weakness was found in these measurements.", zh="这些测量中没有发现弱点。"),
    "section_again": Sentence(en="To get this again", zh="如何重做"),
    "again_text": Sentence(
        en="The same command with the same seeds trains the same way; times are the machine's own.",
        zh="同样的命令、同样的随机种子会得到同样的训练；时间则取决于机器。",
    ),
    "again_nothing": Sentence(
        en="A run on its own does not hold the command and the machine it was made with.",
        zh="单独的训练记录不包含所用的命令和机器。",
    ),
    "fact_started": Sentence(en="Started (UTC)", zh="开始时间（UTC）"),
    "fact_took": Sentence(en="Took", zh="用时"),
    "fact_seed": Sentence(en="Seed of the command", zh="命令的随机种子"),
    "fact_run_seeds": Sentence(en="Seeds of the runs", zh="训练的随机种子"),
    "fact_processor": Sentence(en="Processor", zh="处理器"),
    "fact_cores": Sentence(en="Cores", zh="核数"),
    "cores_and_threads": Sentence(en="{cores}, threads used: {threads}", zh="{cores}，使用线程：{threads}"),
    "fact_memory": Sentence(en="Memory", zh="内存"),
    "fact_device": Sentence(en="Device", zh="设备"),
    "fact_system": Sentence(en="System", zh="系统"),
}
