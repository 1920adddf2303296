"""The token system of the paper."""
