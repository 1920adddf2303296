"""Files of weights for tests, byte by byte."""

import json

import numpy as np


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """The format, written by hand: the length of a JSON header, the header, the tensors' bytes."""
    header, position = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        kind = {"float32": "F32", "float16": "F16", "int64": "I64"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [position, position + array.nbytes]}
        position += array.nbytes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(a.tobytes() for a in tensors.values())
