"""The detector's own training."""
