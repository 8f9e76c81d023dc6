"""Paragraphs, tables and methods of the sections of single claims."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE_SECTIONS = {
    "lecture_batches_text": Sentence(
        en="A column is an example, a row an epoch, and the number and colour of a cell its batch. An empty cell is "
        "an example that was not drawn in that epoch, and + one that was drawn into several batches.",
        zh="每列是一个样本，每行是一个周期，格内的数字与颜色表示它所在的批次。空格表示该周期没有抽到这个样本，+ 表示它"
        "被抽进了多个批次。",
    ),
    "lecture_orders_note": Sentence(
        en="Steps to the target over those with reshuffling, in pairs of one seed.",
        zh="达到目标的步数与重新打乱时之比，按随机种子配对。",
    ),
    "lecture_data_diabetes": Sentence(
        en="a study of diabetes, a patient each", zh="一项糖尿病研究（每个样本是一位病人）"
    ),
    "lecture_weight_slope": Sentence(en="slope", zh="斜率"),
    "lecture_weight_intercept": Sentence(en="intercept", zh="截距"),
    "lecture_paths_text": Sentence(
        en="{n} examples of {data} and two weights, as in the lecture. The paths are those of the first of {draws} "
        "draws; each batch size has the rate that is best for it.",
        zh="与讲义一样：{data} 的 {n} 个样本、两个参数。路径取自 {draws} 次抽取中的第一次；每个批次大小使用对它最好的"
        "学习率。",
    ),
    "lecture_linear": Sentence(
        en="On linear axes, as in the lecture: what is much smaller than the largest looks like nothing.",
        zh="与讲义一样用线性坐标：远小于最大值的看起来像是零。",
    ),
    "lecture_log": Sentence(
        en="The same times on logarithmic axes, where the flat part ends at the knee.",
        zh="同样的时间用对数坐标：平的部分到拐点为止。",
    ),
    "lecture_times_caption": Sentence(en="Seconds by batch size and hardware", zh="各批次大小与硬件的时间"),
    "column_update_on": Sentence(en="Update, {hardware}", zh="一次更新，{hardware}"),
    "column_epoch_on": Sentence(en="Epoch, {hardware}", zh="一个周期，{hardware}"),
    "lecture_summary_text": Sentence(
        en="Every cell is a measurement of this task. The winner is marked; where the two cannot be told apart they "
        "are even.",
        zh="每一格都是这个任务的测量值。胜者有标记；分不出高下时为平手。",
    ),
    "lecture_summary_caption": Sentence(en="Small against large batches", zh="小批次与大批次"),
    "column_row": Sentence(en="What is compared", zh="比较的内容"),
    "column_small": Sentence(en="Small ({batch_size})", zh="小批次（{batch_size}）"),
    "column_large": Sentence(en="Large ({batch_size})", zh="大批次（{batch_size}）"),
    "column_in_lecture": Sentence(en="In the lecture", zh="讲义"),
    "column_agrees": Sentence(en="Agrees", zh="是否一致"),
    "mark_wins": Sentence(en="wins", zh="占优"),
    "mark_even": Sentence(en="even", zh="平手"),
    "lecture_row_update_alone": Sentence(en="Time of one update, one thread", zh="一次更新的时间，单线程"),
    "lecture_row_update_parallel": Sentence(en="Time of one update, parallel hardware", zh="一次更新的时间，并行运算"),
    "lecture_row_epoch": Sentence(en="Time of one epoch", zh="一个周期的时间"),
    "lecture_row_gradient": Sentence(en="Noise over signal of the gradient", zh="梯度的噪声与信号之比"),
    "lecture_row_optimization": Sentence(en="Optimization: training metric", zh="优化：训练集指标"),
    "lecture_row_generalization": Sentence(en="Generalization: validation metric", zh="泛化：验证集指标"),
    "lecture_entry_update_alone": Sentence(en="small is faster", zh="小批次快"),
    "lecture_entry_update_parallel": Sentence(en="the same, if not too large", zh="一样（不太大时）"),
    "lecture_entry_epoch": Sentence(en="large is faster, and wins", zh="大批次快，占优"),
    "lecture_entry_gradient": Sentence(en="small is noisy, large stable", zh="小批次有噪声，大批次稳定"),
    "lecture_entry_optimization": Sentence(en="small is better, and wins", zh="小批次好，占优"),
    "lecture_entry_generalization": Sentence(en="small is better, and wins", zh="小批次好，占优"),
    "lecture_recipes_note": Sentence(
        en="The star is plain training with small batches; to its left are fewer steps, above it a better metric.",
        zh="星号是小批次的普通训练；在它左边步数更少，在它上方指标更好。",
    ),
    "lecture_recipes_caption": Sentence(en="Recipes, and what they bring", zh="各种方法及其效果"),
    "mark_baseline": Sentence(en="baseline", zh="基准"),
    "column_network": Sentence(en="Network", zh="网络"),
    "column_train_small": Sentence(en="Training {metric}, small", zh="训练集{metric}，小批次"),
    "column_train_large": Sentence(en="Training {metric}, large", zh="训练集{metric}，大批次"),
    "column_validation_small": Sentence(en="Validation {metric}, small", zh="验证集{metric}，小批次"),
    "column_validation_large": Sentence(en="Validation {metric}, large", zh="验证集{metric}，大批次"),
    "column_equal_training": Sentence(
        en="Validation, small less large, at equal training", zh="训练一样好时，验证集之差"
    ),
    "lecture_networks_caption": Sentence(en="Keskar's table 2, here and there", zh="Keskar 的表 2：这里与论文"),
    "lecture_networks_note": Sentence(
        en="To the right of the dotted line small batches do better. The paper compares the ends of training, so its "
        "mark is no interval and no equal training.",
        zh="虚线右侧表示小批次更好。论文比较的是训练结束时，因此它的标记没有区间，训练程度也不相同。",
    ),
    "lecture_network_note": Sentence(
        en="{small} against {large}, {examples} of {all} examples",
        zh="{small} 与 {large}，{all} 个样本中的 {examples} 个",
    ),
    "lecture_published": Sentence(en="{mean} ± {deviation}", zh="{mean} ± {deviation}"),
    "lecture_in_paper": Sentence(en="{network} in the paper", zh="论文中的 {network}"),
    "lecture_paper_note": Sentence(
        en="Of the paper: mean and standard deviation of five runs, on all data, with batch size 256 against a tenth "
        "of the training set.",
        zh="论文的数字：在全部数据上训练五次的均值与标准差，批次大小 256 与训练集的十分之一。",
    ),
    "column_epsilon": Sentence(en="ε", zh="ε"),
    "column_sharp_small": Sentence(en="Sharpness, small", zh="尖锐度，小批次"),
    "column_sharp_large": Sentence(en="Sharpness, large", zh="尖锐度，大批次"),
    "column_times_sharper": Sentence(en="Large over small", zh="大批次与小批次之比"),
    "lecture_sharpness_caption": Sentence(en="Keskar's table 3, here and there", zh="Keskar 的表 3：这里与论文"),
    "lecture_sharpness_note": Sentence(
        en="Geometric means over seeds, in the full box; the interval of the ratio stands in the table of what the "
        "claim rests on.",
        zh="完整盒子内对各随机种子的几何平均；比值的区间见主张的依据表。",
    ),
    "lecture_of_task": Sentence(en="Task: {task}.", zh="任务：{task}。"),
    "lecture_method_batches": Sentence(
        en="The batches are those that training would take: an order is a function of the seed and the epoch alone. "
        "Every order has the same rate, seeds and target.",
        zh="这里的批次就是训练会用的批次：顺序只由随机种子与周期决定。各种顺序的学习率、种子与目标都相同。",
    ),
    "lecture_method_paths": Sentence(
        en="Spread is 1 less the length of the mean of the unit vectors of single steps at one place: 0 where all "
        "have one direction. It is averaged over draws of the examples.",
        zh="分散程度是 1 减去同一处各单步单位向量平均值的长度：方向全同时为 0；对多次抽取取平均。",
    ),
    "lecture_method_time": Sentence(
        en="An update is timed as a whole, and its number is the median. An epoch is that times the updates that it "
        "takes. Hardware with the least parallel power comes first.",
        zh="对完整的更新计时，取中位数。周期时间是它乘以一个周期的更新次数。并行能力最小的硬件排在最前。",
    ),
    "lecture_method_optimization": Sentence(
        en="At one rate for all, the rate is the best of the smallest batch size. Where it is tuned, each size has "
        "the best of the rates that were tried there.",
        zh="共用的学习率取对最小批次大小最好的。各自调时，每个批次大小取在该处试过的最好的学习率。",
    ),
    "lecture_method_noise": Sentence(
        en="Full batch and small batches go on from the same starts with the same rate and equally many steps; the "
        "interval of a share is exact, that of a difference is made from both.",
        zh="全批次与小批次从相同起点出发，学习率与步数相同；比例的区间是精确的，差的区间由两者得出。",
    ),
    "lecture_method_generalization": Sentence(
        en="Runs of one seed start from the same weights. They are compared where both have come to the same training "
        "metric, the highest that both reach, so that better training is not mistaken for better generalization.",
        zh="同一随机种子的两次训练从相同参数出发。在两者都达到的最高训练集指标处比较，以免把训练得更好误认为泛化更好。",
    ),
    "lecture_method_minima": Sentence(
        en="Ratios are geometric means over pairs of one seed. The claim stands or falls with Keskar's sharpness and "
        "with the rise of the loss on validation data; measures that rescaling leaves alone are told beside it.",
        zh="比值是按随机种子配对的几何平均。主张由 Keskar 尖锐度与验证集上损失的上升决定；不受缩放影响的度量列在一旁。",
    ),
    "lecture_method_summary": Sentence(
        en="Times are those of the timed sizes nearest to small and large. Two are even where the interval of their "
        "ratio or difference holds no effect, or the effect is too small to matter.",
        zh="时间取与小、大批次最接近的测量点。比值或差的区间包含“无效应”，或效应小到没有意义时，为平手。",
    ),
    "lecture_method_choice": Sentence(
        en="The advice is that of `critbatch advise` on the same task; its intervals hold the scatter of runs and of "
        "times.",
        zh="建议与在同一任务上运行 `critbatch advise` 相同；区间包含训练与计时的离散。",
    ),
    "lecture_method_both": Sentence(
        en="Every recipe has its own search of rates at the large batch. One has both if it takes fewer steps and its "
        "validation metric does not fall by more than a small margin.",
        zh="每种方法在大批次下单独搜索学习率。步数更少、且验证集指标的下降不超过一个小的余量时，算作两者兼得。",
    ),
}
