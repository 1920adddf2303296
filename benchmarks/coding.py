"""Our LDPC decoder against Sionna 1.2.2: words a second on the same LLRs, in one process.

Codes of 1024 and 8192 bits at rate 1/2, batches of 64 words, LLRs within the waterfall. Ours: layered and flooding in
JAX, layered in NumPy; Sionna: flooding as a graph (``tf.function``) with its exact rule and with min-sum, layered as a
graph, flooding through XLA. Layered schedules run half the iterations of flooding ones. First calls, which trace and
compile, stand beside.
Writes JSON, and from that the table of ``docs/coding.md``:

    python benchmarks/coding.py [--out FILE] [--repeats 10] [--without-sionna]
    python benchmarks/coding.py --page-only

Nothing is reported unless all decoders with the exact rule lose equally many words within 5 standard errors.
"""

import argparse
import json
import math
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from lacking import need

from lvm_mtc.phy.coding import LdpcCode, ldpc_decode, ldpc_encode
from lvm_mtc.report.pages import fill_file, table

# k, n and the Eb/N0 in dB at which a few words in ten are lost.
CODES = ((512, 1024, 1.7), (4096, 8192, 1.2))
WORDS, FLOODING, LAYERED = 64, 20, 10
STANDARD_ERRORS = 5.0
PAGE = Path(__file__).resolve().parents[1] / "docs" / "coding.md"
NAMES = {
    "jax_layered": "layered, JAX", "jax_flooding": "flooding, JAX", "numpy_layered": "layered, NumPy",
    "sionna_graph_layered": "Sionna's layered, graph", "sionna_graph_flooding": "Sionna's flooding, graph",
    "sionna_xla_flooding": "Sionna's flooding, XLA",
    "sionna_graph_flooding_minsum": "Sionna's flooding, graph, min-sum",
}  # fmt: skip


