"""Memory that each side of benchmarks/vs_sionna.py takes for the grid of points, in a process of its own.

python benchmarks/vs_sionna_memory.py ours [--slots 20000] [--devices 2]
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path


def memory_of_sides(num_slots: int, devices: int) -> dict | None:
    """:func:`memory_of` for all sides; None where the system has no /proc."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    report = {}
    for side in ("ours", "graph", "xla"):
        command = [sys.executable, __file__, side, "--slots", str(num_slots), "--devices", str(devices)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        report[side] = json.loads(output.strip().splitlines()[-1])
    return report


def _memory_mib(field: str) -> float:
    """A number of /proc/self/status (of this image alone, where ru_maxrss starts from the parent's)."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1024


def memory_of(side: str, num_slots: int, devices: int) -> dict:
    """Memory of the grid on one side, above what the imports and the start of the libraries take; in MiB."""
    import jax
    import jax.numpy as jnp
    import peer
    import vs_sionna

    peer.start_jax(devices)
    points = peer.grid_points()
    if side == "ours":
        jax.block_until_ready(jnp.zeros(8) + 1)
        imports = _memory_mib("VmRSS")
        run = peer.our_sweep(points, num_slots)
    else:
        tf, _ = vs_sionna.import_sionna()
        float(tf.reduce_sum(tf.zeros(8)).numpy())
        imports = _memory_mib("VmRSS")
        run = vs_sionna.sionna_loop(tf, points, num_slots, **vs_sionna.MODES[side])
    run()
    with_compiler = _memory_mib("VmHWM") - imports
    Path("/proc/self/clear_refs").write_text("5")
    run()
    return {
        "imports_mib": imports,
        "peak_above_imports_mib": with_compiler,
        "peak_of_a_second_run_above_imports_mib": _memory_mib("VmHWM") - imports,
    }


def main() -> int:
    """Measure one side and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("ours", "graph", "xla"))
    parser.add_argument("--slots", type=int, default=20_000)
    parser.add_argument("--devices", type=int, default=1, help="host devices of JAX on a CPU")
    options = parser.parse_args()
    print(json.dumps(memory_of(options.side, options.slots, options.devices)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
