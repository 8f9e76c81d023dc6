"""Why a number around the loss has no interval, why a verdict is open, and what to try."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LOSS_REASONS = {
    "few_solutions": Sentence(
        en="Fewer than four solutions were compared: their rank correlation has no interval.",
        zh="比较的解少于四个：秩相关没有区间。",
    ),
    "all_alike": Sentence(
        en="Where all solutions have the same value there is nothing to rank, and no correlation.",
        zh="所有解的数值都相同时，无从排序，也就没有相关。",
    ),
    "one_draw": Sentence(
        en="The random subspace was drawn only once: how much of that sharpness is chance is not known.",
        zh="随机子空间只抽取了一次：那个尖锐度里有多少偶然并不知道。",
    ),
    "exact": Sentence(
        en="The number was computed exactly: it needs no interval.", zh="这个数字是精确算出的：不需要区间。"
    ),
    "not_random": Sentence(
        en="Nothing is drawn at random in this measure, so it has no interval; a longer climb may find more.",
        zh="这种度量没有随机抽取，因此没有区间；爬得更久也许会找到更高处。",
    ),
    "not_converged": Sentence(
        en="An eigenvalue had not converged when its products were spent: its error is as large as it is given.",
        zh="乘积用完时有特征值尚未收敛：其误差就有所标的那么大。",
    ),
    "place_unknown": Sentence(
        en="The products were spent before it was certain that no eigenvalue was left out: others, or copies of the "
        "same one, may lie beyond those given.",
        zh="乘积用完时仍不能确定没有漏掉特征值：所给特征值之外可能还有别的，或同一特征值的重复。",
    ),
    "curvature_within_error": Sentence(
        en="The smallest eigenvalue cannot be told from 0 within its error.", zh="最小特征值在误差范围内与 0 无法区分。"
    ),
    "no_scale": Sentence(
        en="Loss or weights are 0, so there is nothing to compare gradient and curvature with.",
        zh="损失或参数为 0，梯度与曲率无从比较。",
    ),
    "not_finite": Sentence(
        en="Some losses are infinite or no numbers: they are left out of comparisons and figures.",
        zh="有些损失是无穷大或不是数：比较与图中都不计入。",
    ),
    "one_direction": Sentence(
        en="A line or a plane shows one or two of very many directions: others may look different.",
        zh="一条线或一个平面只展示极多方向中的一两个：别的方向可能不同。",
    ),
    "scale_of_weights": Sentence(
        en="Sharpness that is not adaptive, eigenvalues and trace change when layers are rescaled "
        "that compute the same.",
        zh="只要重新缩放各层，即使计算的函数不变，非自适应的尖锐度、特征值和迹也会改变。",
    ),
    "part_of_examples": Sentence(
        en="The loss was taken over a part of the training set: over all of it, it may look different.",
        zh="损失只取自训练集的一部分：在整个训练集上可能不同。",
    ),
    "one_task": Sentence(
        en="This is one task with one model: how it is elsewhere was not measured.",
        zh="这只是一个任务、一个模型：没有测量别处如何。",
    ),
    "try_small_batches": Sentence(
        en="Small batches: their noise leads on where the full gradient stands still.",
        zh="用小批次：完整梯度停住之处，它们的噪声会继续推动。",
    ),
    "try_momentum": Sentence(
        en="Momentum: it carries across flat stretches and along weak slopes.",
        zh="用动量：它能越过平坦处，并沿缓坡前进。",
    ),
    "try_negative_curvature": Sentence(
        en="A step along the direction of negative curvature: the loss falls there to both sides.",
        zh="沿负曲率方向走一步：损失在那里向两侧都下降。",
    ),
    "try_other_start": Sentence(
        en="Another start: a new seed, or another way to draw the first weights.",
        zh="换一个起点：新的随机种子，或另一种初始化。",
    ),
    "try_normalization": Sentence(
        en="Normalization, or activations that do not saturate: signals may have died on their way.",
        zh="归一化，或不会饱和的激活函数：信号可能在途中消失了。",
    ),
    "try_larger_rate": Sentence(
        en="A larger learning rate: the gradient leads on, but the steps are short.",
        zh="更大的学习率：梯度仍在引导，但步子太小。",
    ),
    "try_larger_model": Sentence(
        en="A larger model: this one may not be able to do better.", zh="更大的模型：这个模型也许已无法更好。"
    ),
    "try_more_steps": Sentence(en="More steps: training has not ended yet.", zh="更多步：训练还没有结束。"),
    "try_double": Sentence(
        en="Double precision and more products (--double): the errors are too large for a verdict.",
        zh="双精度和更多乘积（--double）：误差太大，无法判断。",
    ),
    "found_by_climbing": Sentence(
        en="The highest loss in a box is found by climbing: each sharpness is a lower bound.",
        zh="盒子里的最高损失靠爬升找到：每个尖锐度都是下界。",
    ),
    "many_intervals": Sentence(
        en="Many correlations are compared: some lie beyond their interval by chance alone.",
        zh="比较了许多相关：其中有些仅因偶然而超出区间。",
    ),
    "two_ends": Sentence(
        en="The verdict rests on a tolerance: what changes the loss by less than 0.1 % counts as flat.",
        zh="结论取决于容差：使损失变化不到 0.1 % 的都算作平坦。",
    ),
    "starts_descending": Sentence(
        en="Some starts were still descending when they were followed on: that they got on is no escape.",
        zh="有些起点在继续之前仍在下降：它们的前进不算逃脱。",
    ),
    "noise_not_best_size": Sentence(
        en="The noise scale grows along a run and depends on its learning rate: it is not the best batch size.",
        zh="噪声尺度随训练增大，并取决于学习率：它不是最好的批次大小。",
    ),
}
