"""WITT."""
