"""Figures of records, by Plotly."""
