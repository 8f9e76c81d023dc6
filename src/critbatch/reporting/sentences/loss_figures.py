"""Titles, axes, legends, hover texts and descriptions of the figures around the loss."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LOSS_FIGURES = {
    "axis_eigenvalue": Sentence(en="Eigenvalue", zh="特征值"),
    "axis_density": Sentence(en="Density of eigenvalues", zh="特征值密度"),
    "axis_rank": Sentence(en="Number of the eigenvalue", zh="特征值序号"),
    "axis_sharpness": Sentence(en="Sharpness", zh="尖锐度"),
    "axis_solution": Sentence(en="Solution", zh="解"),
    "axis_alpha": Sentence(en="alpha: 0 is {first}, 1 is {second}", zh="alpha：0 为 {first}，1 为 {second}"),
    "axis_first_direction": Sentence(en="First direction (filter norms)", zh="第一方向（滤波器范数）"),
    "axis_second_direction": Sentence(en="Second direction (filter norms)", zh="第二方向（滤波器范数）"),
    "axis_plain_metric": Sentence(en="{metric}", zh="{metric}"),
    "axis_shift": Sentence(en="In place of the training set", zh="代替训练集的数据"),
    "axis_rise": Sentence(en="Rise of the loss", zh="损失的上升"),
    "axis_gradient_norm": Sentence(en="Norm of the gradient", zh="梯度范数"),
    "axis_escaped": Sentence(en="Share that escaped", zh="逃脱的比例"),
    "title_density": Sentence(
        en="{n} eigenvalues, the largest found {largest}", zh="{n} 个特征值，求得的最大值 {largest}"
    ),
    "title_eigenvalues": Sentence(
        en="{n} eigenvalues found, the largest {largest}", zh="求得 {n} 个特征值，最大 {largest}"
    ),
    "title_eigenvalues_one": Sentence(en="{n} eigenvalue found: {largest}", zh="求得 {n} 个特征值：{largest}"),
    "title_sharpness": Sentence(en="Sharpness of {n} solutions", zh="{n} 个解的尖锐度"),
    "title_sharpness_one": Sentence(en="Sharpness of {n} solution", zh="{n} 个解的尖锐度"),
    "title_line": Sentence(
        en="Loss and {metric} along the line from {first} to {second}",
        zh="从 {first} 到 {second} 连线上的损失与{metric}",
    ),
    "title_plane": Sentence(en="Training loss on a plane around {label}", zh="{label} 周围平面上的训练集损失"),
    "title_shift": Sentence(en="How much the loss rises under {n} shifts", zh="{n} 种偏移下损失的上升"),
    "title_shift_one": Sentence(en="How much the loss rises under {n} shift", zh="{n} 种偏移下损失的上升"),
    "title_critical": Sentence(
        en="Gradients of single batches against that of all examples, {norm}",
        zh="单个批次的梯度与全部样本的梯度 {norm}",
    ),
    "title_escape": Sentence(
        en="Escaped: {first} at batch size {low}, {last} at {high}",
        zh="逃脱：批次大小 {low} 时 {first}，{high} 时 {last}",
    ),
    "legend_density": Sentence(en="density", zh="密度"),
    "legend_largest_eigenvalues": Sentence(en="largest found", zh="求得的最大值"),
    "legend_smallest_eigenvalues": Sentence(en="smallest found", zh="求得的最小值"),
    "legend_solution": Sentence(en="solution", zh="解"),
    "legend_quartiles": Sentence(en="single batches: median and quartiles", zh="单个批次：中位数与四分位数"),
    "legend_full_gradient": Sentence(en="all examples", zh="全部样本"),
    "legend_noise_scale": Sentence(en="plain", zh="普通"),
    "legend_noise_in_metric": Sentence(en="in the optimizer's metric", zh="按优化器的度量"),
    "legend_noise_by_curvature": Sentence(en="by curvature", zh="按曲率"),
    "hover_eigenvalue": Sentence(en="Eigenvalue {value}", zh="特征值 {value}"),
    "hover_density": Sentence(en="Density {density} at {value}", zh="在 {value} 处密度 {density}"),
    "hover_sharpness": Sentence(en="{measure}: {value}", zh="{measure}：{value}"),
    "hover_place": Sentence(en="alpha = {alpha}", zh="alpha = {alpha}"),
    "hover_plane": Sentence(en="({alpha}, {beta}): training loss {loss}", zh="({alpha}, {beta})：训练集损失 {loss}"),
    "hover_rise": Sentence(en="{shift}: rise {rise}", zh="{shift}：上升 {rise}"),
    "hover_loss_and_metric": Sentence(en="Loss {loss}, {metric} {value}", zh="损失 {loss}，{metric} {value}"),
    "hover_gradients": Sentence(
        en="{n} batches: median {median}, quartiles {span}", zh="{n} 个批次：中位数 {median}，四分位数 {span}"
    ),
    "hover_escaped": Sentence(en="Escaped: {share}", zh="逃脱：{share}"),
    "alt_density": Sentence(
        en="Chart of the density of eigenvalues on a logarithmic axis, from {low} to {high}.",
        zh="特征值密度的对数坐标图，从 {low} 到 {high}。",
    ),
    "alt_eigenvalues": Sentence(
        en="Chart of the eigenvalues found, from {low} to {high}.", zh="求得的特征值图，从 {low} 到 {high}。"
    ),
    "alt_sharpness": Sentence(
        en="Chart of sharpness on a logarithmic axis, {low} to {high}; the table holds the numbers.",
        zh="尖锐度的对数坐标图，{low} 至 {high}；数字见表格。",
    ),
    "alt_line": Sentence(
        en="Charts of loss and {metric} against alpha: training loss {low} to {high}.",
        zh="损失与{metric}随 alpha 变化的图：训练集损失 {low} 至 {high}。",
    ),
    "alt_plane": Sentence(
        en="Contours of training loss, {low} to {high}, around the solution in the middle.",
        zh="训练集损失的等高线图，{low} 至 {high}，解在中央。",
    ),
    "alt_shift": Sentence(
        en="Chart of the rise of the loss, {low} to {high}; the table holds the numbers.",
        zh="损失上升的图，{low} 至 {high}；数字见表格。",
    ),
    "alt_critical": Sentence(
        en="Chart of batch gradient norms: median {first} at batch size {low}, {last} at {high}.",
        zh="批次梯度范数图：中位数在批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_escape": Sentence(
        en="Chart of the share that escaped: {first} at batch size {low}, {last} at {high}.",
        zh="逃脱比例图：批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "title_sharp_rise": Sentence(
        en="Sharpness and the rise of the loss with {shift}", zh="尖锐度与换成{shift}后损失的上升"
    ),
    "alt_sharp_rise": Sentence(
        en="Chart of the rise of the loss with {shift} against sharpness, {n} solutions.",
        zh="换成{shift}后损失的上升随尖锐度变化的图，{n} 个解。",
    ),
    "title_noise_layers": Sentence(
        en="Layer by layer the noise scale goes from {low} to {high}", zh="各层的噪声尺度从 {low} 到 {high}"
    ),
    "alt_noise_layers": Sentence(
        en="Bars of the noise scale of {n} layers, {low} to {high}.", zh="{n} 个层的噪声尺度条形图，{low} 至 {high}。"
    ),
}
