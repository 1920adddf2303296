"""Groups of features by importance, each with a link, a modulation and a power of its own."""
