"""A codec of twisted modulations that needs no training."""
