"""``lvm-mtc figures``, ``report``, ``bench``, ``doctor``, ``completion``: what is written and printed; wrong input."""

import json
import shlex
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.cli import main
from lvm_mtc.cli.completion import SHELLS, completion_script, places_of
from lvm_mtc.cli.doctor import check_packages, check_python, check_weights
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.results.files import RECORD
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes import loading

NEEDS = [
    "jax!=0.10.2,!=0.11.1,<0.13,>=0.10",
    "jaxlib!=0.10.2,!=0.11.1,<0.13,>=0.10",
    "ml-collections>=1.1",
    'sionna-no-rt==1.2.2; extra == "sionna"',
    'tensorflow>=2.21; extra == "sionna"',
]
DEEPJSCC = loading.SHIPPED / "deepjscc_cifar10_cbr_1_3.npz"
GOOD = {"jax": "0.10.1", "jaxlib": "0.10.1", "ml-collections": "1.1.0"}


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """A working directory with a store, one without points, one that nothing can be drawn from, and other files."""
    monkeypatch.chdir(tmp_path)
    for name, snrs in (("a.sqlite", (0, 10, 20)), ("none.sqlite", ()), ("one.sqlite", (0,))):
        with ResultStore(name) as store:
            sweep = store.register({"links": {}})
            store.add(
                Point(
                    config_hash=sweep,
                    coordinates={"snr_db": snr, "channel": "awgn", "scheme": "s"},
                    seed=0,
                    snr_convention="esno",
                    snr_db=snr,
                    metrics={"psnr_db": (20 + snr, 0.5, 32)},
                )
                for snr in snrs
            )
    (tmp_path / "text").write_text("no store\n" * 50)
    (tmp_path / "old.html").write_text("old")
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    return tmp_path


def run(command, capsys, code=0):
    assert main(shlex.split(command)) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_figures(stores, capsys):
    lines = run("figures --store a.sqlite --out drawn", capsys)
    assert lines[0] == "drawn/quality.png, .svg, .csv: PSNR over SNR"
    assert lines[1].startswith("skipped ssim: no point has ssim") and len(lines) == 11
    assert sorted(path.name for path in (stores / "drawn").iterdir()) == sorted(
        [RECORD, "quality.png", "quality.svg", "quality.csv"]
    )
    record = json.loads((stores / "drawn" / RECORD).read_text())
    assert list(record["captions"]) == ["quality"] and len(record["sweeps"]) == 1 and len(record["skipped"]) == 10
    (stores / "drawn" / "quality.png").unlink()
    run("figures --store a.sqlite --out drawn --overwrite", capsys)
    assert (stores / "drawn" / "quality.png").stat().st_size > 1000


def test_report(stores, capsys):
    *skipped, last = run("report --store a.sqlite --out r.html --title 'Run 7'", capsys)
    assert last.startswith("r.html: 1 figures, ") and len(skipped) == 10
    assert "<title>Run 7</title>" in (stores / "r.html").read_text()
    assert run("report --store a.sqlite --out old.html --overwrite", capsys)
    assert "a.sqlite" in (stores / "old.html").read_text()


@pytest.mark.slow
def test_compress(folder, capsys, fast_compile):
    """What is written is what the plan says: loaded by every command, of the size that was asked for."""
    lines = run("compress --weights small.npz --images photos --budget megabytes=0.1 --out c.npz", capsys)
    assert lines[0] == "p0.png and 2 more: 100 x 80: its middle 80 x 80, resized to 32 x 32"
    assert lines[1].startswith("small.npz: 0.") and lines[-1].startswith("c.npz: ")
    (taken,) = (line for line in lines if line.startswith("taken: "))
    megabytes = float(taken.partition(" MB")[0].split()[-1])
    assert megabytes <= 0.1
    with np.load("c.npz") as archive:
        held = sum(archive[name].nbytes for name in archive.files if name != "__metadata__")
    assert held == pytest.approx(1e6 * megabytes, abs=500)
    scheme, params = loading.load_scheme("c.npz")
    before = loading.load_scheme("small.npz")
    assert scheme == before[0] and jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, before[1])
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, params, before[1])))


@pytest.mark.slow
def test_bench(folder, capsys, fast_compile):
    programs = ["encode", "chain", "send", "decode", "train", "channel"]
    command = "bench --weights small.npz --batch 1 --devices 2 --uavs 2 --antennas 2 --dtype bfloat16 --repeats 2"
    lines = run(f"{command} --channel awgn --equalizer zf --out b.json", capsys)
    record = json.loads((folder / "b.json").read_text())
    assert [one["program"] for one in record["timings"]] == programs
    assert [one["items"] for one in record["timings"]] == [4, 4, 4, 4, 4, 4096]
    for one in record["timings"]:
        lower, upper = one["quartiles_s"]
        assert 0 < lower <= one["median_s"] <= upper and one["compile_s"] > 0
        assert one["items_per_s"] == pytest.approx(one["items"] / one["median_s"])
        assert (one["batch"], one["num_devices"], one["device_peak_bytes"]) == (1, 2, None)
        assert one["program_bytes"] > 0 and one["host_peak_bytes"] > 2**20
        layer, linked = one["program"] == "channel", one["program"] not in ("encode", "decode")
        assert (one["num_uavs"], one["dtype"]) == ((1, "complex64") if layer else (2, "bfloat16"))
        assert one["channel"] == (("rayleigh" if layer else "awgn") if linked else None)
        assert (one["num_rx_ant"], one["num_tx_ant"], one["equalizer"]) == ((2, 2, "zf") if linked else (None,) * 3)
    assert record["weights"] == "small.npz" and "jax" in record["versions"]
    assert (record["platform"], record["num_devices"], record["matmul_precision"]) == ("cpu", 8, "default")
    assert [line.split()[0] for line in lines if line.startswith(tuple(programs))] == programs


