"""What a report says where it is not a page: in Markdown."""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence

FORMATS = {
    "format_footer": Sentence(
        en="Made by critbatch {version} from records alone.", zh="由 critbatch {version} 仅凭记录生成。"
    ),
    "format_cell": Sentence(en="{text} ({note})", zh="{text}（{note}）"),
    "format_fact": Sentence(en="**{name}**: {value}", zh="**{name}**：{value}"),
    "format_no_matplotlib": Sentence(
        en='Here a figure\'s description stands for the figure: for pictures, `pip install "critbatch[figures]"` and '
        "write the report again.",
        zh='这里用图的说明代替图：想要图片，请先 `pip install "critbatch[figures]"`，再重新生成报告。',
    ),
    "format_no_font": Sentence(
        en="Here a figure's description stands for the figure: no font with Chinese letters was found. Install one, "
        "such as Noto Sans CJK, and write the report again.",
        zh="这里用图的说明代替图：没有找到含中文的字体。请先安装一种，例如 Noto Sans CJK，再重新生成报告。",
    ),
    "format_not_drawable": Sentence(
        en="At least one figure is in the HTML report alone: its description stands for it here.",
        zh="至少有一幅图只在 HTML 报告里：这里用它的说明代替。",
    ),
}
