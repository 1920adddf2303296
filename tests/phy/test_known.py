"""Numbers of concrete device arrays are checked as those of the host are; traced ones pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import OperatingPoint, phy
from lvm_mtc.link.signal import check_point
from lvm_mtc.phy.coding import LdpcCode, crc_attach, ldpc_decode, ldpc_encode
from lvm_mtc.phy.numerics import known
from lvm_mtc.phy.path_loss import require_height

X, H = jnp.ones((3, 2), jnp.complex64), jnp.ones((3, 2, 2), jnp.complex64)
CODE = LdpcCode(24, 48)
CALLS = [
    (lambda v: phy.qam_map(v, 2), [[0, 2]], "bits must be zeros and ones, got 2"),
    (lambda v: crc_attach(v, "CRC6"), [0, 1, 3], "bits must be zeros and ones, got 3"),
    (lambda v: ldpc_encode(v, CODE), np.full(CODE.k, 2), "bits must be zeros and ones, got 2"),
    (lambda v: ldpc_decode(v, CODE, num_iter=1), np.full(CODE.n, np.nan, np.float32), "llr is NaN in 1 of 1 words"),
    (lambda v: phy.lmmse_matrix(H, v), -0.1, "no must be >= 0"),
    (lambda v: phy.lmmse_matrix(H, v), np.nan, "no must be >= 0"),
    (lambda v: phy.estimate_csi(H, H, v), -1.0, "csi_error_var must be >= 0"),
    (lambda v: phy.estimate_csi(H, H, v, model="mmse"), 1.5, "csi_error_var must be < 1"),
    (lambda v: phy.exp_corr_mat(v, 4), 1.5, "a must have magnitude <="),
    (lambda v: require_height("height", v), [2.0, 301.0], "height must lie in"),
    (lambda v: phy.exponential_profile(4, 1e-7, v), 1e-3, "delay_spread must be at most"),
    (lambda v: check_point(OperatingPoint(csi_error_var=v)), -0.2, "OperatingPoint.csi_error_var must be >= 0"),
    (lambda v: check_point(OperatingPoint(snr_db=v)), np.inf, "OperatingPoint.snr_db must be finite"),
]


@pytest.mark.parametrize(("call", "value", "words"), CALLS)
def test_a_wrong_number_on_the_device_is_refused_like_one_on_the_host(call, value, words):
    for given in (np.asarray(value), jnp.asarray(value)):
        with pytest.raises(ValueError, match=words) as caught:
            call(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("call", "value", "words"), CALLS)
def test_a_traced_number_passes(call, value, words):
    jax.eval_shape(lambda v: (call(v), v)[1], jnp.asarray(value))


def test_what_is_known():
    assert known(jnp.ones(2)).tolist() == [1, 1] and known(2).tolist() == 2
    assert jax.jit(lambda v: jnp.float32(known(v) is None))(1.0)
