"""What to keep in mind with an analysis of many runs: the reasons that `predict/` gives."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

STUDY_REASONS = {
    "all_perfect_scaling": Sentence(
        en="Up to the largest of these batch sizes the law sees no end of perfect scaling: the critical batch size has "
        "no upper bound, and the least number of steps no lower one.",
        zh="直到这些批次大小中最大的一个，定律都看不到完美扩展的尽头：临界批次大小没有上界，最少步数没有下界。",
    ),
    "no_perfect_scaling": Sentence(
        en="Even at the smallest of these batch sizes a larger one saves hardly a step: the critical batch size and "
        "the least number of examples have no lower bound.",
        zh="即使在这些批次大小中最小的一个，加大批次也几乎不减少步数：临界批次大小与最少样本数没有下界。",
    ),
    "too_few_points": Sentence(
        en="There are too few points, or they scatter too much, to say.", zh="点太少，或离散太大，无法判断。"
    ),
    "little_power": Sentence(
        en="There are not enough points to tell whether the law holds: they would look much the same with an "
        "exponent of 0.8 or 1.25 in place of 1, or with steps that drift like the batch size to the power 0.1. Repeat "
        "sizes with more seeds, or try sizes further apart.",
        zh="点不够，无法判断定律是否成立：指数是 0.8 或 1.25 而不是 1，或步数按批次大小的 0.1 次方漂移，"
        "这些点看起来都差不多。"
        "请用更多随机种子重复，或试相距更远的大小。",
    ),
    "rounded_repeats": Sentence(
        en="Repeated runs came to the target after the same number of steps or epochs, as results do that are rounded "
        "to the interval of evaluation: they count as one point for each batch size, and the rounding as the least "
        "scatter.",
        zh="重复的训练用了同样的步数或周期数达到目标，像是按评估间隔取整的结果：每个批次大小只算一个点，"
        "取整的误差作为最小的离散。",
    ),
    "steps_rise": Sentence(
        en="Steps to the target rise with the batch size, which the law does not allow: "
        "is the learning rate tuned at every size?",
        zh="达到目标的步数随批次增大而增加，这是定律所不允许的：每个大小都调过学习率吗？",
    ),
    "examples_fall": Sentence(
        en="Examples to the target fall as the batch size grows, which the law does not allow: "
        "is the learning rate tuned at the small sizes?",
        zh="达到目标的样本数随批次增大而减少，这是定律所不允许的：小批次调过学习率吗？",
    ),
    "wide_scatter": Sentence(
        en="The points scatter around the law by more than runs that differ by their seed alone do.",
        zh="各点围绕定律的离散比只有随机种子不同的训练更大。",
    ),
    "small_misfit": Sentence(
        en="Repeated runs show that the law is not exact here, but it misses the batch sizes by less than 5 %.",
        zh="重复的训练表明定律在这里并不精确，但与各批次大小的偏差不到 5 %。",
    ),
    "constant_budget": Sentence(
        en="All batch sizes took the same number of epochs, as with a fixed budget: that tells what was spent, not "
        "what was needed, so neither the law nor its critical batch size can be read from it.",
        zh="所有批次大小用了同样的周期数，像是固定的预算：这只说明用了多少，而不是需要多少，"
        "因此读不出定律，也读不出临界批次大小。",
    ),
    "few_sizes": Sentence(
        en="Fewer than three batch sizes came to the target: no law can be fitted.",
        zh="达到目标的批次大小不足三个：无法拟合定律。",
    ),
    "censored_sizes": Sentence(
        en="Some batch sizes did not come to the target in the steps they had: for them only a bound is known.",
        zh="有些批次大小在走过的步数内没有达到目标：对它们只知道一个下界。",
    ),
}
