"""Headings and paragraphs of the chapters of a study and of a fit."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

STUDY_SECTIONS = {
    "section_sizes": Sentence(en="Each batch size at its best", zh="每个批次大小的最好结果"),
    "sizes_text": Sentence(
        en="Each row is a batch size with the learning rate that reaches the target in the fewest steps there.",
        zh="每一行是一个批次大小，以及在该大小下用最少步数达到目标的学习率。",
    ),
    "sizes_text_plain": Sentence(
        en="Each row is a batch size, all its points taken together.", zh="每一行是一个批次大小，其各点合在一起。"
    ),
    "sizes_caption": Sentence(en="Batch sizes at their best", zh="各批次大小的最好结果"),
    "sizes_left_out": Sentence(
        en="Table and figures show {shown} of {total} batch sizes, evenly spread; the record has all.",
        zh="表与图中均匀地取 {total} 个批次大小中的 {shown} 个；记录里有全部。",
    ),
    "sizes_bound": Sentence(en="more than {steps}", zh="超过 {steps}"),
    "sizes_missed": Sentence(en="not reached", zh="没有达到"),
    "sizes_at_edge": Sentence(en="edge", zh="边缘"),
    "sizes_usable": Sentence(
        en="Beneath a rate stands its usable range: from where to where a run takes at most twice the steps.",
        zh="学习率下方是可用范围：在此范围内步数至多两倍。",
    ),
    "column_best_rate": Sentence(en="Best rate", zh="最好的学习率"),
    "column_options": Sentence(en="Settings", zh="设置"),
    "column_examples": Sentence(en="Examples", zh="样本数"),
    "column_regime": Sentence(en="Regime", zh="区段"),
    "column_reached": Sentence(en="Reached it", zh="达到"),
    "rates_tried": Sentence(en="{n} rates", zh="{n} 个学习率"),
    "rates_tried_one": Sentence(en="{n} rate", zh="{n} 个学习率"),
    "of_seeds": Sentence(en="{reached} of {runs}", zh="{reached} / {runs}"),
    "section_law": Sentence(en="Steps against examples: the law", zh="步数与样本数：定律"),
    "law_meaning": Sentence(
        en="However large the batch, S_min steps are needed; however small, E_min examples. In between one is paid for "
        "with the other. Here S_min is {steps} and E_min is {examples}.",
        zh="无论批次多大，至少需要 S_min 步；无论批次多小，至少需要 E_min 个样本；两者之间，一个换另一个。"
        "这里 S_min 为 {steps}，E_min 为 {examples}。",
    ),
    "law_meaning_epochs": Sentence(
        en="However small the batch, E_min is needed; at the critical batch size it is twice as much. Here E_min is "
        "{epochs} epochs.",
        zh="无论批次多小，至少需要 E_min；在临界批次大小处需要两倍。这里 E_min 为 {epochs} 个周期。",
    ),
    "law_test_holds": Sentence(
        en="The law holds, as far as these runs can tell: by scatter alone, a misfit as large as the one seen comes "
        "with probability {p}. The test: {test}.",
        zh="就这些训练所能判断的，定律成立：仅由离散造成如此大的偏差，概率为 {p}。检验方法：{test}。",
    ),
    "law_test_fails": Sentence(
        en="The law does not hold: by scatter alone, a misfit as large as the one seen comes with probability {p} "
        "only. Trust the sizes that were run, not the curve between them. The test: {test}.",
        zh="定律不成立：仅由离散造成如此大的偏差，概率只有 {p}。"
        "请相信跑过的批次大小，而不是它们之间的曲线。检验方法：{test}。",
    ),
    "law_test_open": Sentence(
        en="Nothing here speaks against the law: by scatter alone, a misfit as large as the one seen comes with "
        "probability {p}. That does not show that it holds.",
        zh="这里没有不利于定律的证据：仅由离散造成如此大的偏差，概率为 {p}。这并不表明定律成立。",
    ),
    "law_exponent": Sentence(
        en="With a free exponent, S = S_min (1 + (B_crit/B)^a), and steps that may drift with the batch size, a is "
        "{exponent}; by the law it is 1. The intervals here allow for both.",
        zh="若指数可变，S = S_min (1 + (B_crit/B)^a)，且步数可随批次大小漂移，则 a 为 {exponent}；按定律为 1。"
        "这里的区间已把两者都考虑在内。",
    ),
    "law_if_exact": Sentence(
        en="Were the law exact, the critical batch size would be {critical}.",
        zh="假如定律完全精确，临界批次大小为 {critical}。",
    ),
    "law_test_none": Sentence(en="Whether the law holds could not be tested.", zh="定律是否成立无法检验。"),
    "law_says_no": Sentence(
        en="The law is not to be used here. Trust the sizes that were run, not the curve between them.",
        zh="这里不应使用这一定律。请相信跑过的批次大小，而不是它们之间的曲线。",
    ),
    "test_lack_of_fit": Sentence(
        en="lack of fit of the sizes against the scatter of repeated runs at one size",
        zh="各大小的失拟与同一大小重复训练的离散相比",
    ),
    "test_bend": Sentence(
        en="whether a law with one more number, which bends in another way, fits better than chance allows",
        zh="多一个数、以别的方式弯曲的定律是否拟合得比偶然更好",
    ),
    "law_scatter": Sentence(
        en="Runs typically lie {scatter} above or below the law.", zh="训练通常比定律高或低 {scatter}。"
    ),
    "law_nothing": Sentence(
        en="Fewer than three batch sizes reached the target: no law can be fitted through them.",
        zh="达到目标的批次大小不足三个：无法拟合定律。",
    ),
    "rates_text": Sentence(
        en="At each batch size the learning rate that took the fewest steps, with the rates that take at most twice as "
        "many. Dotted lines show what the usual rules would give.",
        zh="每个批次大小下步数最少的学习率，以及步数至多两倍的学习率范围。点线是常用规则给出的值。",
    ),
    "rates_sizes": Sentence(
        en="The exponent rests on {n} batch sizes from {low} to {high}; those whose best rate is at the edge of the "
        "rates tried are left out.",
        zh="指数取自 {low} 至 {high} 的 {n} 个批次大小；最好学习率位于试过范围边缘的大小不计入。",
    ),
    "rates_edge": Sentence(
        en="At {n} batch sizes the best rate is the smallest or the largest tried (open marks): a better one may lie "
        "beyond.",
        zh="有 {n} 个批次大小的最好学习率是试过的最小或最大值（空心点）：范围之外可能还有更好的。",
    ),
    "rates_edge_one": Sentence(
        en="At {n} batch size the best rate is the smallest or the largest tried (open mark): a better one may lie "
        "beyond.",
        zh="有 {n} 个批次大小的最好学习率是试过的最小或最大值（空心点）：范围之外可能还有更好的。",
    ),
    "rates_no_law": Sentence(
        en="There are too few batch sizes with a best rate inside those tried to tell how it grows.",
        zh="最好学习率位于试过范围之内的批次大小太少，看不出它如何增长。",
    ),
    "section_budgets": Sentence(en="Batch size and {metric}, three times", zh="批次大小与{metric}，三种比较"),
    "budgets_text": Sentence(
        en="The same runs, compared after equal epochs, equal steps and equal time. Equal epochs favour small batches, "
        "which take more steps; equal steps favour large ones, which see more examples.",
        zh="同样的训练，分别在相同周期数、相同步数、相同时间之后比较。周期数相同有利于步数更多的小批次；"
        "步数相同有利于看过更多样本的大批次。",
    ),
    "budgets_nothing": Sentence(
        en="No two batch sizes have runs that are long enough to be compared.",
        zh="没有两个批次大小的训练长到可以互相比较。",
    ),
    "budgets_not_overfitting": Sentence(
        en="In equal epochs training itself is worse at the largest batch: this is no overfitting, the optimization "
        "falls behind.",
        zh="周期数相同时，最大批次在训练集上本身就更差：这不是过拟合，而是优化落后了。",
    ),
    "budgets_generalization": Sentence(
        en="In equal epochs the largest batch trains as well and still validates worse: that is a generalization gap.",
        zh="周期数相同时，最大批次在训练集上同样好，在验证集上仍然更差：这是泛化差距。",
    ),
    "budgets_failed": Sentence(
        en="At the rates shown {n} runs diverged or ran out of memory: they are left out of the means.",
        zh="图中的学习率下有 {n} 次训练发散或内存不足：未计入平均。",
    ),
    "budgets_failed_one": Sentence(
        en="At the rates shown {n} run diverged or ran out of memory: it is left out of the means.",
        zh="图中的学习率下有 {n} 次训练发散或内存不足：未计入平均。",
    ),
    "budgets_verdicts": Sentence(en="The largest batch size against the smallest", zh="最大批次与最小批次相比"),
    "budgets_caption": Sentence(en="All three comparisons, in numbers", zh="三种比较（数字）"),
    "column_equal": Sentence(en="What is equal", zh="什么相同"),
    "column_rate_kind": Sentence(en="Learning rate", zh="学习率"),
    "column_from_to": Sentence(en="Batch sizes", zh="批次大小"),
    "column_seeds": Sentence(en="Seeds", zh="种子数"),
    "rate_tuned": Sentence(en="tuned at each size", zh="各自调过"),
    "rate_fixed": Sentence(en="one for all", zh="共用一个"),
    "trend_falls": Sentence(en="worse", zh="更差"),
    "trend_rises": Sentence(en="better", zh="更好"),
    "trend_even": Sentence(en="not told apart", zh="分不出高下"),
    "trend_open": Sentence(en="no interval", zh="无区间"),
    "from_to": Sentence(en="{first} → {last}", zh="{first} → {last}"),
    "section_points": Sentence(en="The points that were given", zh="给出的点"),
    "points_text": Sentence(
        en="{n} points: {reached} reached the target, {missed} did not and count as bounds.",
        zh="{n} 个点：{reached} 个达到目标，{missed} 个没有达到，作为下界计入。",
    ),
    "points_text_one": Sentence(
        en="{n} point: {reached} reached the target, {missed} did not and count as bounds.",
        zh="{n} 个点：{reached} 个达到目标，{missed} 个没有达到，作为下界计入。",
    ),
    "points_text_all": Sentence(en="{n} points, all of them at the target.", zh="{n} 个点，全部达到目标。"),
    "points_text_all_one": Sentence(en="{n} point, at the target.", zh="{n} 个点，达到目标。"),
    "points_examples": Sentence(en="The training set holds {examples} examples.", zh="训练集有 {examples} 个样本。"),
    "points_no_examples": Sentence(
        en="The size of the training set is not known: epochs and steps cannot be turned into each other.",
        zh="不知道训练集的大小：周期数与步数无法互相换算。",
    ),
    "points_caption": Sentence(en="All {n} points, in numbers", zh="全部 {n} 个点（数字）"),
    "points_caption_one": Sentence(en="The {n} point, in numbers", zh="这 {n} 个点（数字）"),
    "points_left_out": Sentence(
        en="The table holds the first {shown}; {left} more are in the file.",
        zh="表中是前 {shown} 个；其余 {left} 个在文件里。",
    ),
    "column_state": Sentence(en="Target", zh="目标"),
    "state_reached": Sentence(en="reached", zh="达到"),
    "state_missed": Sentence(en="not reached", zh="没有达到"),
    "column_devices": Sentence(en="Devices", zh="设备数"),
    "section_predictions": Sentence(en="What the law predicts", zh="定律的预测"),
    "predictions_text": Sentence(
        en="What one tuned run at another batch size should take.", zh="在其他批次大小下，一次调好的训练应需要多少。"
    ),
    "predictions_caution": Sentence(
        en="It is not shown that the law holds for these points. The intervals allow for another exponent, not for "
        "steps that turn where no size was run.",
        zh="没有证据表明定律对这些点成立。区间已考虑到别的指数，但没有考虑步数在没有跑过的大小处转折。",
    ),
    "predictions_caption": Sentence(en="Predictions of the law", zh="定律的预测"),
    "column_predicted_steps": Sentence(en="Steps", zh="步数"),
    "column_interval": Sentence(en="Interval", zh="区间"),
    "marks_chosen": Sentence(
        en="Marked are {shown} of {runs} runs, the best at each batch size first.",
        zh="标出 {runs} 次训练中的 {shown} 次，每个批次大小最好的优先。",
    ),
    "runs_left_out": Sentence(
        en="The table holds {shown} runs, the best at each batch size first; {left} more are left out. "
        "`critbatch export` gives all of them.",
        zh="表中有 {shown} 次训练，每个批次大小最好的优先；另外 {left} 次没有列出。`critbatch export` 给出全部。",
    ),
    "column_training": Sentence(en="Training {metric}", zh="训练集{metric}"),
    "column_validation": Sentence(en="Validation {metric}", zh="验证集{metric}"),
    "runs_caption_some": Sentence(en="{shown} of the runs, in numbers", zh="其中 {shown} 次训练（数字）"),
    "outcome_stopped_early": Sentence(en="ended early, others were ahead", zh="提前结束，别的训练领先"),
}
