"""How the numbers of a study came about."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

STUDY_METHODS = {
    "method_sizes": Sentence(
        en="At each batch size and learning rate the runs of all seeds are taken together; those that ended without "
        "the target count with the steps that were not enough. The best rate is the one with the fewest steps, and "
        "numbers are medians over its seeds.",
        zh="在每个批次大小与学习率下，各随机种子的训练合在一起；没有达到目标就结束的，按不够用的步数计入。"
        "步数最少的学习率为最好，数字是其各种子的中位数。",
    ),
    "method_sizes_interval": Sentence(
        en="Intervals come from drawing the scatter of the seeds again (bootstrap), the choice of the rate included.",
        zh="区间由对种子之间的离散重新抽样（自助法）得到，学习率的选择也包括在内。",
    ),
    "method_usable": Sentence(
        en="A rate is usable if it reaches the target in at most twice the steps of the best one.",
        zh="步数至多是最好学习率两倍的学习率为可用。",
    ),
    "method_regimes": Sentence(
        en="The regimes of Shallue et al. have no borders of their own. Here they follow from the slope of steps "
        "against batch size on logarithmic axes: perfect scaling from 5/6, maximal parallelism up to 1/6, diminishing "
        "returns between. Where the law holds, these are 1/5 and 5 times the critical batch size.",
        zh="Shallue 等人的区段没有明确的界线。这里按对数坐标下步数对批次大小的斜率划分："
        "5/6 以上为完美扩展，1/6 以下为最大并行，两者之间为收益递减。定律成立时，界线是临界批次大小的 1/5 与 5 倍。",
    ),
    "method_trade_off": Sentence(
        en="The law is fitted by likelihood to the logarithm of the steps of the runs at the best rates; runs that "
        "ended without the target enter as bounds. B_crit = E_min / S_min, and S = S_min (1 + B_crit / B). Intervals "
        "are those of the profile likelihood of a wider law, with an exponent and a drift.",
        zh="定律按似然拟合最好学习率下各次训练步数的对数；没有达到目标就结束的训练作为下界计入。"
        "B_crit = E_min / S_min，S = S_min (1 + B_crit / B)。区间取自带指数与漂移的更宽定律的剖面似然。",
    ),
    "method_p_value": Sentence(
        en="The law is said not to hold where the p value is below 0.05 and the misfit is not small. It is said to "
        "hold only where an exponent of 0.8 or 1.25, or a drift of the steps like the batch size to the power 0.1, "
        "would have been noticed in four cases of five.",
        zh="p 值低于 0.05 且偏差不小时，说定律不成立。只有当指数为 0.8 或 1.25、或步数按批次大小的 0.1 次方漂移时"
        "五次中有四次会被发现，才说定律成立。",
    ),
    "method_exponent": Sentence(
        en="The exponent is the slope of the best rate against batch size on logarithmic axes. A rule is said to fit "
        "where its exponent lies within the interval: 1 for linear scaling, 0.5 for the square root.",
        zh="指数是对数坐标下最好学习率对批次大小的斜率。规则的指数落在区间内即为符合：线性缩放为 1，平方根为 0.5。",
    ),
    "method_budgets": Sentence(
        en="Each batch size is read where it has spent the budget, between the evaluations before and after. Tuned: "
        "the rate that validates best there, by {metric}, or by loss where the target is one. One for all: the rate "
        "tried at the most batch sizes that is best at the smallest of them.",
        zh="每个批次大小在用完预算之处读取，在前后两次评估之间插值。调过：该处验证集{metric}（目标为损失时按损失）最好的学习率。"
        "共用：在最多批次大小上试过的学习率中，其最小批次处最好的一个。",
    ),
    "method_budgets_seeds": Sentence(
        en="Values are means over the seeds, bars their intervals. One batch size is called worse than another only "
        "where the two intervals do not overlap.",
        zh="数值是各随机种子的平均，竖线是区间。只有两个区间不重叠时，才说一个批次大小比另一个差。",
    ),
    "method_training_metric": Sentence(
        en="Training values are taken in evaluation mode, at the same weights, on a fixed sample of the training set.",
        zh="训练集的数值在评估模式下、同一组权重上、取训练集的固定抽样测得。",
    ),
    "method_prediction": Sentence(
        en="The intervals of the predictions hold the scatter of one run and what is not known of the law.",
        zh="预测的区间包含单次训练的离散，以及对定律所不知道的部分。",
    ),
}
