"""Titles, axes, legends, hover texts and descriptions of the figures."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

FIGURES = {
    "axis_batch_size": Sentence(en="Batch size ({unit})", zh="批次大小（{unit}）"),
    "axis_step_seconds": Sentence(en="Time per step", zh="每步时间"),
    "axis_epoch_seconds": Sentence(en="Time per epoch", zh="每周期（epoch）时间"),
    "axis_share": Sentence(en="Share of a step's time", zh="占每步时间的比例"),
    "axis_memory": Sentence(en="Peak memory of a step", zh="一步的内存峰值"),
    "axis_time_to_target": Sentence(en="Time to target", zh="达到目标的时间"),
    "axis_steps": Sentence(en="Steps to target", zh="达到目标的步数"),
    "axis_learning_rate": Sentence(en="Learning rate", zh="学习率"),
    "axis_metric": Sentence(en="Training and validation {metric}", zh="训练集与验证集{metric}"),
    "axis_validation_metric": Sentence(en="Validation {metric}", zh="验证集{metric}"),
    "axis_validation_loss": Sentence(en="Validation loss", zh="验证集损失"),
    "axis_loss": Sentence(en="Loss", zh="损失"),
    "axis_epochs": Sentence(en="Epochs", zh="周期（epoch）"),
    "axis_noise": Sentence(en="Gradient noise scale ({unit})", zh="梯度噪声尺度（{unit}）"),
    "title_time_to_target": Sentence(
        en="Time to target is shortest at batch size {batch_size}", zh="批次大小 {batch_size} 最快达到目标"
    ),
    "title_step_time": Sentence(
        en="One step: {first} at batch size {low}, {last} at {high}",
        zh="一步：批次大小 {low} 时 {first}，{high} 时 {last}",
    ),
    "title_epoch_time": Sentence(
        en="One epoch: {first} at batch size {low}, {last} at {high}",
        zh="一个周期：批次大小 {low} 时 {first}，{high} 时 {last}",
    ),
    "title_time_split": Sentence(en="Where the time of a step goes", zh="一步的时间用在哪里"),
    "title_memory": Sentence(
        en="Peak memory: {first} at batch size {low}, {last} at {high}",
        zh="内存峰值：批次大小 {low} 时 {first}，{high} 时 {last}",
    ),
    "title_accuracy_one": Sentence(
        en="Validation {metric} of {first} after {epochs} epochs", zh="{epochs} 个周期后验证集{metric}为 {first}"
    ),
    "title_accuracy_falls": Sentence(
        en="After equal epochs, validation {metric} falls from {first} at batch size {low} to {last} at {high}",
        zh="周期数相同时，验证集{metric}从批次大小 {low} 的 {first} 降到 {high} 的 {last}",
    ),
    "title_accuracy_rises": Sentence(
        en="After equal epochs, validation {metric} rises from {first} at batch size {low} to {last} at {high}",
        zh="周期数相同时，验证集{metric}从批次大小 {low} 的 {first} 升到 {high} 的 {last}",
    ),
    "title_accuracy_even": Sentence(
        en="After equal epochs, validation {metric} is about the same at batch size {low} and {high}",
        zh="周期数相同时，验证集{metric}在批次大小 {low} 与 {high} 下大致相同",
    ),
    "title_steps": Sentence(en="Steps that each run took to the target", zh="每次训练达到目标所用的步数"),
    "title_steps_law": Sentence(
        en="Steps fall with the batch size, and level off beyond about {noise}",
        zh="步数随批次大小下降，超过约 {noise} 后趋于平缓",
    ),
    "title_best_rate": Sentence(
        en="The best learning rate: {first} at batch size {low}, {last} at {high}",
        zh="最好的学习率：批次大小 {low} 时 {first}，{high} 时 {last}",
    ),
    "title_curves": Sentence(en="Validation {metric} as training goes on", zh="训练过程中的验证集{metric}"),
    "title_curves_loss": Sentence(en="Validation loss as training goes on", zh="训练过程中的验证集损失"),
    "title_loss_curve": Sentence(
        en="Loss at the end: {train} in training, {validation} in validation",
        zh="结束时的损失：训练集 {train}，验证集 {validation}",
    ),
    "title_metric_curve": Sentence(
        en="At the end, {metric} is {train} in training, {validation} in validation",
        zh="结束时的{metric}：训练集 {train}，验证集 {validation}",
    ),
    "title_noise_one": Sentence(en="The noise scale is {last} examples", zh="噪声尺度为 {last} 个样本"),
    "title_noise_rises": Sentence(
        en="The noise scale rises from {first} to {last} examples", zh="噪声尺度从 {first} 升到 {last} 个样本"
    ),
    "title_noise_falls": Sentence(
        en="The noise scale falls from {first} to {last} examples", zh="噪声尺度从 {first} 降到 {last} 个样本"
    ),
    "legend_fit": Sentence(en="fit a + b·B", zh="拟合 a + b·B"),
    "legend_measured": Sentence(en="measured", zh="测量"),
    "legend_does_not_fit": Sentence(en="does not fit in memory", zh="放不进内存"),
    "legend_time": Sentence(en="time to target", zh="达到目标的时间"),
    "legend_predicted": Sentence(en="predicted, not run", zh="预测，没有训练过"),
    "legend_runs_that_reached": Sentence(en="single runs", zh="单次训练"),
    "legend_median": Sentence(en="median over seeds, best rate", zh="最好学习率下各种子的中位数"),
    "legend_interval": Sentence(en="{level} interval", zh="{level} 区间"),
    "legend_law": Sentence(en="law", zh="定律"),
    "legend_best_rate": Sentence(en="best rate", zh="最好的学习率"),
    "legend_reached": Sentence(en="reached the target", zh="达到目标"),
    "legend_not_reached": Sentence(en="not reached by then", zh="到此仍未达到"),
    "legend_diverged": Sentence(en="diverged", zh="发散"),
    "legend_train_metric": Sentence(en="training {metric}", zh="训练集{metric}"),
    "legend_validation_metric": Sentence(en="validation {metric}", zh="验证集{metric}"),
    "legend_train_loss": Sentence(en="training loss", zh="训练集损失"),
    "legend_validation_loss": Sentence(en="validation loss", zh="验证集损失"),
    "legend_batch_size": Sentence(en="batch size {batch_size}", zh="批次大小 {batch_size}"),
    "label_knee": Sentence(en="knee {knee}", zh="拐点 {knee}"),
    "label_near": Sentence(en="within 10 %", zh="相差 10 % 以内"),
    "label_best": Sentence(en="best: {batch_size}", zh="最好：{batch_size}"),
    "label_current": Sentence(en="in use today: {batch_size}", zh="现在使用：{batch_size}"),
    "label_largest": Sentence(en="largest timed: {batch_size}", zh="计过时的最大：{batch_size}"),
    "label_soonest": Sentence(en="soonest: {batch_size}", zh="最快：{batch_size}"),
    "label_target": Sentence(en="target {value}", zh="目标 {value}"),
    "label_batch_size_of_run": Sentence(
        en="batch size of the run: {batch_size}", zh="这次训练的批次大小：{batch_size}"
    ),
    "part_data": Sentence(en="data", zh="数据"),
    "part_compute": Sentence(en="forward and backward", zh="前向与反向"),
    "part_optimizer": Sentence(en="optimizer", zh="优化器"),
    "hover_batch_size": Sentence(en="Batch size {batch_size}", zh="批次大小 {batch_size}"),
    "hover_step": Sentence(en="Time per step: {seconds}", zh="每步时间：{seconds}"),
    "hover_epoch": Sentence(en="Time per epoch: {seconds}", zh="每周期时间：{seconds}"),
    "hover_rate_of_examples": Sentence(en="{rate} {unit} per second", zh="每秒 {rate} 个（{unit}）"),
    "hover_quartiles": Sentence(en="Half of the steps: {span}", zh="一半的步在：{span}"),
    "hover_does_not_fit": Sentence(
        en="Batch size {batch_size} does not fit in memory", zh="批次大小 {batch_size} 放不进内存"
    ),
    "hover_part": Sentence(en="{part}: {share}, {seconds}", zh="{part}：{share}，{seconds}"),
    "hover_memory": Sentence(en="Peak memory: {memory}", zh="内存峰值：{memory}"),
    "hover_memory_each": Sentence(en="{memory} for each example", zh="每个样本 {memory}"),
    "hover_time": Sentence(en="Time to target: {seconds}", zh="达到目标的时间：{seconds}"),
    "hover_steps": Sentence(en="Steps to target: {steps}", zh="达到目标的步数：{steps}"),
    "hover_learning_rate": Sentence(en="Learning rate: {rate}", zh="学习率：{rate}"),
    "hover_learning_rate_and_seed": Sentence(
        en="Learning rate {rate}, seed {seed}", zh="学习率 {rate}，随机种子 {seed}"
    ),
    "hover_runs": Sentence(en="Runs at this size: {n}", zh="这个大小的训练次数：{n}"),
    "hover_predicted": Sentence(en="Predicted: no run at this size", zh="预测：这个大小没有训练过"),
    "hover_median": Sentence(en="Median of {n} seeds: {median} ({span})", zh="{n} 个种子的中位数：{median}（{span}）"),
    "hover_median_one": Sentence(en="{median} ({n} seed)", zh="{median}（{n} 个种子）"),
    "hover_score": Sentence(en="Mean of {n} seeds: {mean} ({span})", zh="{n} 个种子的平均：{mean}（{span}）"),
    "hover_score_one": Sentence(en="{mean} ({n} seed)", zh="{mean}（{n} 个种子）"),
    "hover_reached": Sentence(
        en="Reached the target after {steps} steps, {epochs} epochs, {seconds}",
        zh="{steps} 步、{epochs} 个周期、{seconds}后达到目标",
    ),
    "hover_finished": Sentence(
        en="Ended after {steps} steps, {epochs} epochs, {seconds}",
        zh="{steps} 步、{epochs} 个周期、{seconds}后结束",
    ),
    "hover_diverged": Sentence(
        en="Diverged by {steps} steps, {epochs} epochs, {seconds}",
        zh="到 {steps} 步、{epochs} 个周期、{seconds}时已发散",
    ),
    "hover_interrupted": Sentence(
        en="Interrupted after {steps} steps, {epochs} epochs, {seconds}",
        zh="{steps} 步、{epochs} 个周期、{seconds}后中断",
    ),
    "hover_curve": Sentence(
        en="Step {steps}, epoch {epochs}, {seconds}", zh="第 {steps} 步，{epochs} 个周期，{seconds}"
    ),
    "hover_curve_metric": Sentence(
        en="{metric}: {train} in training, {validation} in validation",
        zh="{metric}：训练集 {train}，验证集 {validation}",
    ),
    "hover_curve_loss": Sentence(
        en="Loss: {train} in training, {validation} in validation", zh="损失：训练集 {train}，验证集 {validation}"
    ),
    "hover_noise_at": Sentence(en="Step {steps}, epoch {epochs}", zh="第 {steps} 步，{epochs} 个周期"),
    "hover_noise": Sentence(en="Noise scale: {noise}", zh="噪声尺度：{noise}"),
    "alt_time_to_target": Sentence(
        en="Chart of time to target for batch sizes {low} to {high}: shortest at {batch_size}, {seconds}.",
        zh="达到目标的时间随批次大小 {low} 至 {high} 变化的图：在 {batch_size} 处最短，{seconds}。",
    ),
    "alt_step_time": Sentence(
        en="Chart of time per step, on logarithmic axes: {first} at batch size {low}, {last} at {high}.",
        zh="每步时间的对数坐标图：批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_epoch_time": Sentence(
        en="Chart of time per epoch, on logarithmic axes: {first} at batch size {low}, {last} at {high}.",
        zh="每周期时间的对数坐标图：批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_time_split": Sentence(
        en="Bars: at batch size {batch_size}, data {data}, forward and backward {compute}, optimizer {optimizer}.",
        zh="堆叠条形图：批次大小 {batch_size} 时，数据 {data}，前向与反向 {compute}，优化器 {optimizer}。",
    ),
    "alt_memory": Sentence(
        en="Chart of peak memory: {first} at batch size {low}, {last} at {high}.",
        zh="内存峰值图：批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_accuracy": Sentence(
        en="Chart of training and validation {metric} after {epochs} epochs: "
        "validation {first} at batch size {low}, {last} at {high}.",
        zh="{epochs} 个周期后训练集与验证集{metric}的图：验证集在批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_steps": Sentence(
        en="Chart of steps to target: {reached} of {n} runs reached it.",
        zh="达到目标步数的图：{n} 次训练中 {reached} 次达到。",
    ),
    "alt_best_rate": Sentence(
        en="Chart of the best learning rate: {first} at batch size {low}, {last} at {high}.",
        zh="最好学习率的图：批次大小 {low} 时 {first}，{high} 时 {last}。",
    ),
    "alt_curves": Sentence(
        en="Learning curves of {n} runs with batch sizes {low} to {high}.",
        zh="{n} 次训练的学习曲线，批次大小 {low} 至 {high}。",
    ),
    "alt_loss_curve": Sentence(
        en="Curves of the loss, at the end {train} in training and {validation} in validation.",
        zh="损失曲线，结束时训练集 {train}，验证集 {validation}。",
    ),
    "alt_metric_curve": Sentence(
        en="Curves of {metric}, at the end {train} in training and {validation} in validation.",
        zh="{metric}曲线，结束时训练集 {train}，验证集 {validation}。",
    ),
    "alt_noise": Sentence(
        en="Chart of the gradient noise scale at {n} points of the run, {first} at first, {last} at last.",
        zh="训练过程中 {n} 个点的梯度噪声尺度图，开始 {first}，最后 {last}。",
    ),
}

# What plotly's own buttons say, word for word in English.
BUTTONS = {
    "button_png": Sentence(en="Save the figure as PNG", zh="将图形存为 PNG"),
    "button_svg": Sentence(en="Save the figure as SVG", zh="将图形存为 SVG"),
    "button_csv": Sentence(en="Save the numbers as CSV", zh="将数据存为 CSV"),
    "button_reset": Sentence(en="Show the whole figure again", zh="重新显示整个图形"),
}
