"""Links from flat fields and back, names of links, functions and carriers of a user's own."""

import dataclasses
import functools
import importlib.util
import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_mtc import phy
from lvm_mtc.link import (
    Frames,
    LinkConfig,
    Mac,
    MuMimo,
    Ofdm,
    OfdmIci,
    OperatingPoint,
    Otfs,
    Signal,
    SingleCarrier,
    draw,
    noise_variance,
    send,
    uav_keys,
)
from lvm_mtc.link.fading import acts
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.linear.scheme import Linear, LinearConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, transmit
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import run_sweep
from lvm_mtc.sweep.stopping import StoppingRule

STORED = Path(__file__).resolve().parents[1] / "golden" / "links_0_1.json"
"""Links as result stores of version 0.1 hold them."""
PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=200)


def stored_links():
    return json.loads(STORED.read_text())


def test_links_of_old_stores_are_described_as_they_were():
    stored = stored_links()
    assert {link["fading"] for link in stored} >= {"awgn", "rayleigh", "rayleigh_magnitude"}
    for fields in stored:
        assert LinkConfig.of(**fields).described() == fields
    assert LinkConfig.of(**(stored[0] | {"num_rx_ant": 5, "num_tx_ant": 5})).described() != stored[0]


def grids():
    pilots = st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True).map(sorted)
    sizes = dict(num_ofdm_symbols=st.integers(9, 14), cyclic_prefix_length=st.integers(8, 16), pilot_symbols=pilots)
    return st.fixed_dictionaries(sizes | {"dc_null": st.booleans()})


def numbers(low, high):
    return st.floats(low, high, allow_nan=False, width=32)


@st.composite
def flat_fields(draw):
    """Valid fields of a link of any carrier, at one level."""
    carrier = draw(st.sampled_from(["single_carrier", "ofdm", "ofdm_ici", "otfs", "mu_mimo", "mac"]))
    flat = ["rayleigh", "rician", "nakagami", "fisher_snedecor", "sionna_rayleigh"]
    selective = ["exponential", "tdl_a", "cdl_d", "sionna_tdl_a", "sionna_cdl_c", "sionna_umi"]
    kinds = {"single_carrier": [*flat, "awgn"], "mu_mimo": flat, "mac": flat}
    fading = draw(st.sampled_from(kinds.get(carrier, [*selective, *flat[:2]])))
    fields = {"fading": fading, "num_tx_ant": 1 if carrier == "mac" else draw(st.integers(1, 6))}
    fields["num_rx_ant"] = 1 if carrier == "mu_mimo" else fields["num_tx_ant"]
    fields["equalizer"] = draw(
        st.sampled_from([e for e in phy.EQUALIZERS if e != "none" or carrier not in ("mu_mimo", "mac")])
    )
    fields["csi"] = draw(st.sampled_from(phy.CSI_MODELS))
    for name, low, high in (("k_factor_db", -20, 20), ("nakagami_m", 0.5, 9), ("m_f", 0.5, 9), ("m_s", 1.25, 9)):
        if acts(name, fading):
            fields[name] = draw(numbers(low, high))
    if carrier == "mu_mimo":
        fields |= {"topology": carrier, "csi_aware": draw(st.booleans())}
        fields["precoding"] = draw(st.sampled_from(phy.PRECODINGS))
        fields["power_constraint"] = draw(st.sampled_from(phy.POWER_CONSTRAINTS))
    elif carrier == "mac":
        fields |= {"topology": carrier, "access": draw(st.sampled_from(["superposed", "orthogonal"]))}
    else:
        fields["topology"] = draw(st.sampled_from(["broadcast", "joint"]))
        fields["convention"] = draw(st.sampled_from(["esno", "rx_per_antenna", "received_total"]))
    if carrier in ("ofdm", "ofdm_ici", "otfs"):
        fields |= {"waveform": "auto" if carrier == "ofdm" and fading in selective else carrier, "ofdm": draw(grids())}
        fields |= {"speed": draw(numbers(0, 50)), "carrier_frequency": draw(numbers(1e9, 6e9))}
        if acts("delay_spread", fading):
            fields["delay_spread"] = draw(numbers(2**-25, 2**-24))
        if carrier == "ofdm":
            return fields | {"interpolation": draw(st.sampled_from(phy.INTERPOLATIONS))}
        fields |= {
            "csi": draw(st.sampled_from(("additive", "mmse"))),
            "equalizer": draw(st.sampled_from(phy.LMMSE_VARIANTS)),
        }
        if carrier == "ofdm_ici":
            fields["receiver"] = draw(st.sampled_from(phy.RECEIVERS))
        return fields
    pilots = fields["num_tx_ant"] + draw(st.integers(0, 3)) if fields["csi"].startswith("pilots") else None
    fields |= {"num_pilots": pilots, "block_length": draw(st.none() | st.integers((pilots or 0) + 1, 20))}
    if fading == "rayleigh" and fields["csi"] != "mmse":
        fields |= {"rx_corr": draw(numbers(0, 0.75)), "tx_corr": draw(numbers(0, 0.75))}
    return fields


