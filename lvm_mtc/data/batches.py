"""Many items in parts that a program takes one after another."""


def chunks_of(count: int, most: int) -> list[tuple[int, int, int]]:
    """Start, stop and common size of chunks of nearly equal length; the last one is padded to the size."""
    size = -(-count // -(-count // most))
    return [(start, min(start + size, count), size) for start in range(0, count, size)]
