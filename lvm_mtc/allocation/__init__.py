"""Resources shared out by optimisation: float64 NumPy and SciPy on the host, once a channel state; never under ``jit``.

``token_length``: bandwidth, power and token length of users over latency and measured loss. ``uep``: groups of features
over sub-channels with unequal error protection. ``superposition``: ratio, power, bandwidth and pairs of superposed
users; ``pairing`` and ``successive`` are its tools.
"""
