"""What a study tried, and how its runs ended."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

STUDY_ASKED = {
    "section_asked": Sentence(en="What was tried", zh="试了什么"),
    "asked_text": Sentence(
        en="Every batch size was trained with several learning rates, so that each is shown at its best.",
        zh="每个批次大小都用多个学习率训练过，因此各自以最好的状态出现。",
    ),
    "asked_sizes": Sentence(en="Batch sizes", zh="批次大小"),
    "asked_rates": Sentence(en="Learning rates", zh="学习率"),
    "asked_seeds": Sentence(en="Seeds", zh="随机种子"),
    "asked_length": Sentence(en="Length of a run", zh="一次训练的长度"),
    "asked_longest": Sentence(en="the longest of: {lengths}", zh="以下各项中最长的：{lengths}"),
    "asked_target": Sentence(en="Target", zh="目标"),
    "asked_no_target": Sentence(en="none: runs go to their end", zh="没有：训练都走到最后"),
    "asked_at_target": Sentence(en="At the target", zh="达到目标时"),
    "asked_ends": Sentence(en="a run ends", zh="训练结束"),
    "asked_goes_on": Sentence(en="a run goes on", zh="训练继续"),
    "asked_stopping": Sentence(en="Runs that fall behind", zh="落后的训练"),
    "asked_stopped": Sentence(en="ended early, by successive halving", zh="用逐次减半法提前结束"),
    "asked_not_stopped": Sentence(en="go to their end", zh="走到最后"),
    "asked_fixed": Sentence(en="Settings of all runs", zh="所有训练的设置"),
    "asked_varied": Sentence(en="Settings that were tried", zh="试过的设置"),
    "search_widening": Sentence(
        en="a grid at each batch size, widened until the best was not at its edge",
        zh="每个批次大小一个网格，逐步加宽，直到最好的不在边缘",
    ),
    "search_tpe": Sentence(
        en="{trials} at each batch size, chosen by Optuna's TPE sampler",
        zh="每个批次大小 {trials} 个，由 Optuna 的 TPE 采样器选取",
    ),
    "search_gp": Sentence(
        en="{trials} at each batch size, chosen by Optuna's Gaussian process sampler",
        zh="每个批次大小 {trials} 个，由 Optuna 的高斯过程采样器选取",
    ),
    "search_cmaes": Sentence(
        en="{trials} at each batch size, chosen by Optuna's CMA-ES sampler",
        zh="每个批次大小 {trials} 个，由 Optuna 的 CMA-ES 采样器选取",
    ),
    "search_qmc": Sentence(
        en="{trials} at each batch size, from a quasi-random sequence", zh="每个批次大小 {trials} 个，取自准随机序列"
    ),
    "search_random": Sentence(
        en="{trials} at each batch size, drawn at random", zh="每个批次大小 {trials} 个，随机抽取"
    ),
    "outcomes_title": Sentence(en="How the runs ended", zh="训练的结果"),
    "outcomes_reached": Sentence(en="{n} runs reached the target.", zh="{n} 次训练达到目标。"),
    "outcomes_reached_one": Sentence(en="{n} run reached the target.", zh="{n} 次训练达到目标。"),
    "outcomes_missed": Sentence(
        en="{n} runs did not reach it: each says that more steps are needed than it made.",
        zh="{n} 次训练没有达到：每一次都说明需要的步数比它走过的更多。",
    ),
    "outcomes_missed_one": Sentence(
        en="{n} run did not reach it: it says that more steps are needed than it made.",
        zh="{n} 次训练没有达到：它说明需要的步数比它走过的更多。",
    ),
    "outcomes_finished": Sentence(en="{n} runs went to their end.", zh="{n} 次训练走到最后。"),
    "outcomes_finished_one": Sentence(en="{n} run went to its end.", zh="{n} 次训练走到最后。"),
    "outcomes_stopped": Sentence(
        en="{n} runs were ended early, since others of their batch size were far ahead: their steps are a bound.",
        zh="{n} 次训练提前结束，因为同一批次大小的其他训练远远领先：它们的步数只是一个下界。",
    ),
    "outcomes_stopped_one": Sentence(
        en="{n} run was ended early, since others of its batch size were far ahead: its steps are a bound.",
        zh="{n} 次训练提前结束，因为同一批次大小的其他训练远远领先：它的步数只是一个下界。",
    ),
    "outcomes_diverged": Sentence(
        en="{n} runs diverged: their learning rate is too large for their batch size.",
        zh="{n} 次训练发散：对所用的批次大小来说学习率太大。",
    ),
    "outcomes_diverged_one": Sentence(
        en="{n} run diverged: its learning rate is too large for its batch size.",
        zh="{n} 次训练发散：对所用的批次大小来说学习率太大。",
    ),
    "outcomes_out_of_memory": Sentence(
        en="{n} runs did not fit in memory: nothing is known of them.", zh="{n} 次训练放不进内存：对它们一无所知。"
    ),
    "outcomes_out_of_memory_one": Sentence(
        en="{n} run did not fit in memory: nothing is known of it.", zh="{n} 次训练放不进内存：对它一无所知。"
    ),
    "outcomes_interrupted": Sentence(
        en="{n} runs were interrupted: the same command goes on from there.",
        zh="{n} 次训练中断：同样的命令会从那里继续。",
    ),
    "outcomes_interrupted_one": Sentence(
        en="{n} run was interrupted: the same command goes on from there.",
        zh="{n} 次训练中断：同样的命令会从那里继续。",
    ),
    "outcomes_left": Sentence(en="{n} runs are left to make.", zh="还有 {n} 次训练要做。"),
    "outcomes_left_one": Sentence(en="{n} run is left to make.", zh="还有 {n} 次训练要做。"),
}
