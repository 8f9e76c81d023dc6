"""What the live view of a study says."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

WATCHING = {
    "watch_title": Sentence(en="{task}, recipe {recipe}, to {target}", zh="{task}，做法 {recipe}，目标：{target}"),
    "watch_title_no_target": Sentence(en="{task}, recipe {recipe}, no target", zh="{task}，做法 {recipe}，没有目标"),
    "watch_asked": Sentence(
        en="Batch sizes {sizes}; learning rates: {rates}; seeds {seeds}; length: {length}.",
        zh="批次大小 {sizes}；学习率：{rates}；随机种子 {seeds}；长度：{length}。",
    ),
    "watch_count": Sentence(
        en="{done} of {total} runs are done; {left} are left, {running} of them at work.",
        zh="{total} 次训练完成了 {done} 次；还剩 {left} 次，其中 {running} 次正在进行。",
    ),
    "watch_count_open": Sentence(
        en="{done} runs are done, {running} are at work.", zh="完成了 {done} 次训练，{running} 次正在进行。"
    ),
    "watch_failed": Sentence(
        en="{n} runs failed: they diverged or ran out of memory.", zh="{n} 次训练失败：发散或内存不足。"
    ),
    "watch_failed_one": Sentence(
        en="{n} run failed: it diverged or ran out of memory.", zh="{n} 次训练失败：发散或内存不足。"
    ),
    "watch_broken": Sentence(
        en="{n} runs were broken off: whoever comes next goes on with them.",
        zh="{n} 次训练中断了：下一个进程会接着做。",
    ),
    "watch_broken_one": Sentence(
        en="{n} run was broken off: whoever comes next goes on with it.", zh="{n} 次训练中断了：下一个进程会接着做。"
    ),
    "watch_time_about": Sentence(en="Time left: about {time}.", zh="剩余时间：约 {time}。"),
    "watch_time_at_most": Sentence(en="Time left: at most {time}.", zh="剩余时间：至多 {time}。"),
    "watch_time_unknown": Sentence(en="Time left: not known yet.", zh="剩余时间：还不知道。"),
    "watch_over": Sentence(en="Nothing is left to make.", zh="没有剩下的训练了。"),
    "watch_nobody": Sentence(
        en="Nobody is at work: the same command goes on from here.", zh="没有进程在工作：同样的命令会从这里继续。"
    ),
    "watch_ended": Sentence(en="Nobody is at work any more.", zh="已经没有进程在工作。"),
    "watch_between": Sentence(
        en="A command is at work in the folder, and makes no run just now.", zh="文件夹里有命令在工作，此刻没有在训练。"
    ),
    "watch_run": Sentence(
        en="At work: batch size {batch_size}, learning rate {rate}, seed {seed}, on {host}",
        zh="正在训练：批次大小 {batch_size}，学习率 {rate}，随机种子 {seed}，机器 {host}",
    ),
    "watch_run_for": Sentence(
        en="At work: batch size {batch_size}, learning rate {rate}, seed {seed}, on {host}, for {time}",
        zh="正在训练：批次大小 {batch_size}，学习率 {rate}，随机种子 {seed}，机器 {host}，已用 {time}",
    ),
    "watch_run_of": Sentence(
        en="At work: batch size {batch_size}, learning rate {rate}, seed {seed}, on {host}, {time} of about {whole}",
        zh="正在训练：批次大小 {batch_size}，学习率 {rate}，随机种子 {seed}，机器 {host}，约 {whole} 中已用 {time}",
    ),
    "watch_more_runs": Sentence(en="{n} more are at work.", zh="另有 {n} 次正在进行。"),
    "watch_more_runs_one": Sentence(en="{n} more is at work.", zh="另有 {n} 次正在进行。"),
    "watch_best_rate": Sentence(en="Best rate", zh="最好的学习率"),
    "watch_goal": Sentence(en="Target", zh="目标"),
    "watch_reached": Sentence(en="reached", zh="达到"),
    "watch_missed": Sentence(en="missed", zh="没有达到"),
    "watch_time": Sentence(en="Time", zh="时间"),
    "watch_best_metric": Sentence(en="Best {metric}", zh="最好的{metric}"),
    "watch_lowest_loss": Sentence(en="Lowest loss", zh="最低的损失"),
    "watch_curves": Sentence(
        en="Validation {metric} against epochs: the best run of each batch size",
        zh="验证集{metric}与周期（epoch）：每个批次大小最好的一次",
    ),
    "watch_curves_loss": Sentence(
        en="Validation loss against epochs: the best run of each batch size",
        zh="验证集损失与周期（epoch）：每个批次大小最好的一次",
    ),
    "watch_no_study": Sentence(en="No run has been begun yet.", zh="还没有开始任何训练。"),
    "watch_other": Sentence(
        en="{task}, recipe {recipe}: {done} runs are done, {running} at work.",
        zh="{task}，做法 {recipe}：完成了 {done} 次训练，{running} 次正在进行。",
    ),
    "watch_at": Sentence(
        en="{time}. Ctrl-C ends the watch, not the study.", zh="{time}。Ctrl-C 结束观看，不影响研究。"
    ),
    "watch_goes_on": Sentence(en="The watch has ended; the study goes on.", zh="观看已结束；研究仍在继续。"),
}
