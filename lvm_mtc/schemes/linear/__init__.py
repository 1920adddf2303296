"""The linear patch-wise codec."""
