"""Wrong input: one line that names what was given and what would be right, exit code 2, nothing left behind."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lvm_mtc.cli import main
from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS

SEND = "transmit --images photos --out out --weights small.npz --schemes object"

# Command line -> words that its one line must hold.
WRONG = {
    "": ["COMMAND", "--help"],
    "demoo": ["'demoo'", "demo", "transmit", "train"],
    "--verbose demo": ["--verbose", "not a flag"],
    "demo --snr 3": ["--snr", "not a flag of 'lvm-mtc demo'"],
    "demo --realisations 1": ["--realisations", "1 is not", "2 ... 100000"],
    "demo --realisations two": ["--realisations", "'two'", "whole number"],
    "demo --seed -1": ["--seed", "-1", "0 ... 4294967295"],
    "demo --out small.npz": ["small.npz", "not a folder"],
    "demo --out nowhere/out": ["nowhere/out", "does not exist"],
    "transmit": ["--out", "required"],
    f"{SEND} --snr-dbs 3": ["--snr-dbs", "did you mean --snr-db?"],
    f"{SEND} --snr-db": ["--snr-db", "expected one argument"],
    f"{SEND} --snr-db ten": ["--snr-db", "'ten'", "not a number"],
    f"{SEND} --snr-db 0,,5": ["--snr-db", "'0,,5'", "list such as"],
    f"{SEND} --snr-db 5,0,5": ["--snr-db", "'5,0,5'", "twice"],
    f"{SEND} --snr-db nan": ["--snr-db", "nan", "[-50, 100]"],
    f"{SEND} --snr-db -60,0": ["--snr-db", "-60", "[-50, 100]"],
    f"{SEND} --snr-db 0:nan:1": ["--snr-db", "'0:nan:1'", "0:20:5"],
    f"{SEND} --csi-error -0.1": ["--csi-error", "-0.1", "[0, 1e+06]"],
    f"{SEND} --csi-error 0,inf": ["--csi-error", "inf", "[0, 1e+06]"],
    f"{SEND} --csi-error 1.5 --link csi=mmse": ["--csi-error 1.5", "csi=mmse", "< 1"],
    f"{SEND} --channel rayleig": ["--channel", "'rayleig'", "did you mean 'rayleigh'"],
    f"{SEND} --convention ebno": ["--convention", "'ebno'", "esno", "rx_per_antenna"],
    f"{SEND} --uavs 0": ["--uavs", "0", "1 ... 64"],
    f"{SEND} --views zigzag": ["--views", "'zigzag'", "cut, folder"],
    f"{SEND} --views folder --uavs 2": ["--uavs 2", "3 pictures", "photos", "--limit"],
    f"{SEND} --overlap 1": ["--overlap", "1 is not", "[0, 1)"],
    f"{SEND} --keep 0": ["--keep", "0 is not", "(0, 1]"],
    f"{SEND} --mask-prob 1": ["--mask-prob", "1 is not", "(0, 1)"],
    f"{SEND} --mask-prob 0.75 --scale-aware": ["mask_prob", "(0, 0.75)", "got 0.75"],
    f"{SEND} --epsilon -1": ["--epsilon", "-1", ">= 0"],
    f"{SEND} --limit 0": ["--limit", "0", ">= 1"],
    f"{SEND} --link num_rx_ant": ["--link", "'num_rx_ant'", "FIELD=VALUE"],
    f"{SEND} --link num_rx=8": ["LinkConfig.num_rx", "did you mean 'num_rx_ant'"],
    f"{SEND} --link num_rx_ant=four": ["LinkConfig.num_rx_ant", "an integer", "'four'"],
    f"{SEND} --link num_rx_ant=0 --channel rayleigh": ["LinkConfig.num_rx_ant", "0"],
    f"{SEND} --link num_rx_ant=8": ["num_rx_ant", "num_tx_ant", "8", "4"],
    f"{SEND} --link equalizer=best": ["LinkConfig.equalizer", "'best'", "robust"],
    f"{SEND} --link topology=mu_mimo": ["LinkConfig.num_rx_ant", "1", "mu_mimo", "--convention esno"],
    f"{SEND} --link topology=mac": ["LinkConfig.num_tx_ant", "--link topology=mac --link num_tx_ant=1"],
    f"{SEND} --channel exponential --link ofdm.fft=128": ["LinkConfig.ofdm.fft", "fft_size"],
    f"{SEND} --channel exponential --link ofdm.pilot_symbols=3": ["LinkConfig.ofdm.pilot_symbols", "a list", "3"],
    f"{SEND} --channel exponential --link ofdm.fft_size=0": ["LinkConfig.ofdm", "fft_size", "0"],
    f"{SEND} --channel nakagami --link waveform=ofdm": ["Ofdm carries", "'nakagami'"],
    f"{SEND} --channel rayleigh --link speed=20": ["LinkConfig.speed 20", "'ofdm'"],
    f"{SEND} --link num_rx_ant=8 --link num_rx_ant=4": ["--link", "'num_rx_ant' is given twice, as 8 and as 4"],
    f"{SEND} --channel rayleigh --link k_factor_db=3": ["--link k_factor_db=3", "no effect", "rayleigh"],
    f"{SEND} --channel awgn,rayleigh --link nakagami_m=3": ["--link nakagami_m=3", "no effect", "awgn,rayleigh"],
    f"{SEND} --link csi=pilots_ls --link num_pilots=4 --csi-error 0,0.1": ["--csi-error 0,0.1", "csi=pilots_ls"],
    f"{SEND} --channel rayleigh --link equalizer=none --csi-error 0,0.1": ["--csi-error 0,0.1", "equalizer=none"],
    f"{SEND} --epsilon 0.3": ["--epsilon 0.3", "no effect", "object"],
    f"{SEND},uniform --importance-db 3": ["--importance-db 3", "no effect", "object, uniform"],
    f"{SEND} --schemes uniform --mask-prob 0.3": ["--mask-prob 0.3", "no effect", "uniform"],
    f"{SEND} --schemes uniform --scale-aware": ["--scale-aware:", "no effect", "uniform"],
    f"{SEND} --schemes all --keep 0.3": ["--keep 0.3", "no effect", "all"],
    f"{SEND} --uavs 3 --views folder --overlap 0.3": ["--overlap 0.3", "no effect", "--views folder"],
    f"{SEND} --alpha 0.3": ["--alpha 0.3", "no effect", "--question"],
    "transmit --images photos --out out --weights codec.npz --keep 0.3": ["--keep 0.3", "no effect", "deepjscc"],
    f"{SEND} --carrier 3.5e9": ["--carrier 3.5e+09", "no effect", "--positions"],
    f"{SEND} --carrier 3.5 --positions place.json": ["--carrier", "3.5 is not", "[5e+08, 1e+11]"],
    f"{SEND} --weights text.json": ["text.json", "not a weights file", ".npz archive"],
    f"{SEND} --weights {DETECTOR_WEIGHTS}": [DETECTOR_WEIGHTS.name, "which scheme", "lvm-mtc train"],
    "sweep --store s.sqlite --config x.yaml": ["--config x.yaml", "not JSON", "a JSON file, or a Python file"],
    "sweep --store s.sqlite --config bare.py": ["--config bare.py", "has no get_config()"],
    "sweep --store s.sqlite --task-points 4": ["--task-points 4", "no effect", "--workers"],
    "sweep --store s.sqlite --no-pictures --shown-groups 2": ["--shown-groups 2", "no effect", "--no-pictures"],
    "sweep --store s.sqlite --schemes all --set keep=0.3": ["SweepConfig.keep 0.3", "no effect", "the schemes all"],
    "sweep --store s.sqlite --set link.equalizer=none --channel rayleigh --csi-error 0.1 --set loc=centre": [
        "csi_error_var 0.1",
        "equalizer=none",
    ],
    f"{SEND} --channel sionna_tdl_e --link delay_spread=1e-6": ["delay_spread 1e-06", "cyclic prefix"],
    f"{SEND} --channel sionna_tdl_g": ["--channel", "'sionna_tdl_g'", "sionna_tdl_a"],
    f"{SEND} --link fading=rician": ["--link fading=rician", "--channel"],
    f"{SEND} --link csi=pilots_ls": ["'pilots_ls'", "num_pilots"],
    f"{SEND} --link topology=joint --link num_tx_ant=2 --link num_rx_ant=2": ["num_tx_ant=2", "--uavs", "4"],
    f"{SEND} --schemes object,best": ["--schemes", "'best'", "uniform"],
    f"{SEND} --weights nothing.npz": ["nothing.npz"],
    f"{SEND} --weights half.npz": ["half.npz", "truncated"],
    f"{SEND} --weights foreign.npz": ["foreign.npz", "not a weights file"],
    f"{SEND} --images nothing": ["nothing", "does not exist"],
    f"{SEND} --images empty": ["empty"],
    f"{SEND} --images broken": ["broken/a.jpg"],
    f"{SEND} --images tiny": ["tiny/t.png", "9"],
    f"{SEND} --boxes nothing.json": ["nothing.json"],
    f"{SEND} --positions nothing.json": ["nothing.json"],
    f"{SEND} --positions text.json": ["--positions text.json", "not JSON"],
    f"{SEND} --positions list.json": ["scene.positions"],
    f"{SEND} --positions other.json": ["scene.", "not known"],
    f"{SEND} --uavs 2 --positions place.json": ["--positions place.json", "1 places", "--uavs 2"],
    f"{SEND} --link topology=joint --uavs 4 --positions place.json": ["Scene", "'broadcast'", "'joint'"],
    "sweep --store s.sqlite --positions text.json": ["--positions text.json", "not JSON"],
    f"{SEND} --boxes text.json": ["--boxes text.json", "not JSON"],
    f"{SEND} --boxes deep.json": ["--boxes deep.json", "not JSON"],
    f"{SEND} --boxes list.json": ["--boxes list.json", "list", '{"picture.jpg"'],
    f"{SEND} --boxes other.json": ["--boxes other.json", "'q.png'", "3 pictures"],
    f"{SEND} --boxes outside.json": ["p0.png", "outside the picture"],
    f"{SEND} --boxes short.json": ["p0.png", "four finite numbers"],
    f"{SEND} --boxes inverted.json": ["p0.png", "box"],
    f"{SEND} --loc middle": ["--loc", "'middle'", "knowledge-base"],
    f"{SEND} --loc centre --task dog": ["--loc centre", "--task"],
    f"{SEND} --loc centre --goal-filter score": ["--loc centre", "--goal-filter"],
    f"{SEND} --goal-filter clip-words": ["--goal-filter", "'clip-words'", "clip"],
    f"{SEND} --goal-filter clip": ["goal_filter 'clip'", "weights of clip"],
    f"{SEND} --goal-filter classifier-words --words words.npz": ["'classifier-words'", "weights of classifier"],
    f"{SEND} --classifier small.npz": ["'classifier-words'", "weights of words"],
    f"{SEND} --goal-filter label": ["label", "class"],
    f"{SEND} --detector nothing.npz": ["nothing.npz"],
    f"{SEND} --detector half.npz": ["half.npz", "truncated"],
    f"{SEND} --detector small.npz": ["small.npz", "which detector"],
    f"{SEND} --clip nothing.safetensors": ["nothing.safetensors"],
    f"{SEND} --clip short.safetensors": ["short.safetensors"],
    f"{SEND} --clip evil.bin": ["evil.bin", "activation", "'quick_gelu'"],
    f"{SEND} --clip evil.bin --clip-activation gelu": ["evil.bin", "posix.system"],
    f"{SEND} --clip-activation relu": ["--clip-activation", "'relu'", "quick_gelu"],
    f"{SEND} --classifier evil.bin --words words.npz": ["evil.bin", "posix.system"],
    f"{SEND} --classifier foreign.npz --words foreign.npz": ["foreign.npz"],
    f"{SEND} --out notes": ["notes", "something else"],
    f"{SEND} --out earlier": ["earlier", "--overwrite"],
    f"{SEND} --out photos/p0.png": ["photos/p0.png", "not a folder"],
    f"{SEND} --out nowhere/out": ["nowhere", "does not exist"],
    "train --config text.json --stage all --data small.npz": ["--run-dir", "required"],
    "train --config nothing.json --stage all --data d.npz --run-dir r": ["nothing.json", "No such file"],
    "train --config text.json --stage all --data d.npz --run-dir r": ["--config text.json", "not JSON"],
    "train --config list.json --stage all --data d.npz --run-dir r": ["--config list.json", "list", "object"],
    "train --config deep.json --stage all --data d.npz --run-dir r": ["--config deep.json", "not JSON"],
    "train --config bare.py --stage all --data d.npz --run-dir r": ["--config bare.py", "get_config"],
    "train --config typo.py --stage all --data d.npz --run-dir r": ["--config typo.py", "SyntaxError"],
    "train --config other.json --stage all --data d.npz --run-dir r": ["q.png", "known: ", "scheme"],
    "train --config other.json --stage all --data d.npz --run-dir r --set x": ["--set", "'x'", "FIELD=VALUE"],
}


def everything_below(folder: Path) -> dict[str, float]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("command", WRONG, ids=lambda command: command.replace(SEND, "transmit") or "nothing")
def test_wrong_input(command, folder, capsys):
    before = everything_below(folder)
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lvm-mtc: error: ") and err.endswith("\n") and err.count("\n") == 1, err
    missing = [word for word in WRONG[command] if word not in err]
    assert not missing, f"{err} lacks {missing}"
    assert everything_below(folder) == before


def test_the_table_is_long_enough():
    assert len(WRONG) >= 30


@pytest.mark.parametrize("command", ["transmit", f"{SEND} --snr-db ten", f"{SEND} --images broken"])
def test_wrong_input_in_a_process_of_its_own(command, folder):
    before = everything_below(folder)
    # Reading compiled programs, XLA speaks to stderr.
    variables = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from lvm_mtc.cli import main; sys.exit(main())", *shlex.split(command)],
        capture_output=True,
        text=True,
        timeout=120,
        env=variables | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert everything_below(folder) == before


def test_a_picture_that_cannot_be_read_is_named(folder, capsys):
    (folder / "photos" / "p9.png").symlink_to("nowhere")
    assert main(shlex.split(SEND)) == 2
    assert "p9.png" in capsys.readouterr().err


def test_an_unwritable_parent_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main(shlex.split(SEND)) == 2
    assert "not writable" in capsys.readouterr().err


@pytest.mark.parametrize("channel", ["sionna_awgn", "sionna_tdl_a,awgn", "sionna_cdl_d"])
def test_a_channel_of_sionna_without_sionna_says_what_to_install(channel, folder, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "sionna" else find(name, *a))
    before = everything_below(folder)
    assert main(shlex.split(f"{SEND} --channel {channel}")) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "pip install 'lvm-mtc[sionna]'" in err and "1.2.2" in err
    assert everything_below(folder) == before


def test_tracebacks_on_request(folder, monkeypatch):
    monkeypatch.setenv("LVM_MTC_TRACEBACK", "1")
    with pytest.raises(ValueError, match="does not exist"):
        main(shlex.split(f"{SEND} --images nothing"))


def test_a_fault_of_the_program_is_not_called_wrong_input(folder, monkeypatch):
    from lvm_mtc.cli import study

    def fault(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(study, "run_paired_sweep", fault)
    with pytest.raises(ZeroDivisionError):
        main(shlex.split(SEND))
    assert not (folder / "out").exists() and not list(folder.glob(".out*"))


@pytest.mark.slow
def test_an_interruption_leaves_nothing(folder, monkeypatch, capsys):
    from lvm_mtc.cli import study

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "show", interrupt)
    monkeypatch.setattr(study, "measure_study", lambda *_, **__: ([], []))
    before = everything_below(folder)
    assert main(shlex.split(SEND)) == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert everything_below(folder) == before
