"""One frozen backbone for several tasks, with adapters, heads and one channel codec."""
