"""Belief propagation on 5G's LDPC code, in JAX and in NumPy, with the exact rule at the check nodes.

One body serves both: JAX compiles it for a code (seconds), NumPy runs it at once. Messages are arrays ``[Z, words]``,
one for an edge of the base graph, whose lifting is a roll. The tanh rule is smooth, so soft outputs have gradients.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lvm_mtc.phy.coding.base_graphs import CORE_ROWS
from lvm_mtc.phy.coding.ldpc import LdpcCode, interleaver, require_last
from lvm_mtc.phy.numerics import known

ENGINES = ("auto", "jax", "numpy")
SCHEDULES = ("layered", "flooding")
# LLRs of the channel are held within this, as Sionna does; it is also what known bits have.
LARGEST_LLR = 20.0
_LARGEST_TANH = 1 - 1e-7
# Coded bits times iterations up to which NumPy is done before JAX has compiled.
_NUMPY_UP_TO = 1.5e8
_WORDS_AT_ONCE = 64


def ldpc_decode(
    llr: ArrayLike,
    code: LdpcCode,
    *,
    num_iter: int = 10,
    schedule: str = "layered",
    engine: str = "auto",
    coded: bool = False,
) -> np.ndarray | jax.Array:
    """A-posteriori LLRs of the information bits, or of the coded ones, by sum-product message passing.

    Args:
        llr: ``log P(bit = 1) - log P(bit = 0)`` of the coded bits, ``[..., n]`` real; held within +-20.
        code: Static.
        num_iter: Iterations; static. There is no early end.
        schedule: ``"layered"``: a row of the base graph after the other, each with what the last has found;
            ``"flooding"``: all rows at once, which takes about twice the iterations. Static.
        engine: ``"jax"``, ``"numpy"``, or ``"auto"``: JAX for JAX's arrays, for host arrays what is done first, the
            compilation counted. Host arrays go through JAX 64 words at a time, by one program for a code.
        coded: Whether the LLRs are those of the coded bits as they came; static.

    Returns:
        ``[..., k]``, or ``[..., n]`` of coded bits, positive where a 1 is likelier; decisions are ``> 0``. NumPy for
        host arrays, JAX for JAX's, which may be traced, mapped and differentiated. Where LLRs or messages are clipped,
        gradients are 0.

    Raises:
        ValueError: on another length, an unknown name, fewer than one iteration, or NaN (a traced one passes).
    """
    for name, value, menu in (("engine", engine, ENGINES), ("schedule", schedule, SCHEDULES)):
        if value not in menu:
            raise ValueError(f"unknown {name} {value!r}; known: {', '.join(menu)}")
    if isinstance(num_iter, bool) or int(num_iter) != num_iter or num_iter < 1:
        raise ValueError(f"num_iter must be an integer >= 1, got {num_iter!r}")
    llr = require_last("llr", llr if isinstance(llr, jax.Array) else np.asarray(llr), code.n)
    if (found := known(llr)) is not None and (bad := np.isnan(found).reshape(-1, code.n).any(axis=1).sum()):
        raise ValueError(f"llr is NaN in {bad} of {found.size // code.n} words")
    if isinstance(llr, jax.Array) and engine != "numpy":
        return _decode_traced(llr, code, int(num_iter), schedule, coded)
    llr = np.asarray(llr)
    words = llr.reshape(-1, code.n)
    if engine == "auto":
        engine = "numpy" if words.size * num_iter <= _NUMPY_UP_TO else "jax"
    words = words.astype(np.float32)
    parts = [words[i : i + _WORDS_AT_ONCE] for i in range(0, len(words), _WORDS_AT_ONCE)]
    run = functools.partial(
        _in_numpy if engine == "numpy" else _in_jax, code=code, num_iter=num_iter, schedule=schedule, coded=coded
    )
    length = code.n if coded else code.k
    found = np.concatenate([run(part) for part in parts]) if parts else np.zeros((0, length), np.float32)
    return found.reshape(*llr.shape[:-1], length)


def _in_numpy(words: np.ndarray, code: LdpcCode, num_iter: int, schedule: str, coded: bool) -> np.ndarray:
    return _posterior(np, words, code, num_iter, schedule, coded)


def _in_jax(words: np.ndarray, code: LdpcCode, num_iter: int, schedule: str, coded: bool) -> np.ndarray:
    padded = np.pad(words, [(0, _WORDS_AT_ONCE - len(words)), (0, 0)])
    return np.asarray(_decode_words(padded, code, np.int32(num_iter), schedule, coded))[: len(words)]


@functools.partial(jax.jit, static_argnums=(1, 3, 4))
def _decode_words(words, code, num_iter, schedule, coded):
    return _posterior(jnp, words, code, num_iter, schedule, coded)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _decode_traced(llr, code, num_iter, schedule, coded):
    found = _posterior(jnp, llr.reshape(-1, code.n), code, num_iter, schedule, coded)
    return found.reshape(*llr.shape[:-1], found.shape[-1])


def _posterior(xp, llr, code: LdpcCode, num_iter, schedule: str, coded: bool):
    """``[words, n]`` to ``[words, k or n]``; inside, LLRs are log P(0)/P(1), which the tanh rule wants."""
    columns = _channel_columns(xp, llr, code)
    rows, own = _graph(code)
    factors = [None if column is None else xp.tanh(0.5 * columns[column]) for column in own]
    totals = {column: columns[column] for column in sorted({column for row in rows for column, _ in row})}
    messages = [[xp.zeros_like(totals[column]) for column, _ in row] for row in rows]
    iteration = _layered if schedule == "layered" else functools.partial(_flooding, channel=dict(totals))
    step = functools.partial(iteration, xp, rows, factors)
    if xp is np:
        for _ in range(num_iter):
            totals, messages = step(totals, messages)
    else:
        totals, messages = jax.lax.fori_loop(0, num_iter, lambda _, state: step(*state), (totals, messages))
    if coded:
        return _on_air(xp, columns, totals | _of_own_bits(xp, rows, own, columns, totals, messages), code)
    found = [totals.get(column, columns[column]) for column in range(-(-code.k // code.lifting))]
    return -xp.concatenate(found)[: code.k].T


def _of_own_bits(xp, rows, own, columns, totals, messages) -> dict:
    """What is known of the extension rows' own parity bits in the end: the channel's LLR and their check's message."""
    found = {}
    for row, column, told in zip(rows, own, messages, strict=True):
        if column is not None:
            factors = [xp.tanh(0.5 * (xp.roll(totals[c], -s, axis=0) - m)) for (c, s), m in zip(row, told, strict=True)]
            product = xp.clip(functools.reduce(lambda a, b: a * b, factors), -_LARGEST_TANH, _LARGEST_TANH)
            found[column] = columns[column] + xp.log((1 + product) / (1 - product))
    return found


