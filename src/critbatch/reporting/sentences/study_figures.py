"""Titles, axes, legends, hover texts and descriptions of the figures of a study."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

STUDY_FIGURES = {
    "axis_epochs_to_target": Sentence(en="Epochs to target", zh="达到目标的周期（epoch）数"),
    "axis_examples_to_target": Sentence(en="Examples to target ({unit})", zh="达到目标所用样本数（{unit}）"),
    "axis_best_rate": Sentence(en="Best learning rate", zh="最好的学习率"),
    "title_sizes_holds": Sentence(
        en="The law holds, and steps level off beyond a batch size of about {critical}",
        zh="定律成立，批次大小超过约 {critical} 后步数趋于平缓",
    ),
    "title_sizes_nearly": Sentence(
        en="The law holds to within 5 %, and steps level off beyond a batch size of about {critical}",
        zh="定律在 5 % 之内成立，批次大小超过约 {critical} 后步数趋于平缓",
    ),
    "title_sizes_open": Sentence(
        en="By the law, which may hold or not, steps level off beyond a batch size of about {critical}",
        zh="按可能成立也可能不成立的定律，批次大小超过约 {critical} 后步数趋于平缓",
    ),
    "title_sizes_untested": Sentence(
        en="By the law, which could not be tested, steps level off beyond a batch size of about {critical}",
        zh="按未能检验的定律，批次大小超过约 {critical} 后步数趋于平缓",
    ),
    "title_sizes_law_fails": Sentence(
        en="Steps against batch size: the law, dashed, does not hold", zh="步数随批次大小变化：虚线的定律不成立"
    ),
    "title_sizes_epochs": Sentence(
        en="Epochs to target grow beyond a batch size of about {critical}",
        zh="批次大小超过约 {critical} 后，达到目标的周期数增长",
    ),
    "title_sizes": Sentence(
        en="To the target: {first} at batch size {low}, {last} at {high}",
        zh="达到目标：批次大小 {low} 时 {first}，{high} 时 {last}",
    ),
    "title_sizes_none": Sentence(en="No batch size reached the target", zh="没有一个批次大小达到目标"),
    "title_trade_off": Sentence(
        en="Fewer steps cost more examples: both are twice their least at batch size {critical}",
        zh="步数越少，样本越多：在批次大小 {critical} 处两者都是最小值的两倍",
    ),
    "title_trade_off_plain": Sentence(
        en="Steps against examples, one mark a batch size", zh="步数与样本数，每个标记是一个批次大小"
    ),
    "title_rates": Sentence(
        en="The best learning rate grows like the batch size to the power {exponent}",
        zh="最好的学习率按批次大小的 {exponent} 次方增长",
    ),
    "title_claim_everywhere": Sentence(
        en="Larger batches train worse in equal epochs and in equal steps, tuned or not",
        zh="周期数相同或步数相同时，批次越大训练结果都越差，调不调学习率都如此",
    ),
    "title_claim_epochs_only": Sentence(
        en="Larger batches train worse in equal epochs, not in equal steps",
        zh="周期数相同时批次越大训练结果越差，步数相同时不然",
    ),
    "title_claim_epochs": Sentence(
        en="Larger batches train worse in equal epochs, even when tuned",
        zh="周期数相同时批次越大训练结果越差，调过学习率也一样",
    ),
    "title_claim_untuned": Sentence(
        en="Larger batches train worse with one learning rate for all, not when it is tuned",
        zh="共用一个学习率时批次越大训练结果越差，各自调过则不然",
    ),
    "title_claim_never": Sentence(
        en="Larger batches do not train worse in equal epochs, tuned or not",
        zh="周期数相同时批次越大训练结果并不更差，调不调学习率都如此",
    ),
    "title_claim_tuned_never": Sentence(
        en="Tuned, larger batches do not train worse in equal epochs",
        zh="调过学习率后，周期数相同时批次越大训练结果并不更差",
    ),
    "title_claim_open": Sentence(
        en="Batch size and {metric}: no difference can be told", zh="批次大小与{metric}：看不出差别"
    ),
    "panel_epochs": Sentence(en="Equal epochs: {amount}", zh="周期数相同：{amount}"),
    "panel_steps": Sentence(en="Equal steps: {amount}", zh="步数相同：{amount}"),
    "panel_seconds": Sentence(en="Equal training time: {amount}", zh="训练时间相同：{amount}"),
    "legend_steps_of_sizes": Sentence(en="best rate of each size", zh="各大小的最好学习率"),
    "legend_runs_at_best": Sentence(en="single runs", zh="单次训练"),
    "legend_bound": Sentence(en="not reached: more are needed", zh="没有达到：需要更多"),
    "legend_perfect_line": Sentence(en="half the steps for twice the batch", zh="批次加倍，步数减半"),
    "legend_level_line": Sentence(en="the same epochs at every size", zh="各大小周期数相同"),
    "legend_law_holds": Sentence(en="law", zh="定律"),
    "legend_law_nearly": Sentence(en="law, within 5 %", zh="定律（5 % 之内）"),
    "legend_law_open": Sentence(en="law, which may hold or not", zh="定律（未定是否成立）"),
    "legend_law_fails": Sentence(en="law, which does not hold", zh="定律（不成立）"),
    "legend_law_untested": Sentence(en="law, not tested", zh="定律（未检验）"),
    "legend_critical": Sentence(en="critical batch size {critical}", zh="临界批次大小 {critical}"),
    "legend_from_law": Sentence(en="predicted by the law", zh="按定律预测"),
    "legend_least": Sentence(en="least steps, least examples", zh="最少步数、最少样本数"),
    "legend_usable": Sentence(en="usable: at most twice the steps", zh="可用：步数至多两倍"),
    "legend_linear": Sentence(en="linear", zh="线性"),
    "legend_square_root": Sentence(en="square root", zh="平方根"),
    "legend_power": Sentence(en="power {exponent}", zh="{exponent} 次方"),
    "legend_rate_at_edge": Sentence(en="at the edge of the rates tried", zh="位于试过的学习率边缘"),
    "legend_train_tuned": Sentence(en="training {metric}, rate tuned", zh="训练集{metric}，调过学习率"),
    "legend_train_fixed": Sentence(en="training {metric}, one rate for all", zh="训练集{metric}，共用学习率"),
    "legend_validation_tuned": Sentence(en="validation {metric}, rate tuned", zh="验证集{metric}，调过学习率"),
    "legend_validation_fixed": Sentence(en="validation {metric}, one rate for all", zh="验证集{metric}，共用学习率"),
    "regime_perfect_scaling": Sentence(en="perfect scaling", zh="完美扩展"),
    "regime_diminishing_returns": Sentence(en="diminishing returns", zh="收益递减"),
    "regime_maximal_parallelism": Sentence(en="maximal parallelism", zh="最大并行"),
    "hover_examples": Sentence(en="Examples to target: {examples}", zh="达到目标所用样本数：{examples}"),
    "hover_epochs_to_target": Sentence(en="Epochs to target: {epochs}", zh="达到目标的周期数：{epochs}"),
    "hover_at_best_rate": Sentence(en="Best learning rate: {rate}", zh="最好的学习率：{rate}"),
    "hover_options": Sentence(en="With {options}", zh="选项：{options}"),
    "hover_seeds_reached": Sentence(
        en="{reached} of {n} runs at this rate reached it", zh="此学习率的 {n} 次训练中 {reached} 次达到"
    ),
    "hover_bound": Sentence(en="Not reached within {steps} steps", zh="{steps} 步之内没有达到"),
    "hover_point_reached": Sentence(en="Reached after {amount}", zh="{amount} 后达到"),
    "hover_point_missed": Sentence(en="Not reached by {amount}", zh="到 {amount} 仍未达到"),
    "hover_seed": Sentence(en="Seed {seed}", zh="随机种子 {seed}"),
    "hover_regime": Sentence(en="Regime: {regime}", zh="区段：{regime}"),
    "hover_prediction": Sentence(en="By the law: {value} ({interval})", zh="按定律：{value}（{interval}）"),
    "hover_usable": Sentence(en="Usable from {span}", zh="可用范围：{span}"),
    "hover_edge": Sentence(
        en="No smaller or no larger rate was tried: a better one may lie beyond",
        zh="没有试过更小或更大的学习率：范围之外可能还有更好的",
    ),
    "hover_value": Sentence(en="{name}: {value}", zh="{name}：{value}"),
    "hover_failed": Sentence(
        en="{n} runs at this rate failed and are left out", zh="此学习率有 {n} 次训练失败，未计入"
    ),
    "hover_failed_one": Sentence(
        en="{n} run at this rate failed and is left out", zh="此学习率有 {n} 次训练失败，未计入"
    ),
    "hover_stopped_early": Sentence(
        en="Ended early after {steps} steps, {epochs} epochs, {seconds}",
        zh="{steps} 步、{epochs} 个周期、{seconds}后提前结束",
    ),
    "amount_steps": Sentence(en="{value} steps", zh="{value} 步"),
    "amount_epochs": Sentence(en="{value} epochs", zh="{value} 个周期"),
    "alt_sizes": Sentence(
        en="Chart of what it takes to reach the target at {n} batch sizes, on logarithmic axes: {first} at {low}, "
        "{last} at {high}; {missed} more did not reach it.",
        zh="{n} 个批次大小达到目标所需的对数坐标图：{low} 时 {first}，{high} 时 {last}；另有 {missed} 个没有达到。",
    ),
    "alt_sizes_none": Sentence(
        en="Chart of the steps after which {n} batch sizes had not reached the target.",
        zh="{n} 个批次大小走过多少步仍未达到目标的图。",
    ),
    "alt_trade_off": Sentence(
        en="Chart of steps against examples, on logarithmic axes, for batch sizes {low} to {high}.",
        zh="步数与样本数的对数坐标图，批次大小 {low} 至 {high}。",
    ),
    "alt_rates": Sentence(
        en="Chart of the best learning rate with its usable range, on logarithmic axes: {first} at batch size {low}, "
        "{last} at {high}.",
        zh="最好的学习率及其可用范围的对数坐标图：批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_budgets": Sentence(
        en="Charts of training and validation {metric} for batch sizes {low} to {high}, one for each thing that is "
        "held equal; tuned rates are solid, one rate for all dashed.",
        zh="批次大小 {low} 至 {high} 的训练集与验证集{metric}图，每种相同的量一幅；实线调过学习率，虚线共用学习率。",
    ),
}
