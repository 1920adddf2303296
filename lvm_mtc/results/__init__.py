"""Stores, points, intervals and tables. No jax; points, schema and store need the standard library alone."""