def test_doctor_of_this_machine(capsys):
    lines = run("doctor", capsys)
    states = {line.split(maxsplit=1)[0] for line in lines[:-1]}
    assert states <= {"ok", "absent"} and lines[-1] == f"all {len(lines) - 1} checks passed"
    names = [line[8:].split("  ")[0] for line in lines[:-1]]
    for name in ("python", "jax", "numpy", "extra sionna", "devices", "weights demo.npz", "weights flashsam_n.npz"):
        assert name in names
    assert "8 x cpu (cpu)" in "\n".join(lines)


def test_doctor_ends_with_1_where_something_is_wrong(capsys, monkeypatch, tmp_path):
    (tmp_path / "demo.npz").write_bytes(b"no archive")
    monkeypatch.setattr(loading, "DEMO_WEIGHTS", tmp_path / "demo.npz")
    lines = run("doctor", capsys, code=1)
    (bad,) = [line for line in lines if line.startswith("BAD")]
    assert "demo.npz" in bad and lines[-1].startswith("1 of ")


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({"jax": "0.10.2", "jaxlib": "0.10.2"}, {"jax": "0.10.2 computes wrong results on CPU", "jaxlib": "39103"}),
        ({"jax": "0.11.1"}, {"jax": "0.11.1 breaks", "jax and jaxlib": "0.11.1 and 0.10.1"}),
        ({"jax": "0.13.0", "jaxlib": "0.13.0"}, {"jax": "needs !=0.10.2,!=0.11.1,<0.13,>=0.10", "jaxlib": "0.13.0"}),
        ({"ml-collections": None}, {"ml-collections": "is not installed; needs >=1.1"}),
        ({"sionna-no-rt": "1.2.1", "tensorflow": "2.21.0"}, {"extra sionna": "1.2.1; needs ==1.2.2"}),
    ],
)
def test_doctor_knows_bad_versions(installed, words):
    installed = {name: version for name, version in (GOOD | installed).items() if version}
    bad = {check.name: check.text for check in check_packages(NEEDS, installed) if check.state == "BAD"}
    assert bad.keys() == words.keys()
    assert all(word in bad[name] for name, word in words.items())


def test_doctor_does_not_ask_for_extras():
    checks = list(check_packages(NEEDS, GOOD | {"sionna": "2.0.1"}))
    assert {check.state for check in checks} == {"ok", "absent"}
    (absent,) = [check for check in checks if check.state == "absent"]
    assert "lacks sionna-no-rt, tensorflow: pip install 'lvm-mtc[sionna]'" in absent.text
    assert "sionna 2.0.1 is no help, from 2.0 on Sionna is PyTorch" in absent.text
    found = list(check_packages(NEEDS, GOOD | {"sionna-no-rt": "1.2.2", "tensorflow": "2.21.0"}))
    assert {check.state for check in found} == {"ok"}


def test_doctor_checks_python_and_weights():
    assert [check_python((3, minor)).state for minor in (10, 11, 12, 13, 14)] == ["BAD", "ok", "ok", "ok", "BAD"]
    assert {check.state for check in check_weights()} == {"ok"}


