"""Small against large batches, network by network: metrics at equal training, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.claims.tables import PUBLISHED
from critbatch.records.claims import NetworkPair
from critbatch.reporting.figures.named_rows import row_axis
from critbatch.reporting.figures.theme import BLUE, GREY, MUTED, Picture, bars, canvas, lines, safe
from critbatch.reporting.lecture_readings import network_name, signed
from critbatch.reports.translator import Translator


def differences_picture(networks: Sequence[NetworkPair], t: Translator) -> Picture | None:
    """A row for each network: validation metric of small less that of large batches, with the paper's difference."""
    if not networks:
        return None
    metric = t.metric(networks[0].metric_name)
    x = {"title": {"text": safe(t("axis_metric_difference", metric=metric))}}
    figure = canvas(x, row_axis(t("column_network"), [network_name(pair) for pair in networks]))
    figure.add_vline(x=0, line={"color": MUTED, "width": 1.2, "dash": "dot"})
    values = [pair.difference.value for pair in networks]
    write = signed(t.score)
    figure.add_scatter(
        x=values,
        y=[row - 0.12 for row in range(len(networks))],
        mode="markers",
        error_x=bars(values, [p.difference.low for p in networks], [p.difference.high for p in networks]),
        marker={"size": 10, "color": BLUE},
        name=safe(t("legend_ours")),
        hoverinfo="text",
        hovertext=[lines(network_name(p), t.estimate(p.difference, write)) for p in networks],
    )
    paper = [
        (row, pair.network, PUBLISHED[pair.network]) for row, pair in enumerate(networks) if pair.network in PUBLISHED
    ]
    if paper:
        figure.add_scatter(
            x=[each.test_small.mean - each.test_large.mean for *_, each in paper],
            y=[row + 0.12 for row, *_ in paper],
            mode="markers",
            marker={"size": 10, "color": GREY, "symbol": "diamond-open", "line": {"color": GREY, "width": 2}},
            name=safe(t("legend_paper")),
            hoverinfo="text",
            hovertext=[lines(name, write(each.test_small.mean - each.test_large.mean)) for _, name, each in paper],
        )
    at = {"metric": metric, "n": len(networks)}
    return Picture(t("title_networks", **at), t("alt_networks", **at), figure)
