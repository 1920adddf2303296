"""Every number of a link is finite and in range in the type that it is used in."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, MuMimo, Ofdm, SingleCarrier, draw, uav_keys

TINY = float(np.finfo(np.float32).tiny)
# Of every number: what else it needs to be looked at, and its range.
NUMBERS = {
    "k_factor_db": (dict(fading="rician"), -np.inf, np.inf),
    "nakagami_m": (dict(fading="nakagami"), 0.5, np.inf),
    "m_f": (dict(fading="fisher_snedecor"), TINY, np.inf),
    "m_s": (dict(fading="fisher_snedecor"), 1 + 2**-23, np.inf),
    "rx_corr": ({}, 0, phy.largest_correlation(4)),
    "tx_corr": ({}, 0, phy.largest_correlation(4)),
    "delay_spread": (dict(fading="exponential"), TINY, 2.5515e-6),
    "speed": (dict(waveform="ofdm"), 0, phy.SPEED_OF_LIGHT),
    "carrier_frequency": (dict(waveform="ofdm", speed=3.0), TINY, 1e12),
}
ODD = [1 - 1e-9, 1 + 1e-9, 1 - 1e-6, 1e39, -1e39, 1e-39, 1e-50, 2.5515e-6, 2.5516e-6]


def test_every_number_of_a_link_is_in_the_table():
    kinds = (LinkConfig, SingleCarrier, Ofdm, MuMimo)
    assert {field.name for kind in kinds for field in dataclasses.fields(kind) if field.type is float} == set(NUMBERS)


@settings(deadline=None, derandomize=True, database=None, max_examples=500)
@given(name=st.sampled_from(sorted(NUMBERS)), value=st.floats() | st.floats(0, 1) | st.sampled_from(ODD))
def test_numbers_are_finite_and_in_range_in_single_precision(name, value):
    others, low, high = NUMBERS[name]
    with np.errstate(over="ignore"):
        single = np.float32(value)
    fits = bool(np.isfinite(single) and low <= single <= high)
    of_carrier = name in ("speed", "carrier_frequency")
    for make in (
        lambda: LinkConfig.of(**(others | {name: value})),
        lambda: LinkConfig(carrier=Ofdm(**{name: value})) if of_carrier else LinkConfig(**(others | {name: value})),
    ):
        try:
            make()
            assert fits
        except ValueError as error:
            assert not fits
            assert f".{name} must " in str(error) and repr(value) in str(error) and "\n" not in str(error)


ENDS = [(name, end) for name, (_, *ends) in NUMBERS.items() for end in ends if np.isfinite(end)]


@pytest.mark.usefixtures("fast_compile")
@pytest.mark.parametrize(
    ("name", "value"),
    [*ENDS, ("k_factor_db", -3e38), ("k_factor_db", 3e38), ("nakagami_m", 3e38), ("m_f", 3e38), ("m_s", 3e38)],
)
def test_the_ends_of_every_range_give_a_channel(name, value):
    link = LinkConfig.of(**(NUMBERS[name][0] | {name: float(value)}))
    drawn = jax.jit(lambda keys: draw(link, keys, 2, 1, 4))(uav_keys(jax.random.key(0), 1))
    assert np.isfinite(drawn.h).all()


@pytest.mark.parametrize("spacing", [0.0, -1.0, 1e-13, 1e13, np.nan, np.inf])
def test_the_spacing_of_subcarriers_is_in_range(spacing):
    with pytest.raises(ValueError, match=r"ResourceGrid.subcarrier_spacing must lie in \[1e-12, 1e12\] Hz, got"):
        phy.ResourceGrid(subcarrier_spacing=spacing)
