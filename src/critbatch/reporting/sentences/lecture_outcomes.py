"""What the lecture's claims 5 to 10 rest on: as a row of a table, and as a sentence with its number."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE_OUTCOMES = {
    "statement_escapes_more": Sentence(
        en="{subject}: share of starts that got on, batch size {small} less {large}",
        zh="{subject}：继续前进的起点的比例，批次大小 {small} 减 {large}",
    ),
    "finding_escapes_more": Sentence(
        en="On {subject} the share of starts that got on with batch size {small}, less that with {large}, is {effect}.",
        zh="在 {subject} 上，批次大小 {small} 继续前进的起点比例减去 {large} 的，为 {effect}。",
    ),
    "statement_generalizes": Sentence(
        en="{subject}: validation {metric} at equal training {metric}, batch size {small} less {large}",
        zh="{subject}：训练集{metric}相同时的验证集{metric}，批次大小 {small} 减 {large}",
    ),
    "finding_generalizes": Sentence(
        en="On {subject}, at equal training {metric}, validation {metric} with batch size {small} less that with "
        "{large} is {effect}.",
        zh="在 {subject} 上，训练集{metric}相同时，验证集{metric}在批次大小 {small} 减 {large} 之差为 {effect}。",
    ),
    "statement_sharper": Sentence(
        en="{subject}: Keskar's sharpness, batch size {large} over {small}",
        zh="{subject}：Keskar 的尖锐度，批次大小 {large} 与 {small} 之比",
    ),
    "finding_sharper": Sentence(
        en="On {subject} Keskar's sharpness with batch size {large} is {effect} that with {small}.",
        zh="在 {subject} 上，批次大小 {large} 的 Keskar 尖锐度是 {small} 的 {effect}。",
    ),
    "statement_sharper_eigenvalue": Sentence(
        en="{subject}: largest eigenvalue, batch size {large} over {small}",
        zh="{subject}：最大特征值，批次大小 {large} 与 {small} 之比",
    ),
    "finding_sharper_eigenvalue": Sentence(
        en="On {subject} the largest eigenvalue with batch size {large} is {effect} that with {small}.",
        zh="在 {subject} 上，批次大小 {large} 的最大特征值是 {small} 的 {effect}。",
    ),
    "statement_sharper_adaptive": Sentence(
        en="{subject}: sharpness that rescaling leaves alone, batch size {large} over {small}",
        zh="{subject}：不受缩放影响的尖锐度，批次大小 {large} 与 {small} 之比",
    ),
    "finding_sharper_adaptive": Sentence(
        en="On {subject} the sharpness that rescaling leaves alone is, with batch size {large}, {effect} that with "
        "{small}.",
        zh="在 {subject} 上，不受缩放影响的尖锐度，批次大小 {large} 是 {small} 的 {effect}。",
    ),
    "statement_suffers_validation": Sentence(
        en="{subject}: rise of the loss from training to validation data, batch size {large} over {small}",
        zh="{subject}：从训练集到验证集损失的上升，批次大小 {large} 与 {small} 之比",
    ),
    "finding_suffers_validation": Sentence(
        en="On {subject} the rise of the loss on validation data with batch size {large} is {effect} that with "
        "{small}.",
        zh="在 {subject} 上，批次大小 {large} 在验证集上损失的上升是 {small} 的 {effect}。",
    ),
    "statement_suffers_noise": Sentence(
        en="{subject}: rise of the loss under input noise, batch size {large} over {small}",
        zh="{subject}：输入加噪声时损失的上升，批次大小 {large} 与 {small} 之比",
    ),
    "finding_suffers_noise": Sentence(
        en="On {subject} the rise of the loss under input noise with batch size {large} is {effect} that with {small}.",
        zh="在 {subject} 上，输入加噪声时批次大小 {large} 损失的上升是 {small} 的 {effect}。",
    ),
    "statement_sharpness_ranks": Sentence(
        en="{subject}: rank correlation of sharpness with the rise on validation data",
        zh="{subject}：尖锐度与验证集上损失上升的秩相关",
    ),
    "finding_sharpness_ranks": Sentence(
        en="On {subject} the rank correlation of sharpness with the rise on validation data is {effect}.",
        zh="在 {subject} 上，尖锐度与验证集上损失上升的秩相关为 {effect}。",
    ),
    "statement_table_row": Sentence(
        en="{subject}: the winner is the one in the lecture's table", zh="{subject}：胜者与讲义的表相同"
    ),
    "finding_table_row": Sentence(
        en="In the row “{subject}” the winner is the one in the lecture's table: {effect}.",
        zh="在“{subject}”一行，胜者与讲义的表相同：{effect}。",
    ),
    "statement_size_matters": Sentence(
        en="Time to the target: the worse of batch sizes {small} and {large} over the better",
        zh="达到目标的时间：批次大小 {small} 与 {large} 中较慢的与较快的之比",
    ),
    "finding_size_matters": Sentence(
        en="Of batch sizes {small} and {large} the worse takes {effect} the time of the better to the target.",
        zh="批次大小 {small} 与 {large} 中，较慢的达到目标的时间是较快的 {effect}。",
    ),
    "statement_best_inside": Sentence(
        en="The best batch size is neither the smallest nor the largest", zh="最好的批次大小既不是最小的也不是最大的"
    ),
    "finding_best_inside": Sentence(
        en="The best batch size is neither the smallest nor the largest: {effect}.",
        zh="最好的批次大小既不是最小的也不是最大的：{effect}。",
    ),
    "statement_one_has_both": Sentence(
        en="{subject}, which comes nearest: steps with batch size {small} over its steps with {large}, and no worse "
        "{metric}",
        zh="最接近的 {subject}：批次大小 {small} 的步数与它在 {large} 的步数之比，且{metric}不更差",
    ),
    "finding_one_has_both": Sentence(
        en="Batch size {small} takes {effect} the steps of {subject} with {large}, which comes nearest to both.",
        zh="批次大小 {small} 的步数是最接近两者兼得的 {subject}（批次大小 {large}）的 {effect}。",
    ),
    "statement_fewer_steps": Sentence(
        en="{subject}: steps with batch size {small} over its steps with {large}",
        zh="{subject}：批次大小 {small} 的步数与它在 {large} 的步数之比",
    ),
    "finding_fewer_steps": Sentence(
        en="Batch size {small} takes {effect} the steps of {subject} with {large}.",
        zh="批次大小 {small} 的步数是 {subject}（批次大小 {large}）的 {effect}。",
    ),
    "statement_sooner": Sentence(
        en="{subject}: time with batch size {small} over its time with {large}",
        zh="{subject}：批次大小 {small} 的时间与它在 {large} 的时间之比",
    ),
    "finding_sooner": Sentence(
        en="Batch size {small} takes {effect} the time of {subject} with {large}.",
        zh="批次大小 {small} 的时间是 {subject}（批次大小 {large}）的 {effect}。",
    ),
    "statement_as_accurate": Sentence(
        en="{subject}: its validation {metric} with {large} less that with batch size {small}",
        zh="{subject}：它在 {large} 的验证集{metric}减去批次大小 {small} 的",
    ),
    "finding_as_accurate": Sentence(
        en="Validation {metric} of {subject} with {large} less that with batch size {small} is {effect}.",
        zh="{subject}（批次大小 {large}）的验证集{metric}减去批次大小 {small} 的，为 {effect}。",
    ),
}
