"""What LLaVA computes for a picture, by formula: visual tokens and floating-point operations (FA-SemCom, Table 3).

No weights are needed, and none of LLaVA is part of this library.
"""

from typing import NamedTuple

_DEPTH, _WIDTH, _HIDDEN = 32, 4096, 11008  # Vicuna 7B
_TOKENS = 576  # of an encoded picture of 336 x 336 pixels, patches of 14
_ENCODER_FLOPS = 0.382e12  # CLIP ViT-L/14 at 336 pixels
_ENCODED = {"base": 1, "grid": 5, "matched": 2}
_PROJECTOR_IN = 1024


class LlavaCost(NamedTuple):
    """Visual tokens, floating-point operations (a multiplication and an addition are two) and encoded pictures."""

    tokens: int
    flops: float
    encoded: int


def llava_cost(slices: str) -> LlavaCost:
    """Cost of one answer with LLaVA 7B: encoder and one pass of the language model over the visual tokens.

    2 x 32 layers x (4 n d^2 + 2 n^2 d + 3 n d m) for n tokens of width d and hidden width m, and 0.382e12 for each
    encoded picture.

    Args:
        slices: ``"base"`` (LLaVA-1.5), ``"grid"`` (LLaVA-1.6: the picture and four slices) or ``"matched"`` (LLaVA-SM:
            the picture and one slice).
    """
    if slices not in _ENCODED:
        raise ValueError(f"slices must be one of {', '.join(_ENCODED)}, got {slices!r}")
    encoded = _ENCODED[slices]
    tokens = encoded * _TOKENS
    layer = 4 * tokens * _WIDTH**2 + 2 * tokens**2 * _WIDTH + 3 * tokens * _WIDTH * _HIDDEN
    return LlavaCost(tokens, 2.0 * _DEPTH * layer + encoded * _ENCODER_FLOPS, encoded)


def projector_parameters(projector: str) -> int:
    """Parameters between encoder and language model: ``"linear"`` (Eq. 1), or ``"mlp"``, two layers, of LLaVA-1.5."""
    sizes = {"linear": (1,), "mlp": (1, _WIDTH / _PROJECTOR_IN)}
    if projector not in sizes:
        raise ValueError(f"projector must be one of {', '.join(sizes)}, got {projector!r}")
    return sum(int(size * _PROJECTOR_IN) * _WIDTH + _WIDTH for size in sizes[projector])
