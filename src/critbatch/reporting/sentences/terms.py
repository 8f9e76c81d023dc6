"""Terms, units, and the way a number is written with its interval."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

TERMS = {
    "batch_size": Sentence(en="Batch size", zh="批次大小"),
    "learning_rate": Sentence(en="Learning rate", zh="学习率"),
    "example": Sentence(en="example", zh="样本"),
    "predicted": Sentence(en="predicted", zh="预测"),
    "metric_accuracy": Sentence(en="accuracy", zh="正确率"),
    "metric_metric": Sentence(en="metric", zh="指标"),
    "units_image": Sentence(en="images", zh="图像"),
    "units_sequence": Sentence(en="sequences", zh="序列"),
    "units_example": Sentence(en="examples", zh="样本"),
    "target_loss": Sentence(en="a validation loss of {value}", zh="验证集损失 {value}"),
    "target_metric": Sentence(en="a validation {metric} of {value}", zh="验证集{metric} {value}"),
    "unit_us": Sentence(en="{value} µs", zh="{value} 微秒"),
    "unit_ms": Sentence(en="{value} ms", zh="{value} 毫秒"),
    "unit_s": Sentence(en="{value} s", zh="{value} 秒"),
    "unit_min": Sentence(en="{value} min", zh="{value} 分钟"),
    "unit_h": Sentence(en="{value} h", zh="{value} 小时"),
    "unit_d": Sentence(en="{value} d", zh="{value} 天"),
    "percent": Sentence(en="{value} %", zh="{value} %"),
    "points": Sentence(en="{value} points", zh="{value} 个百分点"),
    "times": Sentence(en="{times} ×", zh="{times} 倍"),
    "range": Sentence(en="{low} to {high}", zh="{low} 至 {high}"),
    "at_least": Sentence(en="at least {low}", zh="至少 {low}"),
    "at_most": Sentence(en="at most {high}", zh="至多 {high}"),
    "or": Sentence(en=" or ", zh=" 或 "),
    "not_known": Sentence(en="not known", zh="不知道"),
    "list_ends": Sentence(en="{n}, from {first} to {last}", zh="{n} 个，从 {first} 到 {last}"),
    "interval": Sentence(en="{level} interval {span}", zh="{level} 区间 {span}"),
    "no_interval": Sentence(en="no interval", zh="无区间"),
    "number_with_interval": Sentence(en="{value} ({interval}, n = {n})", zh="{value}（{interval}，n = {n}）"),
    "number_alone": Sentence(en="{value} (no interval, n = {n})", zh="{value}（无区间，n = {n}）"),
    "number_with_bound": Sentence(
        en="{value} (at least {low} at the {level} level, n = {n})", zh="{value}（{level} 水平下至少 {low}，n = {n}）"
    ),
    "number_with_upper_bound": Sentence(
        en="{value} (at most {high} at the {level} level, n = {n})", zh="{value}（{level} 水平下至多 {high}，n = {n}）"
    ),
}