def _on_air(xp, columns: list, totals: dict, code: LdpcCode):
    """LLRs of the bits on air in their order, log P(1)/P(0), ``[words, n]``; inverse of :func:`_channel_columns`."""
    z, first = code.lifting, code.info_columns * code.lifting
    lifted = xp.concatenate([totals.get(column, values) for column, values in enumerate(columns)])
    sent = xp.concatenate([lifted[2 * z : code.k], lifted[first : first + code.n - code.k + 2 * z]])
    return -sent[interleaver(code.n, code.bits_per_symbol)].T


def _channel_columns(xp, llr, code: LdpcCode) -> list:
    """LLRs of all columns that the rows meet: nothing is known of punctured bits, all of filler."""
    z, dtype = code.lifting, xp.promote_types(llr.dtype, np.float32)
    places = np.empty(code.n, np.int64)
    places[interleaver(code.n, code.bits_per_symbol)] = np.arange(code.n)
    sent = -xp.clip(llr.astype(dtype), -LARGEST_LLR, LARGEST_LLR)[:, places].T
    num_words, num_sent_info = llr.shape[0], code.k - 2 * z
    length = (code.info_columns + code.num_rows) * z
    parts = [
        xp.zeros((2 * z, num_words), dtype),
        sent[:num_sent_info],
        xp.full((code.num_filler, num_words), LARGEST_LLR, dtype),
        sent[num_sent_info:],
    ]
    missing = length - sum(part.shape[0] for part in parts)
    return list(xp.concatenate([*parts, xp.zeros((missing, num_words), dtype)]).reshape(-1, z, num_words))


def _graph(code: LdpcCode) -> tuple[list, list]:
    """Rows of the edges that carry messages, and the column of each extension row's own parity bit.

    What that bit says never changes, nor do columns of filler alone, which say that nothing changes.
    """
    core = code.info_columns + CORE_ROWS
    carry = {*range(-(-code.k // code.lifting)), *range(code.info_columns, core)}
    rows = [[(column, shift) for column, shift in row if column in carry] for row in code.rows()]
    own = [code.info_columns + number if number >= CORE_ROWS else None for number in range(len(rows))]
    kept = [pair for pair in zip(rows, own, strict=True) if pair[0]]
    return [row for row, _ in kept], [bit for _, bit in kept]


def _check_messages(xp, inputs: list, own) -> list:
    """What each check tells each of its bits from all others; ``own`` is the constant factor of an extension row."""
    factors = [xp.tanh(0.5 * value) for value in inputs]
    before = [own]
    for factor in factors[:-1]:
        before.append(factor if before[-1] is None else before[-1] * factor)
    after = [None]
    for factor in factors[:0:-1]:
        after.append(factor if after[-1] is None else after[-1] * factor)
    found = []
    for left, right in zip(before, reversed(after), strict=True):
        product = left if right is None else right if left is None else left * right
        product = xp.clip(product, -_LARGEST_TANH, _LARGEST_TANH)
        found.append(xp.log((1 + product) / (1 - product)))
    return found


def _layered(xp, rows, factors, totals, messages):
    totals, messages = dict(totals), list(messages)
    for number, (row, own) in enumerate(zip(rows, factors, strict=True)):
        old = messages[number]
        inputs = [xp.roll(totals[c], -shift, axis=0) - told for (c, shift), told in zip(row, old, strict=True)]
        messages[number] = _check_messages(xp, inputs, own)
        for (c, shift), value, told in zip(row, inputs, messages[number], strict=True):
            totals[c] = xp.roll(value + told, shift, axis=0)
    return totals, messages


def _flooding(xp, rows, factors, totals, messages, *, channel):
    new, told = dict(channel), []
    for row, own, old in zip(rows, factors, messages, strict=True):
        inputs = [xp.roll(totals[c], -shift, axis=0) - value for (c, shift), value in zip(row, old, strict=True)]
        told.append(_check_messages(xp, inputs, own))
        for (c, shift), value in zip(row, told[-1], strict=True):
            new[c] = new[c] + xp.roll(value, shift, axis=0)
    return new, told
