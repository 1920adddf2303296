"""Grids of operating points as a few compiled programs."""
