"""Channels a second of 3GPP's delay lines: ours, and Sionna's on TensorFlow in the same process.

Batches of 256 links of 4x4 antennas at 14 times, 100 ns, 10 Hz; both sides compiled (Sionna as a graph, and by XLA
where that works), runs of the two in turn, medians. Writes JSON; needs the extra ``sionna``:

    python benchmarks/delay_lines.py [--out FILE] [--repeats 10] [--links 256] [--channels cdl_A]

Nothing is reported unless the mean power of both is 1 within 5 %. Channels that are not measured keep their old rows.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import jax
import numpy as np
from lacking import need

from lvm_mtc import phy

CHANNELS = ("tdl_A", "cdl_A", "cdl_D")
ANTENNAS, NUM_TIMES, INTERVAL, SPREAD, DOPPLER, CARRIER = 4, 14, 71e-6, 100e-9, 10.0, 3.5e9


def ours(family: str, model: str, links: int):
    """A function that draws a batch of gains."""
    sampler = functools.partial(
        getattr(phy, family), model=model, delay_spread=SPREAD, max_doppler=DOPPLER, num_rx_ant=ANTENNAS,
        num_tx_ant=ANTENNAS, times=np.arange(NUM_TIMES) * INTERVAL,
    )  # fmt: skip
    draw = jax.jit(lambda key: sampler(key, (links,)).gains)
    keys = iter(jax.random.split(jax.random.key(0), 10_000))
    return lambda: np.asarray(draw(next(keys)))


def theirs(family: str, model: str, links: int, *, jit_compile: bool):
    """The same of Sionna, called as its documentation does, inside ``tf.function``."""
    import sionna.phy
    import tensorflow as tf

    lines = sionna.phy.channel.tr38901
    speed = DOPPLER * sionna.phy.SPEED_OF_LIGHT / CARRIER
    if family == "tdl":
        line = lines.TDL(model, SPREAD, CARRIER, min_speed=speed, num_rx_ant=ANTENNAS, num_tx_ant=ANTENNAS)
    else:
        style = {"polarization": "single", "polarization_type": "V", "antenna_pattern": "omni"}
        array = lines.PanelArray(num_rows_per_panel=1, num_cols_per_panel=ANTENNAS, carrier_frequency=CARRIER, **style)
        line = lines.CDL(model, SPREAD, CARRIER, array, array, "downlink", min_speed=speed)
    draw = tf.function(lambda: line(links, NUM_TIMES, 1 / INTERVAL)[0], jit_compile=jit_compile)
    return lambda: draw().numpy()


def in_turn(sides: dict, repeats: int) -> dict[str, float]:
    """Median seconds of each side, whose first runs are not counted."""
    power = {
        name: float(np.mean(np.sum(np.abs(run()) ** 2, axis=-4 if name == "ours" else -2)))
        for name, run in sides.items()
    }
    for name, value in power.items():
        if abs(value - 1) > 0.05:
            raise SystemExit(f"delay_lines.py: mean power of {name} is {value:.3f}")
    times = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "delay_lines_cpu.json")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--links", type=int, default=256)
    parser.add_argument("--channels", nargs="+", choices=CHANNELS, default=list(CHANNELS))
    options = parser.parse_args()
    need("sionna", "sionna", "tensorflow")
    before = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    rows = [row for row in before if row["channel"] not in options.channels]
    for channel in options.channels:
        family, model = channel.split("_")
        sides = {"ours": ours(family, model, options.links)}
        for kind, jit_compile in (("sionna, graph", False), ("sionna, XLA", True)):
            run = theirs(family, model, options.links, jit_compile=jit_compile)
            try:
                run()
            except Exception as error:  # what TensorFlow cannot compile it says in errors of many types
                print(f"{channel}: {kind} does not run ({type(error).__name__})")
                continue
            sides[kind] = run
        seconds = in_turn(sides, options.repeats)
        best = min(value for name, value in seconds.items() if name != "ours")
        row = {"channel": channel, "seconds": seconds, "times_faster": round(best / seconds["ours"], 2)}
        row["load_average_1_min"] = os.getloadavg()[0]
        rows.append(row)
        rates = ", ".join(f"{name} {options.links / value:,.0f}" for name, value in seconds.items())
        print(f"{row['channel']}: links/s {rates}; {row['times_faster']} times Sionna's best", flush=True)
    about = {"jax": jax.__version__, "processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    setting = {"links": options.links, "antennas": ANTENNAS, "times": NUM_TIMES, "repeats": options.repeats}
    options.out.write_text(json.dumps({"machine": about, "setting": setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