@PROPERTY
@given(flat_fields())
def test_a_description_is_the_link_and_holds_every_field(fields):
    link = LinkConfig.of(**fields)
    written = json.loads(json.dumps(link.described()))
    assert LinkConfig.of(**written) == link and LinkConfig.of(**written).described() == link.described()
    assert {name: written[name] for name in fields if name != "ofdm"} == {
        k: v for k, v in fields.items() if k != "ofdm"
    }
    grid = fields.get("ofdm", {})
    assert {name: written["ofdm"][name] for name in grid} == grid


@pytest.mark.parametrize(
    ("carrier", "flat"),
    [
        (SingleCarrier(topology="joint", block_length=9), dict(topology="joint", block_length=9)),
        (Ofdm(speed=3.0), dict(waveform="ofdm", speed=3.0)),
        (Otfs(speed=3.0), dict(waveform="otfs", speed=3.0)),
        (OfdmIci(receiver="one_tap"), dict(waveform="ofdm_ici", receiver="one_tap")),
        (MuMimo(precoding="zf"), dict(topology="mu_mimo", precoding="zf")),
        (Mac(access="orthogonal"), dict(topology="mac", access="orthogonal")),
    ],
)
def test_a_carrier_is_named_or_given(carrier, flat):
    antennas = dict(
        num_rx_ant=1 if carrier.topology == "mu_mimo" else 4, num_tx_ant=1 if carrier.topology == "mac" else 4
    )
    link = LinkConfig(**antennas, carrier=carrier)
    assert link == LinkConfig.of(**antennas, **flat)
    assert LinkConfig.of(**link.described()) == link


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(precoding="zf"), "LinkConfig.precoding 'zf' goes with carrier 'mu_mimo', not with 'single_carrier'"),
        (dict(speed=3.0), "LinkConfig.speed 3.0 goes with carrier 'ofdm' or 'ofdm_ici' or 'otfs', not with"),
        (dict(fading="exponential", block_length=4), "block_length 4 goes with carrier 'single_carrier' or 'mu_mimo'"),
        (dict(block_lenght=4), r"LinkConfig.block_lenght is not known \(did you mean 'block_length'\?\)"),
        (dict(waveform="ofdm", ofdm=dict(fft_siz=4)), r"LinkConfig.ofdm.fft_siz is not known \(did you mean 'fft_size"),
        (dict(waveform="ofdm", ofdm=dict(fft_size=1)), "LinkConfig.ofdm: ResourceGrid.fft_size"),
        (dict(waveform="ofdm", speed="fast"), "LinkConfig.speed must be a number, got 'fast'"),
        (dict(topology="mu_mimo", waveform="ofdm"), "'mu_mimo' needs a single carrier, got fading 'rayleigh' on a"),
        (dict(fading=functools.partial(phy.rician, k_factor_db=3.0)), "must be a name or a function of a module, got"),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        LinkConfig.of(**fields)


