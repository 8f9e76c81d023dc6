"""How the numbers around the loss were made, and the words used: shown on demand."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LOSS_METHODS = {
    "method_setup_train": Sentence(
        en="The loss is the mean over {examples} examples of the training set, a function of {parameters} weights, "
        "in {precision}.",
        zh="损失是训练集 {examples} 个样本的平均，是 {parameters} 个参数的函数，用 {precision} 计算。",
    ),
    "method_setup_validation": Sentence(
        en="The loss is the mean over {examples} examples of the validation set, a function of {parameters} weights, "
        "in {precision}.",
        zh="损失是验证集 {examples} 个样本的平均，是 {parameters} 个参数的函数，用 {precision} 计算。",
    ),
    "method_setup_own": Sentence(
        en="The loss is the mean over {examples} examples of your own, a function of {parameters} weights, "
        "in {precision}.",
        zh="损失是自备的 {examples} 个样本的平均，是 {parameters} 个参数的函数，用 {precision} 计算。",
    ),
    "method_norm_eval": Sentence(
        en="Batch normalization uses its running statistics: no example changes the loss of another.",
        zh="批归一化使用滑动统计量：样本之间互不影响损失。",
    ),
    "method_norm_batch": Sentence(
        en="Batch normalization takes its statistics from {chunk} examples at a time: another number, another loss.",
        zh="批归一化每次取 {chunk} 个样本的统计量：数目不同，损失也不同。",
    ),
    "method_by_autograd": Sentence(
        en="Products with the matrix are exact, by differentiating twice; the matrix is never formed.",
        zh="与矩阵的乘积由两次求导精确得到；从不构造矩阵本身。",
    ),
    "method_by_differences": Sentence(
        en="Products with the Hessian are differences of two gradients close by, so they carry an error of their own.",
        zh="与海森矩阵的乘积是相近两点的梯度之差，因此本身带有误差。",
    ),
    "method_residual": Sentence(
        en="By Lanczos' method, {products} products in all. An eigenvalue of the matrix lies within the error given "
        "after each value. Further runs from random vectors look for copies and for eigenvalues that were left out: "
        "where an eigenvalue is called converged, one beyond it was missed with a chance of 1 % at most.",
        zh="用 Lanczos 方法，共用 {products} 次乘积。每个数值后所标误差范围内必有矩阵的一个特征值。"
        "再从随机向量出发寻找重复的与漏掉的特征值：标为已收敛的特征值，其外还有遗漏的可能性至多为 1%。",
    ),
    "method_trace": Sentence(
        en="The trace is by Hutch++: exact on the directions seen first, and estimated by random vectors on the rest, "
        "which the interval is of. Where nothing is left on the rest, the trace is exact.",
        zh="迹由 Hutch++ 得到：先见到的方向上精确，其余用随机向量估计，区间即来自后者。其余为零时，迹是精确值。",
    ),
    "method_density": Sentence(
        en="The density is by stochastic Lanczos quadrature with {probes} random vectors of {steps} steps, each node "
        "widened to {width}.",
        zh="密度由随机 Lanczos 求积得到，{probes} 个随机向量，各 {steps} 步，每个节点展宽为 {width}。",
    ),
    "method_sharpness": Sentence(
        en="100 (max f - f(x)) / (1 + f(x)), the maximum over a box around the weights x, climbed by L-BFGS-B: the "
        "true maximum may lie higher.",
        zh="100 (max f - f(x)) / (1 + f(x))，最大值取自参数 x 周围的盒子，用 L-BFGS-B 爬升：真正的最大值可能更高。",
    ),
    "method_boxes": Sentence(
        en="Keskar's box has half side ε (|x| + 1) for each weight x, the adaptive one ε |x|, which rescaling "
        "of layers "
        "does not change. A random subspace cuts the box to few dimensions.",
        zh="Keskar 的盒子对每个参数 x 的半边长为 ε (|x| + 1)，自适应盒子为 ε |x|，不受各层缩放影响。"
        "随机子空间把盒子限制在少数维度。",
    ),
    "method_rescaling": Sentence(
        en="A network can be rescaled to be as sharp as one likes without changing what it computes (Dinh et al.), so "
        "compare solutions of one model only.",
        zh="网络可以任意缩放得更尖锐而所算的函数不变（Dinh 等），因此只应比较同一模型的解。",
    ),
    "method_line": Sentence(
        en="Loss and {metric} at (1 - alpha) first + alpha second; validation over {examples} examples.",
        zh="在 (1 - alpha) 第一解 + alpha 第二解处的损失与{metric}；验证用 {examples} 个样本。",
    ),
    "method_plane": Sentence(
        en="Each filter of a direction has the norm of the model's own, biases and normalization stay: validation over "
        "{examples} examples.",
        zh="方向的每个滤波器与模型自身的范数相同，偏置与归一化不变：验证用 {examples} 个样本。",
    ),
    "method_recomputed": Sentence(
        en="Statistics of batch normalization were computed anew at every point.",
        zh="批归一化的统计量在每一点重新计算。",
    ),
    "method_shift": Sentence(
        en="Noise and moves change the same examples, so the interval is that of paired differences; other data is "
        "compared as two sets. Drawing the training set again shows how far chance alone goes.",
        zh="噪声与平移改变的是同样的样本，区间来自成对差；别的数据按两个集合比较。重新抽取训练集显示偶然能走多远。",
    ),
    "method_correlation": Sentence(
        en="Rank correlations have Fisher's interval over the solutions: they say nothing about why.",
        zh="秩相关用跨解的 Fisher 区间：它们不说明原因。",
    ),
    "method_standing": Sentence(
        en="A gradient counts if its best step lowers the loss noticeably, an eigenvalue if its sign is beyond its "
        "error "
        "and going a tenth of the weights' norm along it changes the loss noticeably.",
        zh="若沿梯度最好的一步能明显降低损失，梯度才算数；若特征值的符号超出误差，且沿其走参数范数的十分之一能明显改变损失，它才算数。",
    ),
    "method_seen_ends": Sentence(
        en="Only the two ends of the spectrum are judged: a verdict holds for the examples and weights seen.",
        zh="只判断谱的两端：结论只对所见的样本和参数成立。",
    ),
    "method_batch_steps": Sentence(
        en="A batch's step has a length of 1 over the largest magnitude of an eigenvalue times its gradient; "
        "whether it "
        "lowers the loss is seen on at most {examples} examples.",
        zh="批次的步长是 1 除以特征值的最大绝对值，再乘其梯度；是否降低损失最多看 {examples} 个样本。",
    ),
    "method_escape": Sentence(
        en="{starts} starts descend with the full batch for at most {descent} steps. Intervals of shares are exact "
        "binomial ones; intervals that overlap decide nothing.",
        zh="{starts} 个起点用全批次下降，最多 {descent} 步。比例的区间是精确二项区间；区间重叠则不下结论。",
    ),
    "method_noise_micro_batches": Sentence(
        en="The parts compared are micro-batches of {micro} examples.", zh="比较的部分是 {micro} 个样本的微批次。"
    ),
    "method_noise_processes": Sentence(
        en="The parts compared are those of the processes that trained together.",
        zh="比较的部分来自共同训练的各个进程。",
    ),
    "method_noise_examples": Sentence(en="The parts compared are single examples.", zh="比较的部分是单个样本。"),
    "method_noise_mnist": Sentence(
        en="For comparison: McCandlish et al. list about 900 for MNIST late in training.",
        zh="作为对照：McCandlish 等列出 MNIST 训练后期约为 900。",
    ),
    "method_noise_metric": Sentence(
        en="In the optimizer's metric, squares are divided by its own scale of each weight, as its steps are.",
        zh="按优化器的度量，平方除以优化器自己对每个参数的尺度，正如它的步子。",
    ),
    "method_noise_curvature": Sentence(
        en="By curvature it is tr(H Σ) / G H G: each direction counts by how much the loss bends along it.",
        zh="按曲率为 tr(H Σ) / G H G：每个方向按损失沿其弯曲的程度计入。",
    ),
    "method_n_loss": Sentence(
        en="n is how many measurements stand behind a number: random vectors, subspaces, examples, batches, starts or "
        "solutions.",
        zh="n 是数字背后的测量次数：随机向量、子空间、样本、批次、起点或解。",
    ),
    "word_solution": Sentence(
        en="Solution: the weights that a training run ended with.", zh="解：一次训练结束时的参数。"
    ),
    "word_hessian": Sentence(
        en="Hessian: all second derivatives of the loss. Its trace is the sum of its eigenvalues.",
        zh="海森矩阵：损失的全部二阶导数。它的迹是特征值之和。",
    ),
    "word_saddle": Sentence(
        en="Saddle: a point without slope where the loss bends up along some directions and down along others.",
        zh="鞍点：没有坡度，而损失沿一些方向向上弯、沿另一些方向向下弯的点。",
    ),
    "method_gauss_newton": Sentence(
        en="The Gauss-Newton matrix leaves out how the outputs bend: it is the Hessian of a model made linear here.",
        zh="高斯-牛顿矩阵略去模型输出自身的弯曲：它是在此处线性化的模型的海森矩阵。",
    ),
    "method_same_starts": Sentence(
        en="Every batch size goes on from the same points, at the same learning rate, for the same number of steps.",
        zh="各个批次大小从同样的点出发，学习率相同，步数相同。",
    ),
    "method_noise_text": Sentence(
        en="For comparison: McCandlish et al. list about 150,000 tokens for language modeling on Billion Word.",
        zh="作为对照：McCandlish 等列出 Billion Word 语言模型约为 150,000 个 token。",
    ),
}
