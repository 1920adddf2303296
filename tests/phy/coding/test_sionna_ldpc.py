"""Our LDPC code against Sionna's, bit for bit, and its decoder on the same LLRs."""

import math

import numpy as np
import pytest

from lvm_mtc.phy.coding import CRC_POLYNOMIALS, LdpcCode, crc_bits, ldpc_decode, ldpc_encode
from lvm_mtc.phy.coding.base_graphs import _table

pytestmark = pytest.mark.sionna

LENGTHS = (12, 20, 64, 96, 192, 193, 292, 293, 560, 561, 640, 641, 1000, 2000, 3824, 3825, 5000, 8448)
RATES = (0.2, 0.25, 0.3, 1 / 3, 0.5, 2 / 3, 0.75, 5 / 6, 0.92, 0.95)


@pytest.fixture(scope="module")
def fec():
    from lvm_mtc.interop.sionna import runtime

    return runtime.load().phy.fec


def _grid():
    """120 of all k, rates and modulations that there are."""
    cases = [
        (k, math.ceil(k / rate / m) * m, m)
        for m in (1, 2, 4, 6, 8)
        for k in LENGTHS
        for rate in RATES
        if not (rate < 1 / 3 and k > 3824)
    ]
    cases = [case for case in cases if 0.2 <= case[0] / case[1] <= 0.95]
    return [cases[i] for i in np.random.default_rng(1).permutation(len(cases))[:120]]


def test_encoder_is_sionnas_bit_for_bit(fec):
    rng = np.random.default_rng(2)
    graphs = set()
    for k, n, m in _grid():
        theirs, ours = fec.ldpc.LDPC5GEncoder(k, n, num_bits_per_symbol=m), LdpcCode(k, n, m)
        bits = rng.integers(0, 2, (2, k), np.uint8)
        assert theirs.z == ours.lifting, (k, n, m)
        np.testing.assert_array_equal(ldpc_encode(bits, ours), theirs(np.float32(bits)).numpy(), err_msg=f"{k} {n} {m}")
        graphs.add((ours.base_graph, ours.lifting))
    assert {graph for graph, _ in graphs} == {1, 2} and len(graphs) >= 20


def test_tables_are_those_that_sionna_carries():
    from experiments.coding.base_graphs import read_csv, sionna_folder

    for graph in (1, 2):
        np.testing.assert_array_equal(_table(graph), read_csv(sionna_folder() / f"5G_bg{graph}.csv"))


@pytest.mark.parametrize("name", CRC_POLYNOMIALS)
def test_crc_is_sionnas(name, fec):
    bits = np.random.default_rng(3).integers(0, 2, (4, 150), np.uint8)
    theirs = fec.crc.CRCEncoder(name)(np.float32(bits)).numpy()
    np.testing.assert_array_equal(crc_bits(bits, name), theirs[:, 150:])


@pytest.mark.parametrize(("k", "n", "ebno_db"), [(512, 1024, 1.3), (1200, 1440, 3.1), (100, 500, 1.0), (800, 850, 5.5)])
@pytest.mark.parametrize(("schedule", "num_iter"), [("flooding", 20), ("layered", 10)])
def test_decisions_are_sionnas(k, n, ebno_db, schedule, num_iter, fec):
    """On the same LLRs, within the waterfall: both lose the same words but for one in a thousand, or four."""
    encoder = fec.ldpc.LDPC5GEncoder(k, n)
    decoder = fec.ldpc.LDPC5GDecoder(encoder, num_iter=num_iter, cn_schedule=schedule)
    code, rng = LdpcCode(k, n), np.random.default_rng(4)
    bits = rng.integers(0, 2, (512, k), np.uint8)
    no = 10 ** (-ebno_db / 10) / (k / n)
    y = 2.0 * ldpc_encode(bits, code) - 1 + np.sqrt(no / 2) * rng.normal(size=(512, n))
    llr = np.float32(4 * y / no)
    ours = ((ldpc_decode(llr, code, num_iter=num_iter, schedule=schedule, engine="numpy") > 0) != bits).any(1)
    theirs = (decoder(llr).numpy() != bits).any(1)
    assert 0.02 < theirs.mean() < 0.98
    assert (ours != theirs).sum() <= (0 if schedule == "flooding" else 4)