B, K, FRAMES, SYMBOLS = 3, 2, 4, 8
POINT = OperatingPoint(snr_db=6.0, csi_error_var=0.05)


def signal():
    shape = (B, K, FRAMES, SYMBOLS)
    return Signal(Frames(jax.random.normal(jax.random.key(1), shape, jnp.complex64), jnp.ones(shape[:-1], bool)))


@functools.cache
def through(link):
    draws = draw(link, uav_keys(jax.random.key(2), K), B, FRAMES, SYMBOLS)
    return send(link, signal(), draws, POINT)


def half_rayleigh(key, batch_shape, **antennas):
    """A fading of one's own: a quarter of the power is in a constant."""
    return 0.75**0.5 * phy.rayleigh(key, batch_shape, **antennas) + 0.5


@pytest.mark.slow
def test_a_function_of_ones_own_is_a_fading():
    own, named = LinkConfig(fading=phy.rayleigh), LinkConfig(fading="rayleigh")
    jax.tree.map(np.testing.assert_array_equal, through(own), through(named))
    assert own.label == "rayleigh" and own.described()["fading"]["code"] == "lvm_mtc.phy.fading:rayleigh"
    h, h_named = (np.asarray(through(link)[1].h) for link in (LinkConfig(fading=half_rayleigh), named))
    np.testing.assert_allclose(h, 0.75**0.5 * h_named + 0.5, rtol=1e-6)


@pytest.mark.slow
def test_a_function_of_ones_own_is_a_fading_of_a_grid():
    grid = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3))
    own, named = (LinkConfig(fading=fading, carrier=Ofdm(grid=grid)) for fading in (phy.rayleigh_path, "rayleigh"))
    np.testing.assert_array_equal(through(own)[1].h, through(named)[1].h)


