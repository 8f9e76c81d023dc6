"""What a study that was analysed says, and what runs that were made elsewhere say."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

STUDY_ANSWERS = {
    "study_time_at_best": Sentence(en="It reached {target} in {seconds}.", zh="它达到{target} 用了 {seconds}。"),
    "study_claims_headline": Sentence(
        en="{n} runs of {task} at {sizes} batch sizes, compared without a target.",
        zh="{task} 的 {n} 次训练，{sizes} 个批次大小，没有设目标的比较。",
    ),
    "study_claims_headline_one": Sentence(
        en="{n} run of {task} at {sizes} batch sizes, without a target.",
        zh="{task} 的 {n} 次训练，{sizes} 个批次大小，没有设目标。",
    ),
    "fit_headline_holds": Sentence(
        en="The points of {name} follow one law, with a critical batch size of {critical}.",
        zh="{name} 中的各点符合同一定律，临界批次大小为 {critical}。",
    ),
    "fit_headline_fails": Sentence(
        en="The points of {name} do not follow the law of steps and examples.",
        zh="{name} 中的各点不符合步数与样本数的定律。",
    ),
    "fit_headline_nearly": Sentence(
        en="The points of {name} follow one law to within 5 %, with a critical batch size of {critical}.",
        zh="{name} 中的各点在 5 % 之内符合同一定律，临界批次大小为 {critical}。",
    ),
    "fit_headline_open": Sentence(
        en="The law through the points of {name} has a critical batch size of {critical}; there are not enough points "
        "to tell whether it holds.",
        zh="穿过 {name} 中各点的定律给出临界批次大小 {critical}；点不够，无法判断这一定律是否成立。",
    ),
    "fit_headline_untested": Sentence(
        en="The law through the points of {name} has a critical batch size of {critical}; it could not be tested.",
        zh="穿过 {name} 中各点的定律给出临界批次大小 {critical}；这一定律无法检验。",
    ),
    "fit_headline_unread": Sentence(
        en="The points of {name} do not tell a critical batch size.", zh="从 {name} 中的各点读不出临界批次大小。"
    ),
    "fit_headline_none": Sentence(
        en="{name} holds too few batch sizes at the target to fit a law.",
        zh="{name} 中达到目标的批次大小太少，无法拟合定律。",
    ),
    "fit_points": Sentence(
        en="It holds {n} points at {sizes} batch sizes; {reached} sizes reached the target.",
        zh="其中有 {n} 个点、{sizes} 个批次大小；有 {reached} 个大小达到目标。",
    ),
    "fit_points_one": Sentence(
        en="It holds {n} point at {sizes} batch size; {reached} reached the target.",
        zh="其中有 {n} 个点、{sizes} 个批次大小；有 {reached} 个大小达到目标。",
    ),
    "fit_soonest": Sentence(
        en="Of all sizes, {batch_size} is soonest, with {seconds} to the target.",
        zh="所有大小中 {batch_size} 最快，达到目标用 {seconds}。",
    ),
    "regimes_three": Sentence(
        en="Up to batch size {perfect}, twice the batch takes about half the steps; above {useful}, a larger batch "
        "saves hardly any.",
        zh="批次大小到 {perfect} 为止，批次加倍则步数约减半；超过 {useful}，更大的批次几乎不再减少步数。",
    ),
    "regimes_three_late": Sentence(
        en="Twice the batch takes more than half the steps from the smallest size on; above {useful}, a larger batch "
        "saves hardly any.",
        zh="从最小的批次起，批次加倍而步数减不到一半；超过 {useful}，更大的批次几乎不再减少步数。",
    ),
    "regimes_open": Sentence(
        en="Up to batch size {perfect}, twice the batch takes about half the steps; steps still fall at {largest}, the "
        "largest that reached the target.",
        zh="批次大小到 {perfect} 为止，批次加倍则步数约减半；直到达到目标的最大批次 {largest}，步数仍在减少。",
    ),
    "regimes_open_late": Sentence(
        en="Twice the batch takes more than half the steps from the smallest size on; steps still fall at {largest}, "
        "the largest that reached the target.",
        zh="从最小的批次起，批次加倍而步数减不到一半；直到达到目标的最大批次 {largest}，步数仍在减少。",
    ),
    "regimes_perfect": Sentence(
        en="Twice the batch takes about half the steps all the way to {largest}, the largest that reached the target.",
        zh="直到达到目标的最大批次 {largest}，批次加倍步数都约减半。",
    ),
    "regimes_flat": Sentence(
        en="From the smallest size on, a larger batch saves hardly any steps.",
        zh="从最小的批次起，更大的批次就几乎不减少步数。",
    ),
    "law_said_holds": Sentence(
        en="Steps S and examples E follow (S/S_min − 1)(E/E_min − 1) = 1: at the critical batch size, {critical}, both "
        "are twice their least.",
        zh="步数 S 与样本数 E 符合 (S/S_min − 1)(E/E_min − 1) = 1：在临界批次大小 {critical}处，"
        "两者都是各自最小值的两倍。",
    ),
    "law_said_fails": Sentence(
        en="Steps S and examples E do not follow (S/S_min − 1)(E/E_min − 1) = 1: take the critical batch size, "
        "{critical}, as a rough place only.",
        zh="步数 S 与样本数 E 不符合 (S/S_min − 1)(E/E_min − 1) = 1：临界批次大小 {critical} 只是大致的位置。",
    ),
    "law_said_nearly": Sentence(
        en="Steps S and examples E follow (S/S_min − 1)(E/E_min − 1) = 1 to within 5 %: at the critical batch size, "
        "{critical}, both are twice their least.",
        zh="步数 S 与样本数 E 在 5 % 之内符合 (S/S_min − 1)(E/E_min − 1) = 1：在临界批次大小 {critical}处，"
        "两者都是各自最小值的两倍。",
    ),
    "law_said_open": Sentence(
        en="By (S/S_min − 1)(E/E_min − 1) = 1 the critical batch size is {critical}; there are not enough points to "
        "tell whether this law holds.",
        zh="按 (S/S_min − 1)(E/E_min − 1) = 1，临界批次大小为 {critical}；点不够，无法判断这一定律是否成立。",
    ),
    "law_said_untested": Sentence(
        en="By (S/S_min − 1)(E/E_min − 1) = 1 the critical batch size is {critical}, but whether this law holds could "
        "not be tested.",
        zh="按 (S/S_min − 1)(E/E_min − 1) = 1，临界批次大小为 {critical}，但这一定律是否成立无法检验。",
    ),
    "law_said_unbounded": Sentence(
        en="The law (S/S_min − 1)(E/E_min − 1) = 1 fits these points with any critical batch size: they tell none.",
        zh="无论临界批次大小是多少，定律 (S/S_min − 1)(E/E_min − 1) = 1 都能拟合这些点：从中看不出来。",
    ),
    "law_said_missing": Sentence(
        en="Too few batch sizes reached the target to fit the law of steps and examples.",
        zh="达到目标的批次大小太少，无法拟合步数与样本数的定律。",
    ),
    "rates_linear": Sentence(
        en="The best learning rate grows like the batch size to the power {exponent}: linear scaling fits, "
        "the square root does not.",
        zh="最好的学习率按批次大小的 {exponent}次方增长：符合线性缩放，不符合平方根。",
    ),
    "rates_square_root": Sentence(
        en="The best learning rate grows like the batch size to the power {exponent}: the square root fits, "
        "linear scaling does not.",
        zh="最好的学习率按批次大小的 {exponent}次方增长：符合平方根，不符合线性缩放。",
    ),
    "rates_either": Sentence(
        en="The best learning rate grows like the batch size to the power {exponent}: linear scaling and the square "
        "root both fit.",
        zh="最好的学习率按批次大小的 {exponent}次方增长：线性缩放与平方根都符合。",
    ),
    "rates_neither": Sentence(
        en="The best learning rate grows like the batch size to the power {exponent}: neither linear scaling nor the "
        "square root fits.",
        zh="最好的学习率按批次大小的 {exponent}次方增长：线性缩放与平方根都不符合。",
    ),
    "rates_bend": Sentence(
        en="It grows less among the larger half of the sizes: a rule taken from the small ones gives too large a rate.",
        zh="在较大的一半批次中它增长得较少：按小批次得出的规则会给出过大的学习率。",
    ),
    "claim_everywhere": Sentence(
        en="Larger batches train worse here, in equal epochs and in equal steps, even with the learning rate tuned.",
        zh="这里批次越大训练结果越差：周期数相同或步数相同时都如此，调过学习率也一样。",
    ),
    "claim_epochs_only": Sentence(
        en="Larger batches train worse in equal epochs, even with the learning rate tuned, because they take fewer "
        "steps: in equal steps they do not.",
        zh="周期数相同时，即使调过学习率，批次越大训练结果也越差，因为步数更少：步数相同时并不更差。",
    ),
    "claim_epochs": Sentence(
        en="Larger batches train worse in equal epochs, even with the learning rate tuned; equal steps decide nothing "
        "here.",
        zh="周期数相同时，即使调过学习率，批次越大训练结果也越差；步数相同时的比较在这里没有定论。",
    ),
    "claim_untuned": Sentence(
        en="Larger batches train worse in equal epochs only while all share one learning rate: with the rate tuned at "
        "each size they do not.",
        zh="只有当所有批次大小共用一个学习率时，周期数相同，批次越大训练结果才越差：每个大小各自调过学习率后并不更差。",
    ),
    "claim_never": Sentence(
        en="Larger batches do not train worse here in equal epochs, neither with one learning rate for all nor tuned.",
        zh="这里周期数相同时批次越大训练结果并不更差，无论共用一个学习率还是各自调过。",
    ),
    "claim_tuned_never": Sentence(
        en="With the learning rate tuned, larger batches do not train worse here in equal epochs.",
        zh="调过学习率后，这里周期数相同时批次越大训练结果并不更差。",
    ),
    "claim_open": Sentence(
        en="Whether larger batches train worse here cannot be told: too few runs were long enough, or made with too "
        "few seeds.",
        zh="这里批次越大训练结果是否越差无法判断：足够长的训练太少，或随机种子太少。",
    ),
    "run_stopped_early": Sentence(
        en="The run of {task} was ended early, after {steps} steps, {epochs} epochs and {seconds}: others were ahead.",
        zh="{task} 的训练在 {steps} 步、{epochs} 个周期、{seconds}后提前结束：别的训练领先。",
    ),
}
