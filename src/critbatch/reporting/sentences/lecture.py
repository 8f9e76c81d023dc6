"""The frame of the lecture's chapter: its answer, the table of the ten claims, and the headings of their sections."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

LECTURE = {
    "lecture_headline": Sentence(
        en="Of the lecture's {n} claims, measured on {task}: {held} held, {not_held} not held, {undecided} undecided.",
        zh="讲义的 {n} 条主张，在 {task} 上测量：{held} 条成立，{not_held} 条不成立，{undecided} 条未定。",
    ),
    "lecture_sizes": Sentence(
        en="Small is batch size {small} and large is {large}; a setting was run with up to {n} seeds.",
        zh="小批次的批次大小为 {small}，大批次为 {large}；每种设置最多用 {n} 个随机种子。",
    ),
    "lecture_sizes_one": Sentence(
        en="Small is batch size {small} and large is {large}; each setting was run with {n} seed.",
        zh="小批次的批次大小为 {small}，大批次为 {large}；每种设置用 {n} 个随机种子。",
    ),
    "lecture_reduced": Sentence(
        en="Networks saw a part of their data only, to save time: `--full` takes all of it.",
        zh="为节省时间，网络只用了一部分数据：`--full` 使用全部数据。",
    ),
    "lecture_line": Sentence(
        en="{sign} {number}. {claim}: {verdict}. {finding}", zh="{sign} {number}. {claim}：{verdict}。{finding}"
    ),
    "lecture_number": Sentence(en="{number}. {claim}", zh="{number}. {claim}"),
    "holds_held": Sentence(en="held", zh="成立"),
    "holds_not_held": Sentence(en="not held", zh="不成立"),
    "holds_undecided": Sentence(en="undecided", zh="未定"),
    "tile_holds_held": Sentence(en="Held", zh="成立"),
    "tile_holds_not_held": Sentence(en="Not held", zh="不成立"),
    "tile_holds_undecided": Sentence(en="Undecided", zh="未定"),
    "tile_of_claims": Sentence(en="of {n} claims", zh="共 {n} 条主张"),
    "section_lecture": Sentence(en="The lecture's claims", zh="讲义的主张"),
    "lecture_text": Sentence(
        en="A claim is held if all that it rests on is held, not held if one part is not, and undecided else. A part "
        "is held if the interval of its effect lies beyond no effect, and not held if it lies below the smallest "
        "effect that matters.",
        zh="一条主张所依据的各部分都成立时，它成立；有一部分不成立时，它不成立；否则未定。某一部分的效应区间完全超出"
        "“无效应”时，该部分成立；完全低于有意义的最小效应时，不成立。",
    ),
    "lecture_caption": Sentence(en="The claims and what became of them", zh="各条主张及其结果"),
    "lecture_statements": Sentence(en="What the claim rests on", zh="主张的依据"),
    "column_lecture_claim": Sentence(en="The lecture's claim", zh="讲义的主张"),
    "column_verdict": Sentence(en="Verdict", zh="判定"),
    "column_finding": Sentence(en="What was found", zh="测量结果"),
    "column_statement": Sentence(en="What was measured", zh="测量了什么"),
    "column_effect": Sentence(en="Effect", zh="效应"),
    "column_decides": Sentence(en="Decides the claim", zh="决定主张"),
    "lecture_why": Sentence(en="Why it is undecided", zh="为何未定"),
    "lecture_later": Sentence(en="What is known since", zh="后来的文献"),
    "lecture_finding_summary": Sentence(
        en="In {n} of {rows} rows the winner is the one in the lecture's table.",
        zh="{rows} 行中有 {n} 行的胜者与讲义的表相同。",
    ),
    "lecture_unmeasured": Sentence(en="This claim was not measured.", zh="没有测量这条主张。"),
    "lecture_no_picture": Sentence(
        en="There is no picture here: what it would show was not measured.", zh="这里没有图：图中应有的内容没有测量。"
    ),
    "lecture_section_batches": Sentence(en="1. Batches and epochs", zh="1. 批次与周期"),
    "lecture_section_paths": Sentence(en="2. One steady step or many unsteady ones", zh="2. 走一大步，还是走许多小步"),
    "lecture_section_time": Sentence(en="3. Time for an update and for an epoch", zh="3. 一次更新与一个周期的时间"),
    "lecture_section_optimization": Sentence(en="4. Larger batches train worse", zh="4. 批次越大，训练越差"),
    "lecture_section_noise": Sentence(en="5. Noise helps training", zh="5. 噪声有利于训练"),
    "lecture_section_generalization": Sentence(en="6. Noise helps generalization", zh="6. 噪声有利于泛化"),
    "lecture_section_minima": Sentence(en="7. Sharp and flat minima", zh="7. 峡谷与盆地"),
    "lecture_section_summary": Sentence(en="8. Small against large", zh="8. 小批次与大批次对照"),
    "lecture_section_choice": Sentence(en="9. A hyper-parameter to choose", zh="9. 需要调整的超参数"),
    "lecture_section_both": Sentence(en="10. Having both", zh="10. 两者兼得"),
    "lecture_short_batches": Sentence(en="an epoch is all batches once", zh="一个周期看过所有批次一次"),
    "lecture_short_paths": Sentence(en="full batch steady, single examples not", zh="全批次稳，单个样本不稳"),
    "lecture_short_time": Sentence(en="large batches have shorter epochs", zh="大批次的周期更短"),
    "lecture_short_optimization": Sentence(en="larger batches train worse", zh="批次越大训练越差"),
    "lecture_short_noise": Sentence(en="noise leads on where descent is stuck", zh="噪声让卡住的训练继续"),
    "lecture_short_generalization": Sentence(en="small batches generalize better", zh="小批次泛化更好"),
    "lecture_short_minima": Sentence(en="large batches end in sharp minima", zh="大批次走进峡谷"),
    "lecture_short_summary": Sentence(en="the table of small against large", zh="小批次与大批次的总表"),
    "lecture_short_choice": Sentence(en="batch size is a hyper-parameter", zh="批次大小是超参数"),
    "lecture_short_both": Sentence(en="recipes can have both", zh="有方法两者兼得"),
}
