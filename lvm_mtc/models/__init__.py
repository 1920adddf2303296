"""Networks in flax.linen that more than one room uses, and the file that weights are kept in."""
