"""Flags and help texts. Imports nothing heavy: ``--help`` and a mistyped flag are answered at once."""

import argparse
import difflib
import re
from pathlib import Path

import lvm_mtc
from lvm_mtc.cli import values
from lvm_mtc.cli.bench import add_bench_parser
from lvm_mtc.cli.completion import add_completion_parser
from lvm_mtc.cli.doctor import add_doctor_parser
from lvm_mtc.cli.figures import add_figures_parser
from lvm_mtc.cli.html_report import add_report_parser
from lvm_mtc.cli.results import add_results_parser
from lvm_mtc.cli.sweep import add_sweep_parser
from lvm_mtc.interop.sionna import CHANNELS as SIONNA_CHANNELS

DEMO_SNR_DB = (0.0, 5.0, 10.0, 15.0, 20.0)
DEMO_CSI_ERROR = (0.0, 0.05)
CHANNELS = (
    "awgn", "rayleigh", "rayleigh_magnitude", "rician", "nakagami", "fisher_snedecor", "exponential", *SIONNA_CHANNELS,
)  # fmt: skip
CONVENTIONS = ("esno", "rx_per_antenna", "received_total")
SCHEMES = ("object", "uniform", "sharing", "all", "pca", "pca-object")
DEMO_SCHEMES = ("object", "uniform", "sharing", "all", "pca")
GOAL_FILTERS = ("score", "label", "classifier-words", "clip")
CLIP_ACTIVATIONS = ("quick_gelu", "gelu")
STAGES = ("detector", "token", "channel", "system", "all")


class UsageError(Exception):
    """The command line itself is wrong; the message is one line."""


