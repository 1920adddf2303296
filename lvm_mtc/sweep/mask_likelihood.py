"""How probable a mask is, exactly: the law of ``models.masking`` as a differentiable function of P_r."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

_NODES = 128  # of each half of the integrals


@functools.partial(jax.jit, static_argnames=("masking", "capacity"))
def mask_log_likelihood(
    mask: jax.Array, inside: jax.Array, mask_prob: jax.Array, *, masking: str, capacity: int
) -> jax.Array:
    r"""Logarithm of the probability that a picture has this mask, differentiable in P_r.

    The scores of ``models.masking.keep_scores`` are logistic around ``+- mu = +- logit(1 - P_r)``, + inside the box.
    With ``H(t)`` the probability that all kept ones exceed t, and ``G(t)`` that no removed one does:

    * ``"budget"``: the kept ones are the largest, ``p = int H dG``.
    * ``"bernoulli"``: the kept ones are positive, ``p = H(0) G(0)``; a full capacity may be the largest of more, which
      adds ``int_0^inf H dG``; a single patch may stand for none, which adds ``- int_-inf^0 G dH``.

    The integrals are Gauss-Legendre's over the uniform variable ``u = sigmoid(t)``. (The noise is logistic; with
    Gumbel's the ordered scores would be Plackett-Luce, but the set of the largest would have no closed form either.)

    Args:
        mask: ``[..., num_patches]``, 1 = removed, as the chain drew it.
        inside: ``[..., num_patches]`` bool, patches of the object.
        mask_prob: P_r in (0, 1), scalar.
        masking: ``"budget"`` or ``"bernoulli"``.
        capacity: Patches that are kept, or that there is room for.

    Returns:
        ``[...]``.
    """
    if masking not in ("budget", "bernoulli"):
        raise ValueError(f"mask_log_likelihood knows the masking 'budget' and 'bernoulli', got {masking!r}")
    if masking == "budget" and capacity == mask.shape[-1]:
        return jnp.zeros(mask.shape[:-1])
    mu = jnp.log1p(-mask_prob) - jnp.log(mask_prob)
    nodes, weights = _gauss_legendre()
    log_weights = np.log(weights / (nodes * (1 - nodes)))  # d t = d u / (u (1 - u))

    def of_picture(mask, inside):
        kept, removed = ([jnp.sum((mask == value) & side) for side in (inside, ~inside)] for value in (0, 1))

        def log_parts(t):
            """Logarithm of H G, and how fast H falls and G rises, relative to themselves."""
            z = t - mu, t + mu
            exceeded = [(jax.nn.log_sigmoid(-of), jax.nn.log_sigmoid(of)) for of in z]
            both = sum(k * above + r * below for k, r, (above, below) in zip(kept, removed, exceeded, strict=True))
            falls = sum(k * jax.nn.sigmoid(of) for k, of in zip(kept, z, strict=True))
            rises = sum(r * jax.nn.sigmoid(-of) for r, of in zip(removed, z, strict=True))
            return both, falls, rises

        both, falls, rises = log_parts(np.log(nodes) - np.log1p(-nodes))
        terms = both + log_weights
        if masking == "budget":
            return jax.nn.logsumexp(terms, b=rises)
        at_zero, _, _ = log_parts(jnp.zeros(1))
        full = jnp.where((sum(kept) == capacity) & (nodes > 0.5), rises, 0.0)
        for_none = jnp.where((sum(kept) == 1) & (nodes < 0.5), falls, 0.0)
        return jax.nn.logsumexp(jnp.append(at_zero, terms), b=jnp.append(1.0, full + for_none))

    return jnp.vectorize(of_picture, signature="(n),(n)->()")(mask, inside)


@functools.cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1), the two halves apart."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = (nodes + 1) / 4, weights / 4
    halves = np.concatenate([nodes, nodes + 0.5]), np.concatenate([weights, weights])
    return tuple(np.float32(a) for a in halves)
