"""How each number was made, and the words used: shown on demand."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

METHODS = {
    "method_time": Sentence(
        en="Time to target is steps to target times time per step; evaluation is not in it.",
        zh="达到目标的时间等于达到目标的步数乘以每步时间；不含评估。",
    ),
    "method_crossing": Sentence(
        en="A run is evaluated on the validation set now and then; the step at which it came to its target is "
        "interpolated between the evaluations before and after.",
        zh="训练中不时在验证集上评估；达到目标的那一步由前后两次评估插值得到。",
    ),
    "method_between": Sentence(
        en="Steps at sizes without a run follow from a law with few numbers, fitted to all runs.",
        zh="没有训练过的批次大小，其步数来自对所有训练拟合的定律。",
    ),
    "method_median": Sentence(
        en="The number is the median over the seeds that reached the target; a setting counts if most seeds did.",
        zh="数字是达到目标的随机种子的中位数；多数种子达到目标的设置才计入。",
    ),
    "method_step": Sentence(
        en="Whole training steps are timed at each batch size, after some that are not counted. "
        "The number is the median, its interval that of the median. Evaluation and compilation are not in it.",
        zh="每个批次大小先预热若干步，再为完整的训练步计时。数字是中位数，区间是中位数的区间。不含评估与编译。",
    ),
    "method_epoch": Sentence(
        en="Time per epoch is time per step times the {examples} training examples, divided by the batch size.",
        zh="每周期时间等于每步时间乘以 {examples} 个训练样本，再除以批次大小。",
    ),
    "method_memory": Sentence(
        en="Peak memory is what tensors hold at the peak of a step, the data set left out.",
        zh="内存峰值是一步之中张量占用的最大内存，不含数据集。",
    ),
    "method_fit": Sentence(
        en="The dashed line is {fixed} a step and {each} an example; the point that it misses most is off by {miss}.",
        zh="虚线是每步 {fixed} 加每个样本 {each}；偏离最大的点相差 {miss}。",
    ),
    "method_accuracy": Sentence(
        en="Metrics are taken in evaluation mode at the same weights, training ones on a fixed sample "
        "of the training set, and interpolated between evaluations. Bars go from the lowest to the highest seed.",
        zh="指标在评估模式下、同一组权重上测得，训练集指标取自训练集的固定抽样，并在两次评估之间插值。竖线是各随机种子的最低至最高值。",
    ),
    "method_equal_epochs": Sentence(
        en="Equal epochs favour small batches, equal steps favour large ones: neither is the one fair budget.",
        zh="相同周期数有利于小批次，相同步数有利于大批次：两者都不是唯一公平的预算。",
    ),
    "method_censored": Sentence(
        en="A run that ended before its target says that more steps are needed than it made: it is kept as such.",
        zh="未达到目标就结束的训练说明需要的步数比它走过的更多：就按此计入。",
    ),
    "method_law": Sentence(
        en="S(B) = S_min (1 + B_noise / B), at the best learning rate of each batch size. Runs are typically off by "
        "{miss}.",
        zh="S(B) = S_min (1 + B_noise / B)，各批次大小取最好的学习率。训练通常与它相差 {miss}。",
    ),
    "method_rate": Sentence(
        en="The line is rate / (1 + B_noise / B)^a, with rate = {rate} and a = {exponent}. "
        "Near 1, a means that the rate grows in proportion to a small batch; near 0.5, like its square root.",
        zh="曲线是 rate / (1 + B_noise / B)^a，其中 rate = {rate}，a = {exponent}。"
        "a 接近 1 表示小批次时学习率与批次大小成正比；接近 0.5 表示与其平方根成正比。",
    ),
    "method_curves": Sentence(
        en="Curves show evaluations only; training goes on between them. Evaluation is not counted as training time.",
        zh="曲线只显示各次评估；评估之间训练照常进行。评估不计入训练时间。",
    ),
    "method_noise": Sentence(
        en="The squared norm of the gradient over a part of the batch and over the whole give signal and noise without "
        "bias; the noise scale is their ratio.",
        zh="由部分批次与整个批次的梯度平方范数可无偏地得到信号与噪声；噪声尺度是两者之比。",
    ),
    "method_noise_interval": Sentence(
        en="Norms are averaged over several steps before the ratio is taken; the interval comes from their spread.",
        zh="先在若干步上平均这些范数，再取比值；区间来自它们的离散程度。",
    ),
    "method_interval": Sentence(
        en="An interval is a range that the true value should lie in as often as its level says, if the method fits.",
        zh="区间是在方法适用时，真值以所标水平的频率落入的范围。",
    ),
    "method_n": Sentence(
        en="n is how many measurements stand behind a number: runs, timed steps or pairs of gradients.",
        zh="n 是数字背后的测量次数：训练、计时的步或梯度对。",
    ),
    "words_interval": Sentence(en="What an interval and n mean", zh="区间与 n 的含义"),
    "words_used": Sentence(en="The words used here", zh="本页用语"),
    "word_batch": Sentence(
        en="Batch size: how many examples are used for one step.", zh="批次大小：一步所用的样本数。"
    ),
    "word_step": Sentence(
        en="Step: one change of the weights, made with one batch.", zh="一步：用一个批次更新一次参数。"
    ),
    "word_epoch": Sentence(en="Epoch: all training examples seen once.", zh="周期（epoch）：所有训练样本看过一遍。"),
    "word_target": Sentence(
        en="Target: the value on the validation set that training is to reach.", zh="目标：训练要在验证集上达到的值。"
    ),
    "word_noise": Sentence(
        en="Noise: how much the gradient of one batch differs from that of all the data.",
        zh="噪声：一个批次的梯度与全部数据的梯度相差多少。",
    ),
}