class _Parser(argparse.ArgumentParser):
    """Raises one line instead of printing the usage and leaving; suggests the flag that was meant."""

    def error(self, message: str):
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            flag = unknown[1].split("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            close = difflib.get_close_matches(flag, known, n=1, cutoff=0.75)
            message = f"{flag} is not a flag of '{self.prog}'" + (f" (did you mean {close[0]}?)" if close else "")
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def parse_args(self, args=None, namespace=None):
        # argparse reports flags that a sub-command does not know under the name of the main command.
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(options, "parser", self).error(f"unrecognized arguments: {unknown[0]}")
        return options


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``lvm-mtc``.

    Returns:
        A parser whose namespaces hold the function to call as ``run``; it raises ``UsageError`` for wrong flags.
    """
    parser = _Parser(
        prog="lvm-mtc",
        description="Multi-UAV token communication from pixels to pixels.",
        epilog="Wrong input ends with one line on stderr and exit code 2. With LVM_MTC_TRACEBACK=1 in the environment "
        "it ends with Python's traceback instead.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lvm-mtc {lvm_mtc.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_demo(commands)
    _add_transmit(commands)
    _add_train(commands)
    add_sweep_parser(commands, _command, {"channels": CHANNELS, "schemes": SCHEMES, "conventions": CONVENTIONS})
    for add in (add_results_parser, add_figures_parser, add_report_parser, add_bench_parser, add_doctor_parser,
                add_completion_parser):
        add(commands, _command)
    return parser


def _command(commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=summary, allow_abbrev=False,
        epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)
    return parser


def _add_demo(commands) -> None:
    parser = _command(
        commands, "demo", "Send scikit-image's photographs with the shipped weights over AWGN and Rayleigh.",
        "lvm-mtc demo --out demo_output",
    )
    parser.set_defaults(run=_run_demo)
    parser.add_argument("--out", type=Path, default=Path("demo_output"), metavar="DIR",
                        help="folder for table.csv, curves.png, sheet.png and pictures (default: %(default)s)")
    _add_repetition(parser)


def _add_transmit(commands) -> None:
    parser = _command(
        commands, "transmit", "Send your own pictures to K UAVs and measure what arrives.",
        "lvm-mtc transmit --images photos --out result --snr-db 0,5,10 --csi-error 0,0.1 --channel awgn,rayleigh "
        "--uavs 4 --views cut\n  lvm-mtc transmit --images photos --out dogs --task 'a dog' --classifier "
        "efficientnet_lite0.npz --words glove50.npz",
    )
    parser.set_defaults(run=_run_transmit)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder of pictures, or one picture")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="new folder for table.csv, curves.png, sheet.png and pictures")
    parser.add_argument("--views", type=values.choice("cut", "folder"), default="cut",
                        help="cut: K overlapping views of each picture; folder: each K pictures, in the order of their "
                        "names, are what K UAVs are to see (default: cut)")
    parser.add_argument("--uavs", type=values.whole(1, 64), default=4, metavar="K", help="UAVs (default: 4)")
    parser.add_argument("--overlap", type=values.number(0, 1, high_open=True), default=0.5,
                        help="shared fraction of neighbouring views with --views cut, in [0, 1) (default: 0.5)")
    parser.add_argument("--boxes", type=Path, metavar="FILE",
                        help='JSON, {"picture.jpg": [x, y, w, h]}: the object, centre and size, pixels of the picture; '
                        "where there is none, see --loc")
    parser.add_argument("--limit", type=values.whole(1), metavar="N", help="take the first N pictures only")
    parser.add_argument("--snr-db", type=values.numbers(-50, 100), default=DEMO_SNR_DB, metavar="LIST",
                        help="SNRs in dB (default: 0,5,10,15,20)")
    parser.add_argument("--csi-error", type=values.numbers(0), default=(0.0,), metavar="LIST",
                        help="variances of the CSI error, linear, >= 0 (default: 0)")
    parser.add_argument("--channel", type=values.choices(*CHANNELS), default=("awgn", "rayleigh"), metavar="LIST",
                        help=f"of {', '.join(CHANNELS)}; those of Sionna need the extra 'sionna' "
                        "(default: awgn,rayleigh)")
    parser.add_argument("--convention", type=values.choice(*CONVENTIONS), default="rx_per_antenna",
                        help=f"what the SNR means: {', '.join(CONVENTIONS)} (default: rx_per_antenna)")
    parser.add_argument("--link", type=values.assignment, action="append", default=[], metavar="FIELD=VALUE",
                        help="another field of LinkConfig, such as num_rx_ant=8, equalizer=paper, k_factor_db=5 or "
                        "ofdm.fft_size=128; may be repeated")
    parser.add_argument("--schemes", type=values.choices(*SCHEMES), default=("object", "uniform", "all", "pca"),
                        metavar="LIST", help=f"of {', '.join(SCHEMES)}; the first one is on the sheet "
                        "(default: object,uniform,all,pca)")
    parser.add_argument("--keep", type=values.number(0, 1, low_open=True), default=0.5,
                        help="share of the patches that is kept, in (0, 1] (default: 0.5)")
    parser.add_argument("--mask-prob", type=values.number(0, 1, low_open=True, high_open=True), default=0.25,
                        help="P_r, probability of masking a patch of the object, in (0, 1) (default: 0.25)")
    parser.add_argument("--scale-aware", action="store_true",
                        help="P_r follows the object's size: from 2/3 of --mask-prob for a small one to 4/3 for one "
                        "that fills the view")
    parser.add_argument("--epsilon", type=values.number(0), default=0.1,
                        help="threshold of the scheme 'sharing', linear, >= 0 (default: 0.1)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights file (default: the shipped one)")
    _add_knowledge_base(parser)
    _add_repetition(parser)


def _add_knowledge_base(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("knowledge base", "Which object is kept.")
    group.add_argument("--task", default="", metavar="TEXT", help="what the task is about, such as 'a dog'")
    group.add_argument("--loc", type=values.choice("knowledge-base", "centre"), default="knowledge-base",
                       help="knowledge-base: detector finds objects, filter picks one; centre: a box of a quarter of "
                       "the area in the middle of each view (default: knowledge-base)")
    group.add_argument("--detector", type=Path, metavar="FILE", help="detector's weights (default: the shipped ones)")
    group.add_argument("--goal-filter", type=values.choice(*GOAL_FILTERS), metavar="NAME",
                       help=f"of {', '.join(GOAL_FILTERS)} (default: the best one for which weights are given; without "
                       "any the detector's score and the box's size, which do not read the text)")
    group.add_argument("--clip", type=Path, metavar="PATH", help="CLIP's weights: safetensors, PyTorch file or folder")
    group.add_argument("--clip-activation", type=values.choice(*CLIP_ACTIVATIONS), metavar="NAME",
                       help="quick_gelu (OpenAI's weights) or gelu (most of OpenCLIP's), where no config.json beside "
                       "the weights says it")
    group.add_argument("--classifier", type=Path, metavar="FILE", help="EfficientNet-Lite0, for classifier-words")
    group.add_argument("--words", type=Path, metavar="FILE", help="word vectors, for classifier-words")


def _add_repetition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--realisations", type=values.whole(2, 100_000), default=5, metavar="R",
                        help="independent channel realisations, >= 2, for the intervals (default: 5)")
    parser.add_argument("--seed", type=values.whole(0, 2**32 - 1), default=0, help="of masks and channels (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the result of an earlier run")


def _add_train(commands) -> None:
    parser = _command(
        commands, "train", "Train detector, token codec, channel codec or the whole system; goes on where it stopped.",
        "lvm-mtc train --config experiments/configs/demo.py --stage all --data pictures.npz --run-dir runs/demo\n"
        "  lvm-mtc train --config experiments/configs/flashsam.py --stage detector --data detection_256.npz "
        "--guide efficientnet_lite0.npz --run-dir runs/flashsam",
    )
    parser.set_defaults(run=_run_train)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE",
                        help="the recipe: JSON, or a Python file with get_config() (which is run)")
    parser.add_argument("--stage", type=values.choice(*STAGES), required=True,
                        help=f"one of {', '.join(STAGES)}; all runs those of the last three that the "
                        "recipe has, after one another; codecs for whole pictures have system alone")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="PATH",
                        help="packed training pictures, npz; or a folder of pictures, which worker processes read "
                        "(needs the extra 'stream'); for the detector one file or several, packed at each size")
    parser.add_argument("--guide", type=Path, metavar="FILE",
                        help="EfficientNet-Lite0's weights, where a detector's recipe has a guide_weight")
    parser.add_argument("--teacher", type=Path, metavar="FILE",
                        help="YOLOX's ONNX file, where a detector's recipe has a teacher_weight (needs the extra "
                        "'detection')")
    parser.add_argument("--run-dir", type=Path, required=True, metavar="DIR",
                        help="folder for checkpoints and logs; an unfinished run there is resumed")
    parser.add_argument("--start", type=Path, metavar="FILE",
                        help="weights file that the first stage begins with (default: weights are drawn)")
    parser.add_argument("--set", type=values.assignment, action="append", default=[], metavar="FIELD=VALUE",
                        dest="overrides", help="change a field of the configuration, such as system.num_symbols=16")
    parser.add_argument("--processes", type=values.whole(1, 1024), default=1, metavar="N",
                        help="processes of this host that train as one (default: 1)")


def _run_demo(options: argparse.Namespace) -> None:
    from lvm_mtc.cli.study import run_demo

    run_demo(options)


def _run_transmit(options: argparse.Namespace) -> None:
    from lvm_mtc.cli.study import run_transmit

    run_transmit(options)


def _run_train(options: argparse.Namespace) -> None:
    from lvm_mtc.cli.train import run_train

    run_train(options)
