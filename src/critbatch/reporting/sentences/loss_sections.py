"""Headings, paragraphs, tiles and heads of tables around the loss."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LOSS_SECTIONS = {
    "section_curvature": Sentence(en="Curvature", zh="曲率"),
    "curvature_text": Sentence(
        en="An eigenvalue of the Hessian is how much the loss bends along one direction: up where it is above 0, down "
        "where it is below.",
        zh="海森矩阵的特征值是损失沿一个方向的弯曲程度：大于 0 向上弯，小于零向下弯。",
    ),
    "curvature_no_density": Sentence(en="The spectral density was not measured.", zh="没有测量谱密度。"),
    "curvature_no_trace": Sentence(en="The trace was not measured.", zh="没有测量迹。"),
    "curvature_caption": Sentence(en="The eigenvalues, in numbers", zh="特征值（数字）"),
    "section_sharpness": Sentence(en="Sharpness", zh="尖锐度"),
    "sharpness_text": Sentence(
        en="Sharpness is how far the loss rises, in percent of 1 plus the loss, at the worst place of a small box "
        "around the solution.",
        zh="尖锐度是在解周围小盒子里最坏处的损失升幅，以 1 加损失的百分数计。",
    ),
    "sharpness_zero": Sentence(
        en="{n} values are 0 or no numbers: a logarithmic axis cannot show them.",
        zh="{n} 个值为 0 或不是数：对数坐标无法显示。",
    ),
    "sharpness_zero_one": Sentence(
        en="{n} value is 0 or no number: a logarithmic axis cannot show it.",
        zh="{n} 个值为 0 或不是数：对数坐标无法显示。",
    ),
    "sharpness_caption": Sentence(en="The solutions, in numbers", zh="各个解（数字）"),
    "section_landscape": Sentence(en="The landscape of the loss", zh="损失的地形"),
    "landscape_line_text": Sentence(
        en="The weights go in a straight line from one solution to the other, and a stretch beyond both.",
        zh="参数沿直线从一个解走到另一个解，并向两端延伸一段。",
    ),
    "landscape_plane_text": Sentence(
        en="The weights leave the solution along two random directions, each filter by as much as its own norm at 1.",
        zh="参数沿两个随机方向离开该解；在 1 处，每个滤波器移动的距离等于其自身的范数。",
    ),
    "landscape_left_out": Sentence(
        en="At {n} points the training loss is not finite or not above 0: they are not drawn.",
        zh="有 {n} 个点的训练集损失不是有限数或不大于 0：没有画出。",
    ),
    "landscape_left_out_one": Sentence(
        en="At {n} point the training loss is not finite or not above 0: it is not drawn.",
        zh="有 {n} 个点的训练集损失不是有限数或不大于 0：没有画出。",
    ),
    "landscape_nothing": Sentence(en="There is nothing to draw here.", zh="这里没有可画的。"),
    "landscape_caption": Sentence(en="The landscape, in numbers", zh="地形（数字）"),
    "landscape_grid_note": Sentence(
        en="Training loss; rows are the second direction, columns the first.",
        zh="训练集损失；行为第二方向，列为第一方向。",
    ),
    "section_shift": Sentence(en="When the data shifts", zh="数据偏移时"),
    "shift_text": Sentence(
        en="The training set is replaced by other data, and each solution's loss is taken anew, without more training.",
        zh="把训练集换成别的数据，不再训练，重新计算每个解的损失。",
    ),
    "shift_caption": Sentence(en="Every solution and shift, in numbers", zh="每个解与偏移（数字）"),
    "shift_predicts": Sentence(
        en="How well sharpness ranks the solutions by the rise of their loss: Spearman's correlation. 1 is the same "
        "order, -1 the reverse.",
        zh="尖锐度能否按损失上升给各个解排序：斯皮尔曼相关。1 为同序，-1 为逆序。",
    ),
    "shift_predictions_caption": Sentence(en="Rank correlations, in numbers", zh="秩相关（数字）"),
    "shift_resampled": Sentence(en="the same, drawn again", zh="重新抽取的训练集"),
    "shift_validation": Sentence(en="the validation set", zh="验证集"),
    "shift_noise": Sentence(en="noise of strength {strength}", zh="强度 {strength} 的噪声"),
    "shift_moved": Sentence(en="pictures moved by {strength} pixels", zh="平移 {strength} 像素的图像"),
    "shift_moved_one": Sentence(en="pictures moved by {strength} pixel", zh="平移 {strength} 像素的图像"),
    "shift_own": Sentence(en="{name}", zh="{name}"),
    "section_critical": Sentence(en="Where training stands", zh="训练停在哪里"),
    "critical_text": Sentence(
        en="At a minimum the loss bends up everywhere, at a saddle also down, on a plateau hardly at all. The full "
        "gradient is nearly 0 at each; those of single batches need not be.",
        zh="极小值点处损失处处向上弯，鞍点处也有向下的方向，平台上几乎不弯。"
        "三者的完整梯度都接近 0；单个批次的梯度则未必。",
    ),
    "critical_nothing": Sentence(en="No gradient of a single batch was measured.", zh="没有测量单个批次的梯度。"),
    "critical_caption": Sentence(en="Gradients of single batches, in numbers", zh="单个批次的梯度（数字）"),
    "section_escape": Sentence(en="Getting on from where descent stopped", zh="从下降停止处继续"),
    "escape_text": Sentence(
        en="From each point where descent with the full batch stopped, training goes on at each batch size. It has "
        "escaped if the loss over all examples ends at least {drop} lower.",
        zh="从全批次下降停止的每一点出发，用各个批次大小继续训练。若全部样本的损失最终至少低 {drop}，就算逃脱。",
    ),
    "escape_caption": Sentence(en="Every batch size, in numbers", zh="每个批次大小（数字）"),
    "standing_minimum": Sentence(en="minimum", zh="极小值点"),
    "standing_saddle": Sentence(en="saddle", zh="鞍点"),
    "standing_plateau": Sentence(en="plateau", zh="平台"),
    "standing_maximum": Sentence(en="maximum", zh="极大值点"),
    "standing_descending": Sentence(en="still descending", zh="仍在下降"),
    "standing_undecided": Sentence(en="not decided", zh="尚无定论"),
    "standing_count": Sentence(en="{standing} {n}", zh="{standing} {n}"),
    "measure_full": Sentence(en="Keskar's box, ε = {epsilon}", zh="Keskar 的盒子，ε = {epsilon}"),
    "measure_random": Sentence(en="random subspace, ε = {epsilon}", zh="随机子空间，ε = {epsilon}"),
    "measure_adaptive": Sentence(en="adaptive box, ε = {epsilon}", zh="自适应盒子，ε = {epsilon}"),
    "measure_largest": Sentence(en="largest eigenvalue", zh="最大特征值"),
    "measure_trace": Sentence(en="trace", zh="迹"),
    "tile_largest_eigenvalue": Sentence(en="Largest eigenvalue", zh="最大特征值"),
    "tile_smallest_eigenvalue": Sentence(en="Smallest eigenvalue", zh="最小特征值"),
    "tile_trace": Sentence(en="Trace", zh="迹"),
    "tile_loss": Sentence(en="Loss", zh="损失"),
    "tile_loss_at": Sentence(en="Loss at {label}", zh="{label} 处的损失"),
    "tile_highest": Sentence(en="Highest between", zh="其间最高"),
    "tile_highest_seen": Sentence(en="Highest seen", zh="测到的最高"),
    "tile_gradient": Sentence(en="Gradient norm", zh="梯度范数"),
    "tile_validation": Sentence(en="validation {metric} {value}", zh="验证集{metric} {value}"),
    "tile_residual": Sentence(en="± {residual}", zh="± {residual}"),
    "tile_residual_open": Sentence(en="± {residual}, not converged", zh="± {residual}，尚未收敛"),
    "tile_residual_unplaced": Sentence(
        en="± {residual}, others may lie beyond it", zh="± {residual}，其外可能还有别的"
    ),
    "tile_examples": Sentence(en="over {examples} examples", zh="{examples} 个样本"),
    "tile_alpha": Sentence(en="at alpha = {alpha}", zh="alpha = {alpha} 处"),
    "tile_rise": Sentence(en="Rise: {label}", zh="上升：{label}"),
    "tile_escaped": Sentence(en="Batch size {batch_size}", zh="批次大小 {batch_size}"),
    "tile_drop": Sentence(en="best step: {drop} off the loss", zh="最好的一步：损失减少 {drop}"),
    "column_eigenvalue": Sentence(en="Eigenvalue", zh="特征值"),
    "column_value": Sentence(en="Value", zh="数值"),
    "column_residual": Sentence(en="Within", zh="误差不超过"),
    "column_converged": Sentence(en="Converged", zh="已收敛"),
    "row_largest": Sentence(en="largest, no. {number}", zh="最大，第 {number}"),
    "row_smallest": Sentence(en="smallest, no. {number}", zh="最小，第 {number}"),
    "yes": Sentence(en="yes", zh="是"),
    "no": Sentence(en="no", zh="否"),
    "no_place": Sentence(en="no, others may lie beyond it", zh="否，其外可能还有别的"),
    "column_solution": Sentence(en="Solution", zh="解"),
    "column_train_loss": Sentence(en="Training loss", zh="训练集损失"),
    "column_validation_loss": Sentence(en="Validation loss", zh="验证集损失"),
    "column_train_metric": Sentence(en="Training {metric}", zh="训练集{metric}"),
    "column_validation_metric": Sentence(en="Validation {metric}", zh="验证集{metric}"),
    "column_shift": Sentence(en="Data", zh="数据"),
    "column_rise": Sentence(en="Rise of the loss", zh="损失的上升"),
    "column_loss": Sentence(en="Loss", zh="损失"),
    "column_measure": Sentence(en="Measure", zh="度量"),
    "column_correlation": Sentence(en="Correlation", zh="相关"),
    "column_median_norm": Sentence(en="Median norm", zh="范数中位数"),
    "column_quartiles": Sentence(en="Quartiles", zh="四分位数"),
    "column_descending": Sentence(en="Step lowers the loss", zh="步子降低损失"),
    "column_escaped": Sentence(en="Escaped", zh="逃脱"),
    "column_median_steps": Sentence(en="Median steps to escape", zh="逃脱步数中位数"),
    "column_median_loss": Sentence(en="Median loss at the end", zh="结束时损失中位数"),
    "column_layer": Sentence(en="Layer", zh="层"),
    "column_parameters": Sentence(en="Weights", zh="参数"),
    "column_tokens": Sentence(en="In tokens", zh="按 token 计"),
    "column_in_metric": Sentence(en="In the optimizer's metric", zh="按优化器的度量"),
    "column_by_curvature": Sentence(en="By curvature", zh="按曲率"),
    "noise_layers_caption": Sentence(
        en="Layer by layer at step {steps}, in numbers", zh="第 {steps} 步逐层的噪声尺度（数字）"
    ),
    "again_loss_text": Sentence(
        en="The same command with the same seed measures the same weights in the same way.",
        zh="同样的命令、同样的随机种子会以同样方式测量同样的参数。",
    ),
    "comma": Sentence(en=", ", zh="、"),
    "cell_level": Sentence(en="The small numbers are {level} intervals.", zh="小字是 {level} 区间。"),
    "cell_interval": Sentence(en="{span}, {n}", zh="{span}，{n}"),
    "cell_n": Sentence(en="n = {n}", zh="n = {n}"),
    "column_alpha": Sentence(en="alpha", zh="alpha"),
    "column_starts": Sentence(en="Starts", zh="起点"),
    "escapes_of": Sentence(en="{escapes} of {starts}", zh="{starts} 中的 {escapes}"),
    "tile_with": Sentence(en="with {shift}", zh="换成{shift}"),
    "tile_exact": Sentence(en="exact", zh="精确值"),
    "tile_not_random": Sentence(en="nothing drawn at random", zh="没有随机抽取"),
    "tile_step_tokens": Sentence(en="step {steps}; {tokens} tokens", zh="第 {steps} 步；{tokens} 个 token"),
    "hero_note_density": Sentence(
        en="The density is logarithmic: the low bumps hold few eigenvalues. Marks are those found one by one, their "
        "bars the error.",
        zh="密度为对数坐标：低的突起只含少数特征值。标记是逐个求得的特征值，横线为误差。",
    ),
    "hero_note_eigenvalues": Sentence(
        en="The first number is the outermost eigenvalue of each end; bars are errors.",
        zh="首个序号是每一端最外侧的特征值；竖线为误差。",
    ),
    "hero_note_sharpness": Sentence(
        en="Further right is sharper. The axis is logarithmic; bars are intervals, where there are any.",
        zh="越靠右越尖锐。坐标轴为对数；有区间之处以横线表示。",
    ),
    "hero_note_line": Sentence(
        en="Solid is training, dashed validation. The dotted lines are the two solutions.",
        zh="实线为训练集，虚线为验证集。竖直点线处是两个解。",
    ),
    "hero_note_plane": Sentence(
        en="The star is the solution. Colours are steps of training loss.", zh="星号是该解。颜色表示训练集损失的等级。"
    ),
    "hero_note_shift": Sentence(
        en="To the right of the dotted line the loss rises; bars are intervals.",
        zh="点线右侧表示损失上升；横线为区间。",
    ),
    "hero_note_critical": Sentence(
        en="Both axes are logarithmic. Where single batches stand far above the dashed line, their noise moves the "
        "weights though the full gradient hardly does.",
        zh="两个坐标轴都是对数的。单个批次远高于虚线时，完整梯度几乎不动，而它们的噪声仍会移动参数。",
    ),
    "hero_note_escape": Sentence(
        en="Bars are exact binomial intervals. The largest batch size is the full batch.",
        zh="竖线为精确二项区间。最大的批次大小即全批次。",
    ),
    "shift_scatter_note": Sentence(
        en="If sharp solutions lose more, marks further right stand higher.",
        zh="若尖锐的解损失更多，越靠右的标记越高。",
    ),
    "noise_layers_text": Sentence(
        en="The same, layer by layer, at step {steps}: a layer counts its own part of the gradient alone.",
        zh="第 {steps} 步逐层的情形：每层只计梯度中自己的部分。",
    ),
    "noise_layers_chosen": Sentence(
        en="Drawn are the {shown} of {layers} layers with the most weights.",
        zh="画出 {layers} 层中参数最多的 {shown} 层。",
    ),
}
