"""What a user hands in that is none: one clear line each; and what is written in ``help(phy)``."""

import doctest
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from lvm_mtc import phy

X = np.ones((2, 3, 2), np.complex64)

pytestmark = pytest.mark.usefixtures("fast_compile")


def _send(no=0.1, **options):
    return phy.broadcast(jax.random.key(0), X, no=no, **options)


def _draw(**options):
    return phy.rayleigh(jax.random.key(0), (3,), num_rx_ant=2, num_tx_ant=2, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _send(fading="rayleigh"), "fading must be a sampler such as phy.rayleigh, or None for AWGN, got 'ray"),
        (lambda: _send(no="0.1"), "no must be a number or an array of numbers, got '0.1'"),
        (lambda: _send(csi_error_var=[None]), "csi_error_var must be a number or an array of numbers"),
        (lambda: phy.broadcast(jax.random.key(0), [[1, 2]], no=0.1), "x must be a complex array, got a list"),
        (lambda: phy.joint(jax.random.key(0), "abc", no=0.1), "x must be a complex array, got a str"),
        (lambda: phy.lmmse_equalizer([1, 2], np.eye(2) + 0j, 0.1), "y must be a complex array, got a list"),
        (lambda: phy.noise_variance("10"), "must be a number or an array of numbers, got '10'"),
        (lambda: _draw(rx_corr=[[1, 2], [2, 1]]), "rx_corr must be positive definite, and its least eigenvalue is -1"),
        (lambda: _draw(tx_corr=jnp.array([[1, 0.5], [0, 1]])), "tx_corr must be Hermitian, got"),
        (lambda: _draw(tx_corr=np.eye(3)), "tx_corr must have shape"),
        (lambda: phy.qam_map([0, 1, 1], 3), "bits_per_symbol must be 1 (BPSK) or one of 2, 4, 6, 8"),
        (lambda: phy.qam_map([0, 2], 1), "bits must be zeros and ones, got 2"),
    ],
)
def test_one_line(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call()
    assert "\n" not in str(error.value)


def test_correlation_in_a_list_is_that_of_an_array():
    corr = [[1, 0.5], [0.5, 1]]
    np.testing.assert_array_equal(_draw(rx_corr=corr), _draw(rx_corr=jnp.array(corr)))


def test_symbolic_shapes_are_exported():
    """A program for any number of pictures and slots gives what the one for these gives."""
    num_tx_ant = 2

    def send(x):
        return phy.broadcast(jax.random.key(0), x, no=0.1, csi_error_var=0.01, num_rx_ant=2).x_hat

    shape = export.symbolic_shape(f"b, 2, s, {num_tx_ant}")
    exported = export.export(jax.jit(send))(jax.ShapeDtypeStruct(shape, jnp.complex64))
    x = jnp.exp(1j * jnp.arange(3 * 2 * 5 * num_tx_ant)).reshape(3, 2, 5, num_tx_ant)
    with jax.debug_key_reuse(False):
        np.testing.assert_allclose(exported.call(x), send(x), atol=2e-4)


def test_help_has_every_name_in_a_group_and_examples_that_run():
    groups = phy.__doc__[phy.__doc__.index("Links, from") :]
    named = re.findall(r"\b\w+\b", " ".join(re.findall(r"^    (\S.*)$", groups, re.MULTILINE)))
    assert [name for name in phy.__all__ if named.count(name) != 1] == []
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        assert doctest.testmod(phy, optionflags=doctest.ELLIPSIS).failed == 0
