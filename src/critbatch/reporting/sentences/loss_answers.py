"""What a record around the loss says: the sentences of the terminal and of the head of the page."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LOSS_ANSWERS = {
    "eigenvalue": Sentence(en="{value} ± {residual}", zh="{value} ± {residual}"),
    "eigenvalue_open": Sentence(en="{value} ± {residual}, not converged", zh="{value} ± {residual}，尚未收敛"),
    "eigenvalue_unplaced": Sentence(
        en="{value} ± {residual}, others may lie beyond it", zh="{value} ± {residual}，其外可能还有别的"
    ),
    "number_exact": Sentence(en="{value} (exact)", zh="{value}（精确值）"),
    "number_not_random": Sentence(en="{value} (nothing drawn at random)", zh="{value}（没有随机抽取）"),
    "curvature_headline": Sentence(
        en="The loss of {task} bends most by {largest} at {label}.",
        zh="{task} 的损失在 {label} 处最大弯曲为 {largest}。",
    ),
    "curvature_none": Sentence(
        en="No eigenvalue of {task} at {label} was found.", zh="{task} 在 {label} 处没有求得特征值。"
    ),
    "given_weights": Sentence(en="the given weights", zh="所给参数"),
    "curvature_down": Sentence(
        en="Along another direction it bends downwards, by {smallest}: this is no minimum.",
        zh="沿另一个方向它向下弯曲，为 {smallest}：这不是极小值点。",
    ),
    "curvature_up": Sentence(
        en="The smallest eigenvalue found, {smallest}, is above 0: no direction that leads down was seen.",
        zh="求得的最小特征值 {smallest} 大于 0：没有发现向下弯曲的方向。",
    ),
    "curvature_open": Sentence(
        en="The smallest eigenvalue, {smallest}, cannot be told from 0 within its error.",
        zh="最小特征值 {smallest} 在误差范围内与 0 无法区分。",
    ),
    "curvature_gauss_newton": Sentence(
        en="This is the Gauss-Newton matrix, which has no negative eigenvalues: it tells no saddle from a minimum.",
        zh="这是高斯-牛顿矩阵，它没有负特征值：无法区分鞍点与极小值点。",
    ),
    "curvature_trace": Sentence(
        en="The trace, the sum of all {parameters} eigenvalues, is {trace}.",
        zh="迹，即全部 {parameters} 个特征值之和，为 {trace}。",
    ),
    "curvature_rate": Sentence(
        en="Full-batch gradient descent without momentum is unstable along the steepest direction at learning rates "
        "above {rate}.",
        zh="不带动量的全批次梯度下降，学习率超过 {rate} 时沿最陡方向不稳定。",
    ),
    "curvature_point": Sentence(
        en="The loss there is {loss}, the norm of its gradient {norm}, over {examples} examples.",
        zh="该处损失为 {loss}，梯度范数为 {norm}（{examples} 个样本）。",
    ),
    "sharpness_none": Sentence(en="No sharpness of {task} was measured.", zh="没有测量 {task} 的尖锐度。"),
    "sharpness_one": Sentence(
        en="The sharpness of {label} on {task} is {value}.", zh="{label} 在 {task} 上的尖锐度为 {value}。"
    ),
    "sharpness_headline": Sentence(
        en="Of {n} solutions of {task}, {label} is the sharpest: {value}.",
        zh="{task} 的 {n} 个解中，{label} 最尖锐：{value}。",
    ),
    "sharpness_flattest": Sentence(en="The flattest is {label}, with {value}.", zh="最平坦的是 {label}，为 {value}。"),
    "sharpness_measure": Sentence(en="Measured with: {measure}.", zh="所用度量：{measure}。"),
    "sharpness_agree": Sentence(
        en="All {n} measures name the same solution the sharpest.", zh="全部 {n} 种度量都认为同一个解最尖锐。"
    ),
    "sharpness_disagree": Sentence(
        en="Of {n} measures, {other} name another solution the sharpest.",
        zh="{n} 种度量中，有 {other} 种认为最尖锐的是另一个解。",
    ),
    "sharpness_scores": Sentence(
        en="{label}: validation {metric} {validation}, training {metric} {train}.",
        zh="{label}：验证集{metric} {validation}，训练集{metric} {train}。",
    ),
    "landscape_none": Sentence(
        en="No loss of {task} could be told at any point.", zh="{task} 在任何一点的损失都无法得出。"
    ),
    "landscape_barrier": Sentence(
        en="Between {first} and {second}, the loss of {task} rises to {highest}.",
        zh="在 {first} 与 {second} 之间，{task} 的损失升至 {highest}。",
    ),
    "landscape_no_barrier": Sentence(
        en="Between {first} and {second}, the loss of {task} nowhere rises above that of the higher end.",
        zh="在 {first} 与 {second} 之间，{task} 的损失处处不高于较高的一端。",
    ),
    "landscape_ends": Sentence(
        en="Training loss at the two ends: {low} and {high}.", zh="两端的训练集损失：{low} 与 {high}。"
    ),
    "landscape_best": Sentence(
        en="Of all points seen, validation loss is lowest at alpha = {alpha}: {loss}.",
        zh="在所有测过的点中，验证集损失在 alpha = {alpha} 处最低：{loss}。",
    ),
    "landscape_plane": Sentence(
        en="Around {label}, the loss of {task} rises from {low} to {high}.",
        zh="在 {label} 周围，{task} 的损失从 {low} 升至 {high}。",
    ),
    "landscape_lowest": Sentence(
        en="No point of the plane that was seen lies lower than the solution.", zh="平面上测过的点没有一个低于该解。"
    ),
    "landscape_lower": Sentence(
        en="The lowest point seen is not the solution: {loss} at ({alpha}, {beta}).",
        zh="测到的最低点不是该解：在 ({alpha}, {beta}) 处为 {loss}。",
    ),
    "shift_none": Sentence(en="No shift of {task} was measured.", zh="没有测量 {task} 的任何偏移。"),
    "shift_headline": Sentence(
        en="With {shift} instead of the training set of {task}, the loss of {label} rises most, by {rise}.",
        zh="把 {task} 的训练集换成{shift}时，{label} 的损失上升最多：{rise}。",
    ),
    "shift_fall": Sentence(
        en="With {shift} instead of the training set of {task}, no loss rises; that of {label} changes by {rise}.",
        zh="把 {task} 的训练集换成{shift}时，没有损失上升；{label} 的变化为 {rise}。",
    ),
    "shift_least": Sentence(en="That of {label} rises least, by {rise}.", zh="{label} 的上升最少：{rise}。"),
    "shift_overlap": Sentence(
        en="Their intervals overlap: which of the two rises more is not decided.",
        zh="它们的区间重叠：哪一个上升更多尚无定论。",
    ),
    "shift_ranks": Sentence(
        en="Of {n} rank correlations between a sharpness and a rise, {up} lie above 0 beyond their interval, "
        "{down} below.",
        zh="尖锐度与上升之间的 {n} 个秩相关中，{up} 个连同区间都高于 0，{down} 个都低于它。",
    ),
    "shift_unranked": Sentence(
        en="Whether sharper solutions lose more cannot be told from a single one.",
        zh="只有一个解，无法判断更尖锐的解是否损失更多。",
    ),
    "critical_minimum": Sentence(en="Training of {task} stands at a minimum.", zh="{task} 的训练停在极小值点。"),
    "critical_saddle": Sentence(en="Training of {task} stands at a saddle.", zh="{task} 的训练停在鞍点。"),
    "critical_plateau": Sentence(en="Training of {task} stands on a plateau.", zh="{task} 的训练停在平台上。"),
    "critical_maximum": Sentence(en="Training of {task} stands at a maximum.", zh="{task} 的训练停在极大值点。"),
    "critical_descending": Sentence(
        en="Training of {task} is not stuck: the gradient still leads down.",
        zh="{task} 的训练没有卡住：梯度仍指向下降。",
    ),
    "critical_undecided": Sentence(
        en="Where training of {task} stands is not decided.", zh="{task} 的训练停在哪里尚无定论。"
    ),
    "critical_eigenvalues": Sentence(
        en="The eigenvalues of the Hessian reach from {smallest} to {largest}.",
        zh="海森矩阵的特征值从 {smallest} 到 {largest}。",
    ),
    "critical_gradient": Sentence(
        en="The gradient has norm {norm}; one best step along it would take {drop} off the loss of {loss}.",
        zh="梯度范数为 {norm}；沿它走最好的一步，可使损失 {loss} 减少 {drop}。",
    ),
    "critical_batches": Sentence(
        en="Of {n} batches of size {batch_size}, {share} have a gradient step that lowers the loss.",
        zh="{n} 个大小为 {batch_size} 的批次中，{share} 的梯度步会降低损失。",
    ),
    "critical_noise": Sentence(
        en="The gradient noise scale there is {noise} examples.", zh="该处的梯度噪声尺度为 {noise} 个样本。"
    ),
    "critical_no_signal": Sentence(
        en="Over {pairs} pairs of gradients no signal was found above the noise there.",
        zh="该处 {pairs} 对梯度中没有发现高于噪声的信号。",
    ),
    "critical_try": Sentence(en="Worth trying. {hint}", zh="值得一试：{hint}"),
    "escape_none": Sentence(en="No start of {task} was followed.", zh="没有跟踪 {task} 的任何起点。"),
    "escape_more": Sentence(
        en="Small batches escape more often on {task} than the full batch: batch size {sizes}.",
        zh="在 {task} 上，小批次比全批次更常逃脱：批次大小 {sizes}。",
    ),
    "escape_less": Sentence(
        en="Small batches escape less often on {task} than the full batch: batch size {sizes}.",
        zh="在 {task} 上，小批次比全批次更少逃脱：批次大小 {sizes}。",
    ),
    "escape_open": Sentence(
        en="Whether small batches escape more often on {task} is not decided: the intervals overlap.",
        zh="在 {task} 上小批次是否更常逃脱尚无定论：区间重叠。",
    ),
    "escape_single": Sentence(
        en="Batch size {batch_size} alone was followed on {task}.", zh="在 {task} 上只跟踪了批次大小 {batch_size}。"
    ),
    "escape_share": Sentence(
        en="Batch size {batch_size} escaped from {share}.", zh="批次大小 {batch_size} 的逃脱比例为 {share}。"
    ),
    "escape_started": Sentence(
        en="Full-batch descent ended from {n} starts; what they stood at: {standings}.",
        zh="全批次下降从 {n} 个起点出发后停止；停在：{standings}。",
    ),
    "escape_started_one": Sentence(
        en="Full-batch descent ended from {n} start; what it stood at: {standings}.",
        zh="全批次下降从 {n} 个起点出发后停止；停在：{standings}。",
    ),
    "escape_equal_steps": Sentence(
        en="All went on for {steps} steps at learning rate {rate}: larger batches saw more examples.",
        zh="此后都以学习率 {rate} 走 {steps} 步：批次越大，看过的样本越多。",
    ),
    "escape_mixed": Sentence(
        en="On {task} some small batches escape more often than the full batch, others less often.",
        zh="在 {task} 上，有的小批次比全批次更常逃脱，有的更少。",
    ),
    "landscape_partial": Sentence(
        en="On the line through {first} and {second}, the loss of {task} lies between {low} and {high}.",
        zh="在经过 {first} 与 {second} 的直线上，{task} 的损失介于 {low} 与 {high} 之间。",
    ),
}