def received(code: LdpcCode, ebno_db: float, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Information bits and the LLRs of BPSK over AWGN."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (num_words, code.k), np.uint8)
    no = 10 ** (-ebno_db / 10) / (code.k / code.n)
    y = 2.0 * ldpc_encode(bits, code) - 1 + math.sqrt(no / 2) * rng.normal(size=(num_words, code.n))
    return bits, np.float32(4 * y / no)


def our_decoders(code: LdpcCode) -> dict:
    """Name to a function of LLRs ``[64, n]`` that gives decisions."""

    def jitted(num_iter, schedule):
        decode = jax.jit(lambda llr: ldpc_decode(llr, code, num_iter=num_iter, schedule=schedule) > 0)
        return lambda llr: np.asarray(decode(jnp.asarray(llr)))

    return {
        "jax_layered": jitted(LAYERED, "layered"),
        "jax_flooding": jitted(FLOODING, "flooding"),
        "numpy_layered": lambda llr: ldpc_decode(llr, code, num_iter=LAYERED, engine="numpy") > 0,
    }


def sionna_decoders(code: LdpcCode) -> dict:
    """As :func:`our_decoders`; TensorFlow sees no accelerator."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

    encoder = LDPC5GEncoder(code.k, code.n)

    def graph(jit_compile=False, **options):
        decode = LDPC5GDecoder(encoder, **options)
        run = tf.function(lambda llr: decode(llr), jit_compile=jit_compile, autograph=False)
        return lambda llr: run(tf.constant(llr)).numpy() > 0.5

    return {
        "sionna_graph_flooding": graph(num_iter=FLOODING),
        "sionna_graph_flooding_minsum": graph(num_iter=FLOODING, cn_update="minsum"),
        "sionna_graph_layered": graph(num_iter=LAYERED, cn_schedule="layered"),
        "sionna_xla_flooding": graph(jit_compile=True, num_iter=FLOODING),
    }


def measure(code: LdpcCode, ebno_db: float, repeats: int, with_sionna: bool) -> dict:
    """Times of all decoders of a code, their turns interleaved, and the words that each loses."""
    bits, llr = received(code, ebno_db, 4 * WORDS)
    batches = [llr[i : i + WORDS] for i in range(0, len(llr), WORDS)]
    decoders = our_decoders(code) | (sionna_decoders(code) if with_sionna else {})
    found = {}
    for name, decode in decoders.items():
        start = time.perf_counter()
        first = decode(batches[0])
        took = time.perf_counter() - start
        rest = [decode(batch) for batch in batches[1:]]
        lost = (np.concatenate([first, *rest]) != bits).any(axis=1).mean()
        found[name] = {"first_call_s": took, "block_error_rate": float(lost), "times_s": []}
    for _ in range(repeats):
        for name, decode in decoders.items():
            start = time.perf_counter()
            decode(batches[0])
            found[name]["times_s"].append(time.perf_counter() - start)
    for one in found.values():
        times = one.pop("times_s")
        one |= {"median_s": statistics.median(times), "min_s": min(times), "max_s": max(times)}
        one["words_per_s"] = WORDS / one["median_s"]
    require_equal(found)
    result = {"k": code.k, "n": code.n, "base_graph": code.base_graph, "lifting": code.lifting, "ebno_db": ebno_db}
    result["decoders"] = found
    if with_sionna:
        ours = found["jax_layered"]["median_s"]
        result["speedup_of_jax_layered"] = {
            name: one["median_s"] / ours for name, one in found.items() if name.startswith("sionna")
        }
    return result


def require_equal(found: dict) -> None:
    """Stop unless decoders with the exact rule and one schedule lose equally many words.

    Raises:
        SystemExit: if they do not.
    """
    for schedule in ("layered", "flooding"):
        rates = {name: one["block_error_rate"] for name, one in found.items() if name.endswith(schedule)}
        mean = statistics.mean(rates.values())
        allowed = STANDARD_ERRORS * math.sqrt(2 * mean * (1 - mean) / (4 * WORDS))
        if max(rates.values()) - min(rates.values()) > allowed:
            raise SystemExit(f"coding.py: {schedule} decoders lose different shares of words: {rates}")


def tables(report: dict) -> dict[str, str]:
    """The page's table: words a second and the first call of each decoder, and how many times ours is as fast."""
    head = ["decoder"]
    for code in report["codes"]:
        head += [f"words/s, ({code['k']}, {code['n']})", "first call, s", "JAX layered is faster"]
    rows = []
    for name, label in NAMES.items():
        row = [label]
        for code in report["codes"]:
            one, times = code["decoders"][name], code["speedup_of_jax_layered"].get(name)
            times = "" if times is None else f"{times:.1f} times"
            row += [f"{one['words_per_s']:,.0f}", f"{one['first_call_s']:.1f}", times]
        rows.append(row)
    return {"decoders": table(head, rows)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "coding_cpu.json")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--without-sionna", action="store_true")
    parser.add_argument("--page-only", action="store_true", help="the table from the old JSON")
    options = parser.parse_args()
    if options.page_only:
        return fill_file(PAGE, tables(json.loads(options.out.read_text())))
    if not options.without_sionna:
        need("sionna", "sionna", "tensorflow")
    codes = []
    for k, n, ebno_db in CODES:
        codes.append(measure(LdpcCode(k, n), ebno_db, options.repeats, not options.without_sionna))
        for name, one in codes[-1]["decoders"].items():
            print(f"{k}/{n} {name}: {one['words_per_s']:.0f} words/s, first call {one['first_call_s']:.1f} s, "
                  f"BLER {one['block_error_rate']:.3f}", flush=True)  # fmt: skip
    report = {
        "operating_point": f"rate 1/2, batches of {WORDS} words, {FLOODING} flooding or {LAYERED} layered iterations",
        "repeats": options.repeats,
        "codes": codes,
        "cpus": os.cpu_count(),
        "load_at_the_end": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": _versions(not options.without_sionna),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


def _versions(with_sionna: bool) -> dict[str, str]:
    found = {"jax": jax.__version__, "numpy": np.__version__}
    if with_sionna:
        found |= {"sionna": version("sionna-no-rt"), "tensorflow": version("tensorflow")}
    return found


if __name__ == "__main__":
    main()
