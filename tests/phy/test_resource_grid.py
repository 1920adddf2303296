"""The resource grid: places, times and costs."""

import jax
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy.resource_grid import ResourceGrid

GRID = ResourceGrid(fft_size=16, num_ofdm_symbols=7, cyclic_prefix_length=4, pilot_symbols=(1, 4))


def test_carriers_and_frequencies():
    grid = ResourceGrid(
        fft_size=8, cyclic_prefix_length=2, guard_carriers=(1, 2), dc_null=True, subcarrier_spacing=15e3
    )
    np.testing.assert_array_equal(grid.carriers, [1, 2, 3, 5])
    np.testing.assert_array_equal(grid.frequencies, np.array([-3, -2, -1, 1]) * 15e3)
    assert grid.num_carriers == 4
    odd = ResourceGrid(fft_size=5, cyclic_prefix_length=0)
    np.testing.assert_allclose(odd.frequencies, np.fft.fftshift(np.fft.fftfreq(5, odd.sample_duration)), rtol=1e-12)


def test_times_and_prefix():
    assert GRID.sample_duration == pytest.approx(1 / (16 * 30e3))
    assert GRID.symbol_duration == pytest.approx(20 * GRID.sample_duration)
    assert GRID.prefix_duration == pytest.approx(4 * GRID.sample_duration)
    assert GRID.prefix_factor == 1.25
    np.testing.assert_allclose(GRID.symbol_times(2), np.arange(14) * GRID.symbol_duration)


def test_slots_lie_on_data_elements_once_and_in_order():
    assert GRID.slots_per_grid == 5 * 16
    assert [GRID.num_grids(n) for n in (1, 80, 81)] == [1, 1, 2]
    symbols, carriers = GRID.slot_elements(2)
    elements = list(zip(symbols.tolist(), carriers.tolist(), strict=True))
    expected = [(7 * g + s, c) for g in range(2) for s in (0, 2, 3, 5, 6) for c in range(16)]
    assert elements == expected


def test_held_pilots_do_not_look_into_the_future_except_before_the_first():
    np.testing.assert_array_equal(GRID.held_pilots, [0, 0, 0, 0, 1, 1, 1])


def test_lists_make_a_static_argument_too():
    grid = ResourceGrid(pilot_symbols=[2, 11], guard_carriers=[0, 0])
    assert grid == ResourceGrid() and hash(grid) == hash(ResourceGrid())


def test_delays_within_the_prefix():
    GRID.require_within_prefix(0.0)
    GRID.require_within_prefix(4 * GRID.sample_duration)
    with pytest.raises(ValueError, match=r"delay_spread must .* 8.333e-06 s \(4 samples\), got 1e-05 s"):
        GRID.require_within_prefix(1e-5, "delay_spread")
    with pytest.raises(ValueError, match="max_delay .* got nan s"):
        GRID.require_within_prefix(float("nan"))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"fft_size": 1}, "ResourceGrid.fft_size must be an integer >= 2, got 1"),
        ({"num_ofdm_symbols": 1.5}, "ResourceGrid.num_ofdm_symbols must be an integer >= 2, got 1.5"),
        ({"cyclic_prefix_length": -1}, "ResourceGrid.cyclic_prefix_length must be an integer >= 0, got -1"),
        ({"cyclic_prefix_length": 65}, "cyclic_prefix_length 65 exceeds fft_size 64"),
        ({"subcarrier_spacing": 0.0}, r"subcarrier_spacing must lie in \[1e-12, 1e\+?12\] Hz, got 0.0"),
        ({"pilot_symbols": (3, 1)}, r"ascending numbers in 0 ... 13.*got \(3, 1\)"),
        ({"pilot_symbols": (14,)}, r"got \(14,\)"),
        ({"pilot_symbols": (1.5,)}, "pilot_symbols must be an integer >= 0, got 1.5"),
        ({"num_ofdm_symbols": 2, "pilot_symbols": (0, 1)}, "leave no symbol for data"),
        ({"guard_carriers": (32, 32)}, r"\(32, 32\) must be two numbers .* leave a subcarrier of fft_size 64"),
        ({"guard_carriers": (-1, 0)}, "guard_carriers must be an integer >= 0, got -1"),
    ],
)
def test_errors(numbers, message):
    with pytest.raises(ValueError, match=message):
        ResourceGrid(**numbers)


def test_a_grid_without_pilots_is_not_for_ofdm():
    grid = ResourceGrid(pilot_symbols=())
    assert grid.slots_per_grid == 14 * 64
    with pytest.raises(ValueError, match=r"pilot_symbols \(\) is for OTFS with an embedded pilot"):
        phy.draw_ofdm(jax.random.key(0), (2,), 5, grid=grid, paths=phy.rayleigh_path, num_tx_ant=2)
