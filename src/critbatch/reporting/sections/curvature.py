"""Curvature: the eigenvalues in numbers, and how they were found."""

from __future__ import annotations

from critbatch.records.loss_surface import Curvature, Matrix
from critbatch.reporting.blocks import Block, Cell, Method, Section, Table, Text
from critbatch.reporting.figures.curvature import has_density, kernel_width
from critbatch.reporting.papers import DINH, GHORBANI, MEYER
from critbatch.reporting.sections.setup import setup_lines
from critbatch.reporting.voice import Voice


def curvature_section(curvature: Curvature, voice: Voice) -> Section:
    """What an eigenvalue is, the table, and the method."""
    blocks: list[Block] = [Text(voice("curvature_text"))]
    blocks += [Text(voice("curvature_no_density"))] if not has_density(curvature) else []
    blocks += [Text(voice("curvature_no_trace"))] if curvature.trace is None else []
    rows = tuple(
        (
            Cell(voice(key, number=i + 1)),
            Cell(voice.score(each.value)),
            Cell(voice.residual(each)),
            Cell(voice("yes" if each.converged else "no" if each.placed else "no_place")),
        )
        for key, ends in (("row_largest", curvature.largest), ("row_smallest", curvature.smallest))
        for i, each in enumerate(ends)
    )
    header = tuple(voice(key) for key in ("column_eigenvalue", "column_value", "column_residual", "column_converged"))
    if rows:
        blocks.append(Table(voice("curvature_caption"), header, rows, folded=True))
    return Section("curvature", voice("section_curvature"), (*blocks, _method(curvature, voice)))


def _method(curvature: Curvature, voice: Voice) -> Method:
    lines = setup_lines(curvature.setup, voice)
    lines.append(voice("method_by_differences" if curvature.by == "differences" else "method_by_autograd"))
    if curvature.matrix is Matrix.GAUSS_NEWTON:
        lines.append(voice("method_gauss_newton"))
    lines.append(voice("method_residual", products=voice.count(curvature.products)))
    papers = [DINH]
    if curvature.trace is not None:
        lines.append(voice("method_trace"))
        papers.append(MEYER)
    density = curvature.density
    if density is not None and has_density(curvature):
        width = voice.rate(kernel_width(density))
        lines.append(voice("method_density", probes=density.probes, steps=density.steps, width=width))
        papers.append(GHORBANI)
    return Method((*lines, voice("method_rescaling")), tuple(papers))
