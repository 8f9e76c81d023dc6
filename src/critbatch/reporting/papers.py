"""The papers that the page links to."""

from __future__ import annotations

from critbatch.reporting.blocks import Paper

MCCANDLISH = Paper("McCandlish et al. 2018, arXiv:1812.06162", "https://arxiv.org/abs/1812.06162")
SHALLUE = Paper("Shallue et al. 2018, arXiv:1811.03600", "https://arxiv.org/abs/1811.03600")
GOYAL = Paper("Goyal et al. 2017, arXiv:1706.02677", "https://arxiv.org/abs/1706.02677")
KESKAR = Paper("Keskar et al. 2016, arXiv:1609.04836", "https://arxiv.org/abs/1609.04836")
DINH = Paper("Dinh et al. 2017, arXiv:1703.04933", "https://arxiv.org/abs/1703.04933")
KWON = Paper("Kwon et al. 2021, arXiv:2102.11600", "https://arxiv.org/abs/2102.11600")
MEYER = Paper("Meyer et al. 2020, arXiv:2010.09649", "https://arxiv.org/abs/2010.09649")
GHORBANI = Paper("Ghorbani et al. 2019, arXiv:1901.10159", "https://arxiv.org/abs/1901.10159")
GOODFELLOW = Paper("Goodfellow et al. 2014, arXiv:1412.6544", "https://arxiv.org/abs/1412.6544")
LI = Paper("Li et al. 2017, arXiv:1712.09913", "https://arxiv.org/abs/1712.09913")
MALLADI = Paper("Malladi et al. 2022, arXiv:2205.10287", "https://arxiv.org/abs/2205.10287")
POLLUX = Paper("Qiao et al. 2021, arXiv:2008.12260", "https://arxiv.org/abs/2008.12260")
HOFFER = Paper("Hoffer et al. 2017, arXiv:1705.08741", "https://arxiv.org/abs/1705.08741")
SMITH = Paper("Smith et al. 2017, arXiv:1711.00489", "https://arxiv.org/abs/1711.00489")
MASTERS = Paper("Masters and Luschi 2018, arXiv:1804.07612", "https://arxiv.org/abs/1804.07612")
NADO = Paper("Nado et al. 2021, arXiv:2102.06356", "https://arxiv.org/abs/2102.06356")
LARS = Paper("You et al. 2017, arXiv:1708.03888", "https://arxiv.org/abs/1708.03888")
LAMB = Paper("You et al. 2019, arXiv:1904.00962", "https://arxiv.org/abs/1904.00962")
AKIBA = Paper("Akiba et al. 2017, arXiv:1711.04325", "https://arxiv.org/abs/1711.04325")
SWAP = Paper("Gupta et al. 2020, arXiv:2001.02312", "https://arxiv.org/abs/2001.02312")
DAUPHIN = Paper("Dauphin et al. 2014, arXiv:1406.2572", "https://arxiv.org/abs/1406.2572")
