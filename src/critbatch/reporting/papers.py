"""The papers that the page links to."""

from __future__ import annotations

from critbatch.reporting.blocks import Paper

MCCANDLISH = Paper("McCandlish et al. 2018, arXiv:1812.06162", "https://arxiv.org/abs/1812.06162")
SHALLUE = Paper("Shallue et al. 2018, arXiv:1811.03600", "https://arxiv.org/abs/1811.03600")
GOYAL = Paper("Goyal et al. 2017, arXiv:1706.02677", "https://arxiv.org/abs/1706.02677")
