"""What is said of a clock that other work on the machine disturbed."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

CLOCK = {
    "warning": Sentence(en="Warning: {sentence}", zh="警告：{sentence}"),
    "clock_swings": Sentence(
        en="the machine was busy while steps were timed, and times that should agree differ by a factor of {swing}: "
        "intervals are that much wider.",
        zh="计时的时候机器很忙，本应一致的时间相差 {swing} 倍：区间因此放宽了同样的倍数。",
    ),
    "clock_may_be_off": Sentence(
        en="the machine was busy while steps were timed. The times agree with each other, and intervals are wider by a "
        "factor of {swing}.",
        zh="计时的时候机器很忙。各次时间彼此一致，区间放宽了 {swing} 倍。",
    ),
    "clock_share": Sentence(
        en="For {share} of the time in which a step could run, the processor did other work.",
        zh="在一步可以运行的时间里，处理器有 {share} 在做别的事。",
    ),
    "clock_again": Sentence(
        en="Give the command again when nothing else runs here: what was learned is kept, and the clock is taken anew.",
        zh="请在机器空闲时再执行同一命令：已有的结果会保留，只重新计时。",
    ),
    "unanswered_clock": Sentence(
        en="The machine was too busy for its clock: times of a step that should agree differ by a factor of {swing}, "
        "so batch sizes cannot be ranked.",
        zh="机器太忙，计时不可信：本应一致的每步时间相差 {swing} 倍，因此无法比较批次大小。",
    ),
    "unanswered_clock_help": Sentence(
        en="The runs are kept: the same command, when nothing else runs on this machine, only takes the clock anew.",
        zh="训练结果已保留：机器空闲时再执行同一命令，只需重新计时。",
    ),
    "advice_near_busy": Sentence(
        en="By times as unsure as these, any batch size from {low} to {high} may come within 10 % of the shortest.",
        zh="时间如此不准，从 {low} 到 {high} 的任何批次大小都可能与最短时间相差在 10 % 以内。",
    ),
}

CLOCK_REASONS = {
    "clock_visits": Sentence(
        en="A step of one batch size took much longer at one moment than at another: the machine had other work.",
        zh="同一批次大小的一步在不同时刻用时相差很大：机器当时还有别的工作。",
    ),
    "clock_steps": Sentence(
        en="Steps of one batch size, timed one after the other, took very different times.",
        zh="同一批次大小连续计时的各步，用时相差很大。",
    ),
    "clock_sizes": Sentence(
        en="A batch size took longer than its neighbours allow, also when it was timed again: either the machine had "
        "other work, or this size is slow here.",
        zh="某个批次大小的用时超出相邻大小所允许的范围，重新计时也是如此：要么机器有别的工作，要么这个大小在这里确实慢。",
    ),
    "clock_waited": Sentence(
        en="The system says that the processor did other work while steps were timed.",
        zh="系统记录显示，计时期间处理器在做别的工作。",
    ),
    "clock_runs": Sentence(
        en="Steps of the training runs took another time than the steps that were timed.",
        zh="训练中每步的用时与计时得到的不同。",
    ),
    "clock_unusable": Sentence(
        en="The clock swings too far to rank batch sizes.",
        zh="计时波动太大，无法给批次大小排序。",
    ),
}
