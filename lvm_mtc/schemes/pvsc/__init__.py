"""Perception-aware video without motion vectors."""
