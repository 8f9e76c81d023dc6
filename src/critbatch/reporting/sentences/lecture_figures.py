"""Titles, descriptions, axes and legends of the lecture's pictures."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE_FIGURES = {
    "title_lecture": Sentence(
        en="{n} claims: {held} held, {not_held} not held, {undecided} undecided",
        zh="{n} 条主张：{held} 条成立，{not_held} 条不成立，{undecided} 条未定",
    ),
    "alt_lecture": Sentence(
        en="A row for each of {n} claims with the effects that decide it and their intervals: {held} held, {not_held} "
        "not held, {undecided} undecided.",
        zh="{n} 条主张每条一行，标出决定它的效应及区间：{held} 条成立，{not_held} 条不成立，{undecided} 条未定。",
    ),
    "lecture_overview_note": Sentence(
        en="The dotted line is no effect; what the lecture claims lies to its right. A claim that is only true or "
        "false has a sign and no mark.",
        zh="虚线表示无效应；讲义的主张在其右侧。只有真假之分的主张只有符号，没有标记。",
    ),
    "alt_effects": Sentence(
        en="{n} effects with their intervals beside the line of no effect.",
        zh="{n} 个效应及其区间，旁边是表示无效应的线。",
    ),
    "axis_ratio": Sentence(en="Ratio (1: no effect)", zh="比值（1 表示无效应）"),
    "axis_difference": Sentence(en="Difference (0: no effect)", zh="差（0 表示无效应）"),
    "axis_claim": Sentence(en="Claim", zh="主张"),
    "title_partition": Sentence(
        en="Examples {order}: {epochs} epochs of {examples} examples in {n} batches",
        zh="样本{order}：{examples} 个样本，{n} 个批次，{epochs} 个周期",
    ),
    "alt_partition": Sentence(
        en="A row for each of {epochs} epochs, a column for each of {examples} examples; a cell names the batch, of "
        "{n}, that holds the example. Examples are {order}.",
        zh="{epochs} 个周期各一行，{examples} 个样本各一列；格内是该样本所在的批次，共 {n} 个。样本{order}。",
    ),
    "axis_example": Sentence(en="Example", zh="样本"),
    "axis_epoch": Sentence(en="Epoch", zh="周期"),
    "hover_batches_of": Sentence(
        en="epoch {epoch}, example {example}: batch {batches}", zh="第 {epoch} 个周期，样本 {example}：批次 {batches}"
    ),
    "title_orders": Sentence(en="What other orders cost in steps to the target", zh="其他顺序达到目标要多用多少步"),
    "title_paths": Sentence(
        en="One epoch with batch size {large} is {few} steady step, with {small} it is {many} unsteady ones",
        zh="一个周期：批次大小 {large} 稳稳走 {few} 步，批次大小 {small} 不稳地走 {many} 步",
    ),
    "alt_paths": Sentence(
        en="Contours of the loss over two weights with two paths from one start: {few} update with batch size "
        "{large}, {many} updates with batch size {small}.",
        zh="两个参数上损失的等高线，以及从同一起点出发的两条路径：批次大小 {large} 更新 {few} 次，批次大小 {small} 更"
        "新 {many} 次。",
    ),
    "axis_weight": Sentence(en="Weight: {name}", zh="参数：{name}"),
    "legend_start": Sentence(en="start", zh="起点"),
    "legend_path": Sentence(
        en="batch size {batch_size}: {updates} updates", zh="批次大小 {batch_size}：{updates} 次更新"
    ),
    "legend_path_one": Sentence(
        en="batch size {batch_size}: {updates} update", zh="批次大小 {batch_size}：{updates} 次更新"
    ),
    "hover_update": Sentence(en="after update {update} of {updates}", zh="第 {update} 次更新之后，共 {updates} 次"),
    "hover_loss_of_path": Sentence(en="loss over all examples {loss}", zh="全部样本上的损失 {loss}"),
    "title_spread": Sentence(
        en="Directions of steps spread by {first} at batch size {low} and by {last} at {high}",
        zh="步的方向的分散程度：批次大小 {low} 时为 {first}，{high} 时为 {last}",
    ),
    "alt_spread": Sentence(
        en="Spread of the directions of steps against batch size: {first} at {low}, {last} at {high}.",
        zh="步的方向的分散程度随批次大小的变化：{low} 时 {first}，{high} 时 {last}。",
    ),
    "axis_spread": Sentence(en="Spread of directions (0 to 1)", zh="方向的分散程度（0 到 1）"),
    "hover_spread": Sentence(en="spread {spread}", zh="分散程度 {spread}"),
    "hover_loss_left": Sentence(
        en="loss after one epoch, over that before it: {loss}", zh="一个周期之后与之前的损失之比：{loss}"
    ),
    "title_update_linear": Sentence(
        en="An update takes {first} at batch size {low} and {last} at {high}",
        zh="一次更新：批次大小 {low} 用 {first}，{high} 用 {last}",
    ),
    "title_epoch_linear": Sentence(
        en="An epoch takes {first} at batch size {low} and {last} at {high}",
        zh="一个周期：批次大小 {low} 用 {first}，{high} 用 {last}",
    ),
    "title_update_log": Sentence(
        en="The same updates on logarithmic axes: {first} at {low}, {last} at {high}",
        zh="同样的更新，对数坐标：{low} 用 {first}，{high} 用 {last}",
    ),
    "title_epoch_log": Sentence(
        en="The same epochs on logarithmic axes: {first} at {low}, {last} at {high}",
        zh="同样的周期，对数坐标：{low} 用 {first}，{high} 用 {last}",
    ),
    "alt_hardware": Sentence(
        en="Seconds against batch size, one line for each hardware, {n} in all; on the last {first} at {low} and "
        "{last} at {high}.",
        zh="时间随批次大小的变化，每种硬件一条线，共 {n} 条；最后一种在 {low} 时为 {first}，在 {high} 时为 {last}。",
    ),
    "lecture_threads": Sentence(en="{n} threads", zh="{n} 个线程"),
    "lecture_threads_one": Sentence(en="{n} thread", zh="{n} 个线程"),
    "axis_metric_difference": Sentence(
        en="Validation {metric}, small less large batches", zh="验证集{metric}，小批次减大批次"
    ),
    "legend_ours": Sentence(en="here, at equal training", zh="这里，训练得一样好时"),
    "legend_paper": Sentence(en="in the paper, in the end", zh="论文中，训练结束时"),
    "title_networks": Sentence(
        en="Validation {metric} of small less that of large batches, {n} networks",
        zh="小批次与大批次的验证集{metric}之差，{n} 个网络",
    ),
    "alt_networks": Sentence(
        en="A row for each of {n} networks: the difference of validation {metric} with its interval, and the paper's.",
        zh="{n} 个网络各一行：验证集{metric}之差及其区间，以及论文中的差。",
    ),
    "title_recipes": Sentence(
        en="Steps and validation {metric} of {n} recipes at a large batch, beside small batches",
        zh="{n} 种方法在大批次下的步数与验证集{metric}，与小批次对照",
    ),
    "alt_recipes": Sentence(
        en="Validation {metric} against steps to the target, a mark for each of {n} recipes and a star for small "
        "batches.",
        zh="验证集{metric}与达到目标的步数，{n} 种方法各一个标记，小批次为星号。",
    ),
    "lecture_recipe": Sentence(en="{recipe}, batch size {batch_size}", zh="{recipe}，批次大小 {batch_size}"),
    "lecture_recipe_untuned": Sentence(
        en="{recipe}, batch size {batch_size}, rate of the small batch",
        zh="{recipe}，批次大小 {batch_size}，沿用小批次的学习率",
    ),
}
