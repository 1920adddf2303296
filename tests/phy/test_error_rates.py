"""Bit error rates against decision regions, scipy's F distribution, closed forms of Rayleigh fading, and counting."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from lvm_mtc import phy

ES_NO = np.array([0.5, 3.0, 10.0, 40.0])


def _by_regions(es_no, bits_per_symbol):
    """Over the levels of one dimension: probability of each decision times the labels' distance."""
    points = phy.qam_points(bits_per_symbol)
    label = {round(p.real, 9): [(i >> (bits_per_symbol - 1 - k)) & 1 for k in range(0, bits_per_symbol, 2)]
             for i, p in enumerate(points)}  # fmt: skip
    levels = np.array(sorted(label))
    bits = np.array([label[round(level, 9)] for level in levels])
    distance = np.mean(bits[:, None] != bits[None], axis=-1)
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    below = stats.norm.cdf(edges[None], levels[:, None], np.sqrt(0.5 / es_no))
    return np.sum(np.diff(below, axis=1) * distance) / len(levels)


@pytest.mark.parametrize("bits_per_symbol", phy.BITS_PER_SYMBOL)
def test_gaussian_noise(bits_per_symbol):
    want = [_by_regions(value, bits_per_symbol) for value in ES_NO]
    np.testing.assert_allclose(phy.qam_ber(ES_NO, bits_per_symbol), want, rtol=2e-5)
    if bits_per_symbol == 2:
        np.testing.assert_allclose(want, stats.norm.sf(np.sqrt(ES_NO)), rtol=1e-6)


@pytest.mark.parametrize(("m_f", "m_s"), [(5.0, 4.0), (1.0, 3.0), (0.6, 1.5)])
def test_fisher_snedecor_fading(m_f, m_s):
    def integrand(g, es_no):  # scipy's F has mean m_s / (m_s - 1)
        return stats.f.pdf(g, 2 * m_f, 2 * m_s) * stats.norm.sf(np.sqrt(es_no * g * (m_s - 1) / m_s))

    want = [integrate.quad(integrand, 0, np.inf, args=(value,), limit=400)[0] for value in ES_NO]
    np.testing.assert_allclose(phy.fisher_snedecor_ber(ES_NO, m_f=m_f, m_s=m_s), want, rtol=1e-4)


def test_without_shadowing_it_is_rayleigh():
    want = 0.5 * (1 - np.sqrt(ES_NO / (2 + ES_NO)))
    np.testing.assert_allclose(phy.fisher_snedecor_ber(ES_NO, m_f=1.0, m_s=1e5), want, rtol=2e-4)


@pytest.mark.slow
def test_counted_errors_of_the_sampler():
    of_h, of_noise = jax.random.split(jax.random.key(3))
    count, es_no = 500_000, 6.0
    h = phy.fisher_snedecor(of_h, (count,), num_rx_ant=1, num_tx_ant=1, m_f=5.0, m_s=4.0)[:, 0, 0]
    noise = jax.random.normal(of_noise, (count,), h.dtype) / np.sqrt(es_no)
    symbol = phy.qam_map(np.zeros((count, 2), np.int32), 2)[:, 0]
    equalised = np.asarray(symbol + noise / h)
    errors = (equalised.real < 0).mean() / 2 + (equalised.imag < 0).mean() / 2
    want = float(phy.fisher_snedecor_ber(es_no, m_f=5.0, m_s=4.0))
    # Both bits of a symbol share its fade: the bound takes them for one.
    assert abs(errors - want) < 5 * np.sqrt(want / count)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"bits_per_symbol must be 1 \(BPSK\) or one of 2, 4, 6, 8"):
        phy.qam_ber(1.0, 3)
    with pytest.raises(ValueError, match="es_no must be >= 0"):
        phy.qam_ber(-1.0)
    with pytest.raises(ValueError, match="m_s must be > 1"):
        phy.fisher_snedecor_ber(1.0, m_f=1.0, m_s=1.0)
