"""The ten claims as the lecture makes them, and what is known since."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE_CLAIMS = {
    "lecture_claim_batches": Sentence(
        en="A batch is B examples, an epoch is all batches once, and reshuffling makes other batches in every epoch.",
        zh="一个批次是 B 笔资料，看过所有批次一次叫一个周期（epoch）；每个周期重新分批，批次都不一样。",
    ),
    "lecture_claim_paths": Sentence(
        en="The full batch makes one steady step an epoch; batch size 1 makes as many steps as there are examples, "
        "each unsteady.",
        zh="全批次每个周期只走一步，但走得稳；批次大小为 1 时，有多少笔资料就走多少步，但每步不稳。",
    ),
    "lecture_claim_time": Sentence(
        en="With parallel hardware an update takes hardly longer for a large batch, until the batch is very large; an "
        "epoch takes less time.",
        zh="有并行运算时，大批次的一次更新几乎不更久，除非批次非常大；一个周期反而更快。",
    ),
    "lecture_claim_optimization": Sentence(
        en="Larger batches end with a worse training accuracy, too: the trouble is optimization, not overfitting.",
        zh="批次越大，训练集上的结果也越差：这是优化的问题，不是过拟合。",
    ),
    "lecture_claim_noise": Sentence(
        en="Where full-batch descent is stuck, at a local minimum or a saddle point, small batches still get on.",
        zh="全批次卡在局部极小值或鞍点时，小批次仍能继续前进。",
    ),
    "lecture_claim_generalization": Sentence(
        en="Trained equally well, small batches do better on new data.", zh="训练得一样好时，小批次在新数据上表现更好。"
    ),
    "lecture_claim_minima": Sentence(
        en="Large batches tend to end in sharp minima, which suffer more when test data differ from training data. "
        "The lecture adds that not everyone believes this.",
        zh="大批次倾向于走到峡谷（尖锐的极小值）里，测试与训练不一致时损失更大。讲义补充说，并不是每个人都相信。",
    ),
    "lecture_claim_summary": Sentence(
        en="Small batches win in optimization and generalization, large ones in time for an epoch and in steadiness.",
        zh="小批次在优化与泛化上占优，大批次在一个周期的时间与梯度的稳定上占优。",
    ),
    "lecture_claim_choice": Sentence(
        en="Batch size is one more hyper-parameter that has to be chosen.", zh="批次大小是另一个需要调整的超参数。"
    ),
    "lecture_claim_both": Sentence(
        en="There are recipes that keep the speed of large batches and the result of small ones.",
        zh="有些方法既有大批次的速度，又有小批次的结果。",
    ),
    "lecture_later_batches": Sentence(
        en="Goyal et al. 2017 keep this definition on 256 GPUs: one random order of all examples for each epoch, cut "
        "in as many parts as there are workers.",
        zh="Goyal et al. 2017 在 256 块 GPU 上沿用这一定义：每个周期对全部样本取一个随机顺序，再按设备数切分。",
    ),
    "lecture_later_paths": Sentence(
        en="McCandlish et al. 2018 turn unsteadiness into a number: the variance of a batch's gradient falls as the "
        "inverse of its size, and at the noise scale it equals the squared gradient.",
        zh="McCandlish et al. 2018 把不稳定程度变成一个数：批次梯度的方差与批次大小成反比，在噪声尺度处等于梯度的平方"
        "。",
    ),
    "lecture_later_time": Sentence(
        en="The lecture's own figure, read off pixel by pixel, is close to 6 ms and 0.155 ms more for each image: an "
        "update of 1,000 takes about 25 times as long as one of 1, and looks the same only on an axis that goes to 10 "
        "s. Goyal et al. 2017 saw the time of a step rise by about 12 % from batch size 256 to 11,000, with as many "
        "more GPUs.",
        zh="讲义的图逐点读出后，约为 6 ms 加每张图像 0.155 ms：1,000 的一次更新约是 1 的 25 倍，只是在到 10 s 的坐标轴"
        "上看起来一样。Goyal et al. 2017 中批次大小从 256 到 11,000、GPU 同样增多时，每步时间约增加 12 %。",
    ),
    "lecture_later_optimization": Sentence(
        en="Shallue et al. 2018, with rates tuned at each of many batch sizes for 35 workloads: a budget in epochs "
        "favours small batches and one in steps large ones, and most disagreements come from that choice.",
        zh="Shallue et al. 2018 在 35 个任务的许多批次大小上分别调学习率：按周期计的预算有利于小批次，按步数计的有利于"
        "大批次，多数分歧来自这一选择。",
    ),
    "lecture_later_noise": Sentence(
        en="Smith et al. 2017: what sets the noise is the learning rate over the batch size, so that a larger rate "
        "can do what a smaller batch does, until it diverges.",
        zh="Smith et al. 2017：决定噪声的是学习率与批次大小之比，因此增大学习率与减小批次有同样的作用，直到发散为止。",
    ),
    "lecture_later_generalization": Sentence(
        en="Keskar et al. 2016 kept the same rate for both batch sizes. Hoffer et al. 2017 closed the gap with a "
        "scaled rate, smaller batches for batch norm, and as many steps; Goyal et al. 2017 lost 0.14 points of 76.4 "
        "from batch size 256 to 8,192; Shallue et al. 2018 found no evidence that tuned large batches must generalize "
        "worse. Masters and Luschi 2018 found sizes from 2 to 32 best.",
        zh="Keskar et al. 2016 对两种批次大小用同一学习率。Hoffer et al. 2017 以缩放的学习率、更小的批归一化批次和同样"
        "多的步数消除了差距；Goyal et al. 2017 从批次大小 256 到 8,192，76.4 只降 0.14 个百分点；Shallue et al. 2018 "
        "没有发现调好的大批次必然泛化更差的证据。Masters and Luschi 2018 认为 2 到 32 最好。",
    ),
    "lecture_later_minima": Sentence(
        en="Not everyone believes it. Dinh et al. 2017: rescaling the layers of one and the same function makes its "
        "minimum as sharp as one likes, so sharpness alone cannot explain generalization. Kwon et al. 2021 measure in "
        "a way that such rescaling leaves alone: it is among the measures here, and speaks for or against with its "
        "number.",
        zh="并不是每个人都相信。Dinh et al. 2017：对同一个函数重新缩放各层，极小值可以要多尖有多尖，因此仅凭尖锐度不能"
        "解释泛化。Kwon et al. 2021 的度量不受这种缩放影响：它也在这里的度量之中，用数字表示支持或反对。",
    ),
    "lecture_later_summary": Sentence(
        en="Shallue et al. 2018: which size wins depends on what is held equal. The sections above hold epochs, steps "
        "and seconds equal in turn.",
        zh="Shallue et al. 2018：谁占优取决于什么被固定。上面各节依次固定周期数、步数和时间。",
    ),
    "lecture_later_choice": Sentence(
        en="Shallue et al. 2018 found the largest useful size between 512 and 65,536, another one for each model, "
        "optimizer and data set. McCandlish et al. 2018 predict it from the gradient noise scale.",
        zh="Shallue et al. 2018 发现最大的有用批次大小在 512 与 65,536 之间，随模型、优化器与数据集而不同。McCandlish "
        "et al. 2018 用梯度噪声尺度预测它。",
    ),
    "lecture_later_both": Sentence(
        en="The lecture names five papers. Nado et al. 2021 add a warning: with the same care in tuning, Nesterov "
        "momentum and Adam match or beat LARS and LAMB at the same batch size.",
        zh="讲义列出五篇论文。Nado et al. 2021 提醒：同样用心调参时，Nesterov 动量与 Adam 在同样的批次大小下不逊于 "
        "LARS 与 LAMB。",
    ),
}
