"""Why a claim of the lecture is undecided, or was not measured."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE_REASONS = {
    "many_claims": Sentence(
        en="Many statements are judged, each by an interval of its own: a few may be judged wrongly by chance alone.",
        zh="判定的陈述很多，各用自己的区间：仅因偶然，其中可能有几条判定有误。",
    ),
    "lecture_one_seed": Sentence(
        en="One seed only was run, so that there is no interval: more seeds would decide it.",
        zh="只用了一个随机种子，因此没有区间：更多种子可以给出判定。",
    ),
    "lecture_wide": Sentence(
        en="The interval is too wide to tell an effect from none: more seeds would make it narrower.",
        zh="区间太宽，分不清有无效应：更多随机种子会使它变窄。",
    ),
    "lecture_not_stuck": Sentence(
        en="From most starts the full batch went on by itself: descent was not stuck there, so the experiment does not "
        "test the claim.",
        zh="从多数起点出发，全批次自己就能继续下降：训练并没有卡住，因此这个实验没有检验该主张。",
    ),
    "lecture_recipe_failed": Sentence(
        en="A recipe could not be run on this task at the large batch size: it has no row.",
        zh="有一个方法无法在这个任务上以大批次运行：表中没有它。",
    ),
    "lecture_not_asked": Sentence(
        en="This part was not asked for, so that nothing was measured.", zh="没有要求测量这一部分，因此没有结果。"
    ),
    "lecture_no_time": Sentence(
        en="The time ran out before this part: with more time it would be measured.",
        zh="时间在这一部分之前用完：给更多时间就会测量它。",
    ),
    "lecture_no_data": Sentence(
        en="The data of a network are not on this machine: `critbatch tasks` says where they are looked for.",
        zh="某个网络的数据不在这台机器上：`critbatch tasks` 会说明在哪里寻找。",
    ),
    "lecture_cannot_vectorize": Sentence(
        en="Many starts of this model cannot be trained at once, so how often it gets on was not counted.",
        zh="这个模型不能同时训练许多起点，因此没有统计它有多少次继续前进。",
    ),
    "lecture_not_reached": Sentence(
        en="Too few runs came to the target to compare them: an easier target or longer runs would help.",
        zh="达到目标的训练太少，无法比较：更容易的目标或更长的训练会有帮助。",
    ),
    "lecture_no_small": Sentence(
        en="Nothing was measured at one of the two batch sizes, so they cannot be compared.",
        zh="两个批次大小之一没有测量结果，无法比较。",
    ),
}
