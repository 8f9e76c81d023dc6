"""What more devices would bring, in words."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

SCALE_REASONS = {
    "scale_is_predicted": Sentence(
        en="Steps on several devices are computed from one device and a model of the network, not timed.",
        zh="多设备上的每步时间由单个设备和网络模型算出，没有计时。",
    ),
    "scale_without_law": Sentence(
        en="Steps to a target are not known, so only throughput is told: larger batches save ever fewer steps.",
        zh="达到目标的步数未知，因此只给出吞吐量：批次越大，省下的步数越少。",
    ),
    "scale_beyond_runs": Sentence(
        en="Some batch sizes here lie outside of those with runs behind them: their steps are extrapolated.",
        zh="这里有些批次大小超出了训练过的范围：它们的步数是外推的。",
    ),
    "share_below_timed": Sentence(
        en="Some devices have fewer examples than the smallest size that was timed: they count as if they had as many.",
        zh="有些设备分到的样本少于计过时的最小批次：按那个大小计算。",
    ),
    "more_devices_than_examples": Sentence(
        en="Numbers of devices above the number of training examples are left out: each needs an example.",
        zh="多于训练样本数的设备数没有列出：每个设备至少要一个样本。",
    ),
    "worth_to_the_end": Sentence(
        en="The largest number of devices asked for is still worth it: more may be, too.",
        zh="问到的最大设备数仍然值得：更多的也可能值得。",
    ),
    "no_overlap_assumed": Sentence(
        en="Nothing of the communication is taken to be hidden behind the backward pass: real steps may be shorter.",
        zh="假设通信完全没有被反向传播掩盖：真实的步可能更短。",
    ),
    "no_delay_assumed": Sentence(
        en="All devices are taken to be equally fast at every step: real steps wait for the slowest and may be longer.",
        zh="假设所有设备每一步都一样快：真实的步要等最慢的设备，可能更长。",
    ),
    "steps_tell_little": Sentence(
        en="The measured steps hardly say what several devices cost: the constants are typical of other clusters, and "
        "the intervals of the steps are wide for it.",
        zh="测得的步几乎说明不了多设备的代价：各常数取其他集群的典型值，因此每步时间的区间较宽。",
    ),
    "links_by_name": Sentence(
        en="Links have their published latency and bandwidth: what a program sees is less.",
        zh="链路使用公布的延迟与带宽：程序实际得到的更差。",
    ),
    "other_threads": Sentence(
        en="The step on one device was timed with another number of threads than the processes had.",
        zh="单个设备的步计时所用的线程数与各进程的不同。",
    ),
    "given": Sentence(en="The number was given, so there is no interval.", zh="这个数字是给定的，因此没有区间。"),
    "published": Sentence(en="The number was published without an interval.", zh="这个数字公布时没有区间。"),
}

SCALE = {
    "scale_worth": Sentence(
        en="For {task}, up to {n} devices are worth it: each doubling takes at least {worth} off the time to target.",
        zh="对 {task}，设备数在 {n} 以内值得：每次加倍至少使达到目标的时间减少 {worth}。",
    ),
    "scale_not_worth": Sentence(
        en="For {task}, more than {n} devices are not worth it: the next take less than {worth} off the time for a "
        "doubling.",
        zh="对 {task}，超过 {n} 个设备不值得：再加倍使达到目标的时间减少不到 {worth}。",
    ),
    "scale_not_worth_one": Sentence(
        en="For {task}, more than {n} device is not worth it: a second one takes less than {worth} off the time.",
        zh="对 {task}，超过 {n} 个设备不值得：再加倍使达到目标的时间减少不到 {worth}。",
    ),
    "scale_single": Sentence(
        en="What {n} devices bring to {task}; there are no other numbers to compare with.",
        zh="{n} 个设备对 {task} 的作用；没有别的设备数可比较。",
    ),
    "scale_single_one": Sentence(
        en="What {n} device brings to {task}; there are no other numbers to compare with.",
        zh="{n} 个设备对 {task} 的作用；没有别的设备数可比较。",
    ),
    "scale_throughput": Sentence(
        en="With {share} examples on each, {n} devices process {task} {times} times as fast as one.",
        zh="每个设备 {share} 个样本时，{n} 个设备处理 {task} 的速度是一个的 {times} 倍。",
    ),
    "scale_throughput_one": Sentence(
        en="Steps of {task} are known on {n} device, with {share} examples: speed-up {times}.",
        zh="{task} 的步只知道在 {n} 个设备上的，{share} 个样本：加速 {times}。",
    ),
    "scale_there": Sentence(
        en="That takes {seconds} with batch size {batch_size}, {times} times as fast as one device at its best.",
        zh="此时批次大小 {batch_size}，用时 {seconds}，是单个设备最快时的 {times} 倍快。",
    ),
    "scale_alone": Sentence(
        en="That takes {seconds} with batch size {batch_size}.", zh="此时批次大小 {batch_size}，用时 {seconds}。"
    ),
    "scale_soonest": Sentence(
        en="Soonest of all are {n} devices: {seconds}, {times} times as fast as one, for {hours} times the "
        "device-hours.",
        zh="最快的是 {n} 个设备：{seconds}，{times} 倍快，设备小时数是单个设备的 {hours} 倍。",
    ),
    "scale_soonest_one": Sentence(en="Soonest of all is {n} device: {seconds}.", zh="最快的是 {n} 个设备：{seconds}。"),
    "scale_price": Sentence(
        en="At the price given, reaching the target costs {cost} there and {least} with one device.",
        zh="按给定价格，此时达到目标的费用为 {cost}，单个设备为 {least}。",
    ),
    "scale_parts": Sentence(
        en="Of a step on {n} devices, {share} goes to communication over {link}.",
        zh="在 {n} 个设备上，一步中有 {share} 用于经 {link} 通信。",
    ),
    "scale_parts_one": Sentence(
        en="Of a step on {n} device, {share} goes to communication over {link}.",
        zh="在 {n} 个设备上，一步中有 {share} 用于经 {link} 通信。",
    ),
    "scale_law_advice": Sentence(
        en="Steps to target come from the runs of the advice.", zh="达到目标的步数来自建议所做的训练。"
    ),
    "scale_law_study": Sentence(
        en="Steps to target come from the runs of the study.", zh="达到目标的步数来自研究中的训练。"
    ),
    "scale_law_fit": Sentence(en="Steps to target come from runs made elsewhere.", zh="达到目标的步数来自别处的训练。"),
    "scale_law_given": Sentence(en="Steps to target were given as a law.", zh="达到目标的步数以定律的形式给定。"),
    "section_scale": Sentence(en="More devices", zh="更多设备"),
    "scale_text": Sentence(
        en="More devices make larger batches cheap, but larger batches save ever fewer steps, and summing gradients "
        "takes time.",
        zh="更多设备使大批次变得便宜，但批次越大省下的步数越少，而且梯度求和需要时间。",
    ),
    "scale_nothing": Sentence(en="No number of devices could be told.", zh="没有任何设备数能够得出结果。"),
    "scale_caption": Sentence(en="Numbers of devices, each at its best batch size", zh="各设备数及其最好的批次大小"),
    "scale_weak_caption": Sentence(
        en="Weak scaling: {share} examples on each device", zh="弱扩展：每个设备 {share} 个样本"
    ),
    "scale_strong_caption": Sentence(en="Strong scaling: batch size {size} on all", zh="强扩展：批次大小固定为 {size}"),
    "section_cluster": Sentence(en="The cluster", zh="集群"),
    "cluster_text": Sentence(
        en="Every number that steps on several devices were computed with, and where it is from.",
        zh="计算多设备每步时间所用的每个数字及其来源。",
    ),
    "value_and_source": Sentence(en="{value} ({source})", zh="{value}（{source}）"),
    "cluster_measured": Sentence(
        en="Between {n} processes, all-reduces were timed by {backend}; a fitted link misses them by {miss} at most.",
        zh="在 {n} 个进程之间用 {backend} 为全归约计时；拟合的链路与它们最多相差 {miss}。",
    ),
    "cluster_fit": Sentence(
        en="Constants were fitted to {n} measured steps, missed by {miss} at most.",
        zh="各常数由 {n} 个测得的步拟合，最多相差 {miss}。",
    ),
    "cluster_fit_one": Sentence(
        en="Constants were fitted to {n} measured step, missed by {miss} at most.",
        zh="各常数由 {n} 个测得的步拟合，最多相差 {miss}。",
    ),
    "constant_gradient_bytes": Sentence(en="Gradients", zh="梯度"),
    "constant_buckets": Sentence(en="All-reduces a step", zh="每步的全归约次数"),
    "constant_devices_per_node": Sentence(en="Devices a node", zh="每个节点的设备数"),
    "constant_algorithm": Sentence(en="Summing between nodes", zh="节点之间的求和方式"),
    "constant_overlap": Sentence(en="Overlap (gamma)", zh="重叠（gamma）"),
    "constant_joining_seconds": Sentence(en="Joining of several devices", zh="多设备汇合"),
    "constant_delay_seconds": Sentence(en="Mean delay of a device in a pass", zh="设备每遍的平均延误"),
    "constant_pass_slowdown": Sentence(
        en="Slowdown of a pass, beside devices and beside nodes", zh="每遍的变慢，有其他设备及有其他节点时各一次"
    ),
    "constant_link_efficiency": Sentence(en="Share of a published bandwidth", zh="所得到的公布带宽的比例"),
    "constant_between_latency": Sentence(en="Latency between nodes: {link}", zh="节点之间的延迟：{link}"),
    "constant_between_bandwidth": Sentence(en="Bandwidth between nodes: {link}", zh="节点之间的带宽：{link}"),
    "constant_within_latency": Sentence(en="Latency within a node: {link}", zh="节点内的延迟：{link}"),
    "constant_within_bandwidth": Sentence(en="Bandwidth within a node: {link}", zh="节点内的带宽：{link}"),
    "constant_min_steps": Sentence(en="S_min of the law of steps", zh="步数定律的 S_min"),
    "constant_critical": Sentence(en="B_crit of the law of steps", zh="步数定律的 B_crit"),
    "per_second": Sentence(en="{value} per second", zh="每秒 {value}"),
    "algorithm_ring": Sentence(en="ring", zh="环形"),
    "algorithm_halving_doubling": Sentence(en="halving and doubling", zh="折半倍增"),
    "algorithm_best": Sentence(en="the sooner of ring and halving-doubling", zh="环形与折半倍增中较快者"),
    "source_given": Sentence(en="given", zh="给定"),
    "source_fitted": Sentence(en="fitted to measured steps", zh="由测得的步拟合"),
    "source_typical": Sentence(
        en="typical of published clusters: the measured steps hardly tell it",
        zh="公布的集群的典型值：测得的步几乎不能确定它",
    ),
    "source_not_seen": Sentence(en="none seen in measured steps", zh="在测得的步中没有发现"),
    "source_counted": Sentence(en="counted: the weights that are trained", zh="由所训练的参数数出"),
    "source_buckets": Sentence(
        en="torch's DistributedDataParallel: 1 MiB first, then 25 MiB each",
        zh="torch 的 DistributedDataParallel：先 1 MiB，之后每次 25 MiB",
    ),
    "source_own_node": Sentence(en="assumed: each device is a node", zh="假设：每个设备是一个节点"),
    "source_same_machine": Sentence(en="as many as were measured on one machine", zh="与在一台机器上测量的进程数相同"),
    "source_sooner": Sentence(en="assumed: the library chooses well", zh="假设：通信库选得好"),
    "source_no_overlap": Sentence(en="assumed: nothing is hidden", zh="假设：没有任何掩盖"),
    "source_no_joining": Sentence(en="assumed: none", zh="假设：没有"),
    "source_no_delay": Sentence(en="assumed: none", zh="假设：没有"),
    "source_no_slowdown": Sentence(en="assumed: none", zh="假设：没有"),
    "source_full_bandwidth": Sentence(en="assumed: all of it", zh="假设：全部"),
    "source_of_law": Sentence(en="fitted to runs", zh="由训练拟合"),
    "method_scale_step": Sentence(
        en="t(n) = (s - 1) p + (p^γ + t_sync^γ)^(1/γ) + t_join + θ W(n, s): p a pass over a device's share, s passes, "
        "t_sync the sum of the gradients, γ how much of it is hidden, θ the mean delay in a pass, W how much the "
        "latest of n devices exceeds the mean over s passes, 1/2 + ... + 1/n for one pass.",
        zh="t(n) = (s - 1) p + (p^γ + t_sync^γ)^(1/γ) + t_join + θ W(n, s)：p 为每个设备的一遍，s 为遍数，"
        "t_sync 为梯度求和，γ 表示掩盖的程度，θ 为每遍的平均延误，W 为 n 个设备中最慢者在 s 遍后超出平均的量，"
        "只有一遍时为 1/2 + ... + 1/n。",
    ),
    "method_scale_passes": Sentence(
        en="p = t_1 (1 + L ρ): t_1 as timed on one device, slower by ρ beside other devices of a node and once more "
        "beside other nodes. What grows with the passes is kept apart from what is paid once a step.",
        zh="p = t_1 (1 + L ρ)：t_1 为单个设备的计时，同一节点有其他设备时变慢 ρ，有其他节点时再变慢一次。"
        "随遍数增长的与每步只付一次的分开计算。",
    ),
    "method_scale_fit": Sentence(
        en="Few measured steps cannot tell all constants: each has a prior from published clusters, and the interval "
        "of a step covers all that agree with the measured ones, and what such a model missed there.",
        zh="少量测得的步不能确定所有常数：每个常数都有来自公布集群的先验，"
        "每步时间的区间包含所有与测得的步相符的取值，以及这种模型在那里的误差。",
    ),
    "method_scale_sync": Sentence(
        en="Round a ring, n processes send 2 (n - 1) messages one after the other; by halving and doubling, 2 log2 n. "
        "Both move 2 (n - 1) / n of the bytes.",
        zh="环形方式下 n 个进程依次发送 2 (n - 1) 条消息；折半倍增为 2 log2 n 条。两者都传输字节数的 2 (n - 1) / n。",
    ),
    "method_scale_best": Sentence(
        en="Steps to target follow S(B) = S_min (1 + B_crit / B), the learning rate tuned at every size. The interval "
        "of a time is that of S_min, and of a step where steps on several devices were measured.",
        zh="达到目标的步数按 S(B) = S_min (1 + B_crit / B)，每个大小都调好学习率。"
        "时间的区间来自 S_min；测量过多设备的步时，也含每步时间的区间。",
    ),
    "method_scale_worth": Sentence(
        en="Worth it are devices up to the number from which a doubling takes less than {worth} off the time to "
        "target; an ideal one takes 50 %.",
        zh="值得的设备数止于加倍使达到目标的时间减少不到 {worth} 之处；理想的加倍减少 50 %。",
    ),
}
