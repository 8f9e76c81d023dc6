"""Curvature: the eigenvalues in numbers, and how they were found."""

from __future__ import annotations

from critbatch.records.loss_surface import Curvature, Matrix
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.figures.curvature import has_density, kernel_width
from critbatch.reporting.papers import DINH, GHORBANI, MEYER
from critbatch.reporting.sections.setup import setup_lines
from critbatch.reports.translator import Translator


def curvature_section(curvature: Curvature, t: Translator) -> Section:
    """What an eigenvalue is, the table, and the method."""
    blocks: list[Block] = [Text(t("curvature_text"))]
    blocks += [Text(t("curvature_no_density"))] if not has_density(curvature) else []
    blocks += [Text(t("curvature_no_trace"))] if curvature.trace is None else []
    rows = tuple(
        (
            Cell(t(key, number=i + 1)),
            Cell(t.score(each.value)),
            Cell(t.residual(each)),
            Cell(t("yes" if each.converged else "no" if each.placed else "no_place")),
        )
        for key, ends in (("row_largest", curvature.largest), ("row_smallest", curvature.smallest))
        for i, each in enumerate(ends)
    )
    header = tuple(t(key) for key in ("column_eigenvalue", "column_value", "column_residual", "column_converged"))
    if rows:
        blocks.append(Table(t("curvature_caption"), header, rows, folded=True))
    return Section("curvature", t("section_curvature"), (*blocks, _method(curvature, t)))


def _method(curvature: Curvature, t: Translator) -> Method:
    lines = setup_lines(curvature.setup, t)
    lines.append(t("method_by_differences" if curvature.by == "differences" else "method_by_autograd"))
    if curvature.matrix is Matrix.GAUSS_NEWTON:
        lines.append(t("method_gauss_newton"))
    lines.append(t("method_residual", products=t.count(curvature.products)))
    papers = [DINH]
    if curvature.trace is not None:
        lines.append(t("method_trace"))
        papers.append(MEYER)
    density = curvature.density
    if density is not None and has_density(curvature):
        width = t.rate(kernel_width(density))
        lines.append(t("method_density", probes=density.probes, steps=density.steps, width=width))
        papers.append(GHORBANI)
    return Method((*lines, t("method_rescaling")), tuple(papers))