def module_of(path, source):
    path.write_text(source)
    # Files written within one tick of the clock have to differ for Python's caches too.
    os.utime(path, ns=(path.stat().st_atime_ns, len(source)))
    spec = importlib.util.spec_from_file_location("somebodys_fading", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["somebodys_fading"] = module
    spec.loader.exec_module(module)
    return module


def test_a_description_changes_with_the_source_of_ones_own(tmp_path):
    source = "from lvm_mtc import phy\n\ndef fade(*args, **options):\n    return {} * phy.rayleigh(*args, **options)\n"

    def described(factor):
        module = module_of(tmp_path / "somebodys_fading.py", source.format(factor))
        return LinkConfig(fading=module.fade).described()

    try:
        first, again, changed = described("1"), described("1"), described("1j")
    finally:
        sys.modules.pop("somebodys_fading", None)
    assert first == again and first["fading"]["code"] == changed["fading"]["code"] == "somebodys_fading:fade"
    assert first["fading"]["source"] != changed["fading"]["source"]
    json.dumps(first)


def test_a_function_whose_source_cannot_be_read_is_refused_by_sweeps():
    scope = {"__name__": "typed_in"}
    exec("def fade(*args, **options): ...", scope)
    with pytest.raises(ValueError, match="its source cannot be read, so a sweep could not see it change"):
        LinkConfig(fading=scope["fade"]).described()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Erasures:
    """A carrier of one's own: noise alone, and slots that get lost, which the receiver sees."""

    topology: str = "broadcast"
    share: float = 0.25

    def check(self, link):
        if not 0 <= self.share < 1:
            raise ValueError(f"Erasures.share must lie in [0, 1), got {self.share!r}")

    def draw(self, link, keys, batch, num_slots, total_slots, point):
        def one(key):
            noise_key, loss_key = jax.random.split(key)
            noise = jax.random.normal(noise_key, (batch, num_slots, link.num_tx_ant), jnp.complex64)
            return noise, jax.random.uniform(loss_key, (batch, num_slots, 1))

        return jax.vmap(one, out_axes=1)(keys)

    def send(self, link, slots, draws, point):
        noise, uniform = draws
        no = noise_variance(link, point)
        arrived = uniform >= self.share
        x_hat = jnp.where(arrived, slots.x + jnp.sqrt(no) * noise, 0)
        no_eff = jnp.broadcast_to(jnp.where(arrived, no, 1.0), slots.x.shape)
        return phy.LinkOutput(x_hat, no_eff, None, None, None)

    def book(self, link, ledger, num_uavs):
        return ledger._replace(idle_uses=ledger.slots)  # one more for each slot, say


@pytest.mark.usefixtures("fast_compile")
def test_a_carrier_of_ones_own_stands_beside_the_librarys():
    scheme = Linear(LinearConfig(image_size=16, patch_size=4, num_symbols=8))
    params, source = scheme.init(jax.random.key(0)), Source(jax.random.uniform(jax.random.key(3), (B, K, 16, 16, 3)))
    links = (LinkConfig(fading="awgn"), LinkConfig(fading="awgn", carrier=Erasures(), name="lossy"))
    keys = uav_keys(jax.random.key(2), K)
    draws = [draw(link, jax.random.clone(keys), B, *scheme.frames()) for link in links]

    @jax.jit
    def run(params, point, number):
        encoded = encode(scheme, params, source, jax.random.clone(keys), {})
        return transmit(scheme, params, encoded, links, draws, point, number)

    wire, lossy = (run(params, OperatingPoint(snr_db=jnp.float32(12.0)), number) for number in (0, 1))
    x_hat, no_eff = (np.asarray(a) for a in lossy.received)
    lost = no_eff == 1.0
    share, count = lost[..., 0].mean(), B * K * 16 * 2  # two slots a frame, four symbols each
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / count)
    assert (x_hat[lost] == 0).all()
    error = np.abs(x_hat - np.asarray(lossy.sent.signal.private.symbols))[~lost] ** 2
    assert abs(error.mean() / 10**-1.2 - 1) < 5 / np.sqrt(error.size) < 0.3
    np.testing.assert_array_equal(lossy.ledger.channel_uses(), wire.ledger.channel_uses() + lossy.ledger.slots)
    assert np.isnan(lossy.through.snr) and np.isfinite(wire.through.snr)
    assert (lossy.through.nmse_symbols > wire.through.nmse_symbols).all()
    described = links[1].described()
    assert described["carrier"]["code"].endswith(":Erasures") and described["carrier"]["share"] == 0.25
    assert described != LinkConfig(fading="awgn", carrier=Erasures(share=0.5)).described()
    with pytest.raises(ValueError, match=r"Erasures.share must lie in \[0, 1\), got 2"):
        LinkConfig(carrier=Erasures(share=2))


@pytest.mark.slow
@pytest.mark.usefixtures("fast_compile")
def test_two_links_of_one_fading_stand_in_one_sweep_under_their_names(tmp_path, small_scheme, small_pictures):
    plain = LinkConfig(num_rx_ant=2, num_tx_ant=2)
    links = tuple(dataclasses.replace(plain, name=name, equalizer=name) for name in ("robust", "mf"))
    common = dict(schemes=(small_scheme,), sources={2: picture_source(*small_pictures)}, snr_db=(15.0,))
    common |= dict(metrics=("psnr_db",), stopping=StoppingRule(target_half_width=None, max_units=4))
    with pytest.raises(ValueError, match="SweepSpec.links holds a value twice: rayleigh, rayleigh"):
        SweepSpec(links=tuple(dataclasses.replace(link, name=None) for link in links), **common)
    spec = SweepSpec(links=links, **common)
    assert set(spec.config()["links"]) == {"robust", "mf"}
    with ResultStore(tmp_path / "s.sqlite") as store:
        key = run_sweep(spec, store)
        found = {point.coordinates["channel"]: point.metrics["psnr_db"].mean for point in store.read(key)}
    assert found["robust"] > found["mf"] + 1
    # A name is no part of what a link does.
    assert links[0].described() == plain.described() and links[0] != plain
