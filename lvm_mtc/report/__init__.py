"""Figures, tables, HTML report and viewer."""
