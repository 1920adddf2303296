"""A result store made by hand from closed forms, with the coordinates and metrics of a sweep."""

import itertools

from lvm_mtc.link import LinkConfig
from lvm_mtc.results.points import Point

SNR_DB = (0, 5, 10, 15, 20)
CSI_ERROR = (0, 0.05, 0.1)
LINKS = {fading: LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")}
CONFIG = {
    "schemes": {"object first": {}, "uniform masking": {}},
    "links": {fading: link.described() for fading, link in LINKS.items()},
    "pictures": {"2": {"groups": 8, "hash": "ab12"}},
    "stopping": {"level": 0.95, "max_units": 32, "metric": "psnr_db"},
    "random_pictures": False,
}
UNIFORM = "uniform masking"


def psnr_db(at, inside=False):
    """Rises with the SNR, falls with the CSI error's deviation; a best P_r = 0.3 inside the box, none in the whole."""
    value = 20 + 0.6 * at["snr_db"] - 10 * at["csi_error_var"] ** 0.5 - 5 * at["epsilon"]
    value -= 1.5 * (at["channel"] == "rayleigh")
    if at["scheme"] == UNIFORM:
        return value + (0.0 if inside else 1.0)
    return value + (3 - 20 * (at["mask_prob"] - 0.3) ** 2 if inside else 2 * at["mask_prob"])


def public_share(at):
    return min(1.0, at["epsilon"] * 4) / (1 + 0.1 * at["num_uavs"])


def closed_forms(at, without=()):
    metrics = {
        "psnr_db": (psnr_db(at), 0.3, 32),
        "psnr_inside_db": (psnr_db(at, inside=True), 0.4, 32),
        "ssim": (1 - 10 ** (-psnr_db(at) / 20), 0.01, 32),
        "nmse_symbols": (10 ** (-at["snr_db"] / 10) * (1 + at["csi_error_var"]) + at["csi_error_var"], 0.001, 32),
        "public_share": (public_share(at), None, 8),
        "keep_rate_inside": (1 - at["mask_prob"], None, 8),
        "keep_rate_outside": (at["mask_prob"], None, 8),
    }
    return {name: value for name, value in metrics.items() if name not in without}


def make_point(key, at, measured):
    return Point(
        config_hash=key,
        coordinates=at,
        metrics=measured,
        seed=at["seed"],
        snr_convention="rx_per_antenna",
        snr_db=at["snr_db"],
        realised_snr_db=at["snr_db"] + 0.01,
        device="cpu",
        versions={"jax": "0.10.1", "numpy": "2.4"},
        ledger={"channel_uses": 512},
        created="2026-01-01T00:00:00+00:00",
    )


def coordinates(
    num_uavs=2, scheme="object first", mask_prob=0.25, epsilon=0.0, csi_error_var=0.0, snr_db=10, channel="awgn"
):
    return dict(
        num_uavs=num_uavs,
        seed=0,
        scheme=scheme,
        mask_prob=mask_prob,
        channel=channel,
        epsilon=epsilon,
        csi_error_var=csi_error_var,
        snr_db=snr_db,
    )


def grid():
    """SNR x CSI error of both schemes, and sweeps of P_r, and of epsilon over K."""
    found = []
    for channel in LINKS:
        found += [
            coordinates(
                snr_db=snr,
                csi_error_var=error,
                scheme=scheme,
                channel=channel,
                mask_prob=0.5 if scheme == UNIFORM else 0.25,
                num_uavs=8,
            )
            for scheme, error, snr in itertools.product(CONFIG["schemes"], CSI_ERROR, SNR_DB)
        ]
        found += [coordinates(mask_prob=p, channel=channel, num_uavs=8) for p in (0.1, 0.2, 0.3, 0.4)]
        found += [
            coordinates(num_uavs=k, epsilon=epsilon, channel=channel)
            for k, epsilon in itertools.product((2, 4, 8), (0.0, 0.05, 0.2))
        ]
    return list({tuple(at.items()): at for at in found}.values())


def fill(store, points=None, config=None, without=()):
    """Adds a sweep with the grid's points, or others, to a store.

    Args:
        store: The store.
        points: Coordinates and metrics; None for the metrics of the closed forms.
        config: Of the sweep.
        without: Metrics of the closed forms that are left out.

    Returns:
        The sweep's key.
    """
    key = store.register(CONFIG if config is None else config)
    points = [(at, None) for at in grid()] if points is None else points
    store.add(
        [make_point(key, at, closed_forms(at, without) if metrics is None else metrics) for at, metrics in points]
    )
    return key