def complete(shell, words, folder):
    """What a shell offers after some words, the last of which is being typed."""
    script = folder / "completion"
    script.write_text(completion_script(build_parser(), shell))
    if shell == "bash":
        ask = (
            f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lvm_mtc; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
    else:
        # Outside its line editor zsh has no compadd: print what would be offered.
        ask = (
            'compdef() {}; compadd() { shift; print -l -- "$@" }; _files() { print -l -- *(N) }; '
            f'source {script}; words=("$@"); CURRENT=$#; _lvm_mtc'
        )
    done = subprocess.run([shell, "-c", ask, shell, "lvm-mtc", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    offered = [line for line in done.stdout.splitlines() if line]
    return [word for word in offered if word.startswith(words[-1])]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_in_the_shell(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    (tmp_path / "runs").mkdir()
    (tmp_path / "my runs.sqlite").write_text("")
    assert complete(shell, ["re"], tmp_path) == ["results", "report"]
    assert complete(shell, ["results", ""], tmp_path) == ["list", "show", "delete", "redo", "export"]
    assert complete(shell, ["results", "export", "--o"], tmp_path) == ["--out", "--overwrite"]
    assert complete(shell, ["results", "list", "--store", "my"], tmp_path) == ["my runs.sqlite"]
    assert complete(shell, ["completion", ""], tmp_path) == ["bash", "zsh"]
    assert complete(shell, ["--v"], tmp_path) == ["--version"]
    assert complete(shell, ["demo", ""], tmp_path) == []


def test_completion_knows_every_command_and_flag(capsys):
    lines = run("completion bash", capsys)
    assert lines[0].startswith("# Completion of lvm-mtc for bash")
    places = places_of(build_parser())
    for at, place in places.items():
        for word in place.words if at in ("", " results") else ():
            assert f"{at} {word}" in places
    assert {"--snr-db", "--overwrite"} <= set(places[" transmit"].flags)
    assert "--snr-db" in places[" transmit"].valued and "--overwrite" not in places[" transmit"].valued


@pytest.mark.parametrize("command", ["compress", "figures", "report", "bench", "doctor", "completion"])
def test_help_has_an_example_and_loads_no_jax(command):
    code = (
        "import sys; from lvm_mtc.cli import main\n"
        f"assert main([{command!r}, '--help']) == 0; print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "example:\n" in done.stdout and f"lvm-mtc {command}" in done.stdout
    assert done.stdout.endswith("False\n") and done.stderr == ""


WRONG = {
    "figures": ["--store", "--out", "required"],
    "figures --store nothing.sqlite --out f": ["nothing.sqlite", "no such result store"],
    "figures --store text --out f": ["text", "no SQLite file"],
    "figures --store none.sqlite --out f": ["none.sqlite", "holds no points to draw"],
    "figures --store one.sqlite --out f": ["one.sqlite", "no figure can be drawn", "two SNRs"],
    "figures --store a.sqlite --out mine": ["mine", "something else"],
    "figures --store a.sqlite --out mine --overwrite": ["mine", "something else"],
    "figures --store a.sqlite --out nowhere/f": ["nowhere/f", "does not exist"],
    "figures --store a.sqlite --out old.html": ["old.html", "not a folder"],
    "report --store a.sqlite": ["--out", "required"],
    "report --store nothing.sqlite --out r.html": ["nothing.sqlite", "no such result store"],
    "report --store none.sqlite --out r.html": ["none.sqlite", "holds no points"],
    "report --store a.sqlite --out old.html": ["--out old.html", "there already", "--overwrite"],
    "report --store a.sqlite --out a.sqlite --overwrite": ["--out a.sqlite", "the store itself"],
    "report --store a.sqlite --out mine": ["--out mine", "is a folder"],
    "report --store a.sqlite --out nowhere/r.html": ["--out nowhere/r.html", "does not exist"],
    "bench --batch 0": ["--batch", "0", "1 ... 4096"],
    "bench --batch 1,1": ["--batch", "twice"],
    f"bench --dtype bfloat16 --weights {DEEPJSCC}": ["--dtype bfloat16", "DeepJscc computes in float32 alone"],
    "bench --devices 9": ["--devices 9", "JAX finds 8 (cpu)"],
    "bench --only chain,walk": ["--only", "'walk'"],
    "bench --equalizer mmse": ["--equalizer", "'mmse'"],
    "bench --repeats 1": ["--repeats", "1 is not", "2 ... 10000"],
    "bench --out old.json": ["--out old.json", "there already", "--overwrite"],
    "bench --weights nothing.npz": ["nothing.npz"],
    "bench --weights text": ["text"],
    "compress --out c.npz": ["--budget NAME=NUMBER is needed", "megabytes"],
    "compress --out c.npz --budget grams=2": ["--budget grams=2", "megabytes, megaflops, milliseconds"],
    "compress --out c.npz --budget megabytes=0": ["--budget megabytes=0", "> 0"],
    "compress --out c.npz --budget megabytes=1e39": ["--budget megabytes=1e+39", "> 0"],
    "compress --out c.npz --budget megabytes=1" + 400 * "0": ["--budget megabytes=1000", "> 0"],
    "compress --out c.npz --budget megabytes=1 --budget megabytes=2": ["'megabytes' is given twice"],
    "compress --out c.npz --budget megabytes=big": ["--budget megabytes=big", "> 0"],
    "compress --out old.json --budget megabytes=1": ["--out old.json", "there already", "--overwrite"],
    "compress --out c.npz --budget megabytes=1 --weights text": ["text"],
    "doctor now": ["now", "lvm-mtc doctor --help"],
    "completion": ["SHELL", "required"],
    "completion fish": ["'fish'", "bash", "zsh"],
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input(command, stores, capsys):
    before = {path: path.lstat().st_mtime_ns for path in stores.rglob("*")}
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lvm-mtc: error: ") and err.endswith("\n") and err.count("\n") == 1, err
    missing = [word for word in WRONG[command] if word not in err]
    assert not missing, f"{err} lacks {missing}"
    assert {path: path.lstat().st_mtime_ns for path in stores.rglob("*")} == before
