"""Residual vector quantisation of a learned picture transform: previews from any prefix of the bits."""
