"""Flags of ``lvm-mtc demo`` and ``lvm-mtc transmit``. Imports nothing heavy."""

import argparse
import tempfile
from pathlib import Path

from lvm_mtc.cli import names, values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.errors import UsageError

_REPETITION = {
    "--realisations R = 5: independent channel realisations, >= 2, for the intervals": values.whole(2, 100_000),
    "--seed = 0: of masks and channels": values.whole(0, 2**32 - 1),
    "--overwrite: replace the result of an earlier run": bool,
}


def add_demo_parser(commands) -> None:
    """Declares ``lvm-mtc demo``."""
    sources = "scikit-image's photographs, or sentences, a clip, point clouds or stereo pairs"
    summary = f"Send {sources}, with the shipped weights."
    parser = add_command(commands, "demo", summary, "lvm-mtc demo --out demo_output", _run_demo)
    out = "--out DIR = demo_output: folder for table.csv, curves.png, sheet.png and pictures"
    scheme = (
        "--scheme NAME: vlm_csc sends photographs as captions, pvsc a clip of 24 frames, point_clouds four pieces of "
        "furniture, gs_scnet two stereo pairs, fa_semcom driving scenes for a question, to one UAV (default: pictures "
        "to four)"
    )
    question = "--question TEXT: what is asked with --scheme fa_semcom (default: how many cars are there?)"
    add_flags(parser, {out: Path, scheme: values.choice(*names.DEMO_SCHEMES), question: str} | _REPETITION)


def add_transmit_parser(commands) -> None:
    """Declares ``lvm-mtc transmit``."""
    parser = add_command(
        commands,
        "transmit",
        "Send your own pictures, sentences, point clouds, clip or stereo pairs to K UAVs and measure what arrives.",
        "lvm-mtc transmit --images photos --out result --snr-db 0,5,10 --csi-error 0,0.1 --channel awgn,rayleigh "
        "--uavs 4 --views cut\n  lvm-mtc transmit --images photos --out dogs --task 'a dog' --classifier "
        "efficientnet_lite0.npz --words glove50.npz\n  lvm-mtc transmit --text captions.txt --out result --uavs 1\n"
        "  lvm-mtc transmit --clouds chair.ply --out chair --uavs 1\n"
        "  lvm-mtc transmit --video frames --out clip --uavs 1\n"
        "  lvm-mtc transmit --stereo pairs --out views --uavs 1\n"
        "  lvm-mtc transmit --images scenes --question 'how many cars are there?' --detector yolox_nano.onnx --words "
        "glove50.npz --out answers",
        _run_transmit,
    )
    out = "--out DIR: new folder for table.csv, curves.png, sheet.png and pictures, or sentences.txt"
    serve = "of the other flags those that are about links, repetition and weights serve them, and --uavs and --limit"
    add_flags(parser, {out: Path}, required=True)
    sources = {
        "--images DIR: folder of pictures, or one picture": Path,
        f"--text FILE: sentences, one a line; {serve}": Path,
        f"--clouds PATH: point cloud, or a folder of them, as .ply, .off, .xyz or .npz; {serve}": Path,
        f"--video PATH: folder of frames, or a video file (needs the extra 'video'), cut into K pieces; {serve}": Path,
        f"--stereo DIR: folder with left.png and right.png of a rectified pair, or a folder of such; {serve}": Path,
    }
    add_flags(parser.add_mutually_exclusive_group(required=True), sources)
    flags = {
        "--views = cut: cut: K overlapping views of each picture; folder: each K pictures, in the order of their names "
        "with numbers by value, are what K UAVs are to see": values.choice(*names.VIEWS),
        "--uavs K = 4: UAVs": values.whole(1, 64),
        "--overlap = 0.5: shared fraction of neighbouring views with --views cut, in [0, 1)": values.number("overlap"),
        '--boxes FILE: JSON, {"picture.jpg": [x, y, w, h]}: the object, centre and size, pixels of the picture; where '
        "there is none, see --loc": Path,
        "--limit N: take the first N pictures only": values.whole(1),
        "--size SIZE = codec: codec: views are resized to the size of the codec's pictures; native: every pixel stays "
        "as it is; N or HxW: resized to that; what the codec is too small for goes in tiles": values.picture_size,
        "--memory GIB = 1: for the channels that are drawn together": values.number("above_zero"),
        "--snr-db LIST = 0,5,10,15,20: SNRs in dB": values.numbers("snr_db"),
        "--csi-error LIST = 0: variances of the CSI error, linear, in [0, 1e6]": values.numbers("csi_error_var"),
        f"--channel LIST = awgn,rayleigh: of {', '.join(names.CHANNELS)}; those of Sionna need the extra "
        "'sionna'": values.choices(*names.CHANNELS),
        f"--convention = rx_per_antenna: what the SNR means: {', '.join(names.CONVENTIONS)}": values.choice(
            *names.CONVENTIONS
        ),
        "--link FIELD=VALUE: another field of LinkConfig, such as num_rx_ant=8, equalizer=paper, k_factor_db=5 or "
        "ofdm.fft_size=128; may be repeated": values.assignment,
        "--positions FILE: JSON of the UAVs' places around the base station, [[x, y, z], ...] in metres, or a mapping "
        "of them and other fields of link.Scene (scenario, carrier_frequency, velocity, bs_position, line_of_sight); "
        "each UAV has the SNR of its place, and the SNR above is their mean": Path,
        "--carrier HZ: carrier frequency of the link to the --positions, Hz (default: 3.5e9)": values.number("carrier"),
        f"--schemes LIST: of {', '.join(names.CONTENDERS)}; the first one is on the sheet (default: "
        "importance,object,uniform,all,pca; with weights of another scheme that one, as it is)": values.choices(
            *names.CONTENDERS
        ),
        "--keep = 0.5: share of the patches that is kept, in (0, 1]": values.number("keep"),
        "--mask-prob = 0.25: P_r, probability of masking a patch of the object, in (0, 1)": values.number("mask_prob"),
        "--scale-aware: P_r follows the object's size: from 2/3 of --mask-prob for a small one to 4/3 for one that "
        "fills the view": bool,
        "--importance-db = 10: weight of errors in the object's patches with the schemes that send every patch by its "
        "importance, dB, >= 0": values.number("importance_db"),
        "--epsilon = 0.1: threshold of the scheme 'sharing', linear, >= 0": values.number("epsilon"),
        "--weights FILE: weights file (default: the shipped one)": Path,
    }
    captions = {
        "--captioner PLACE: send the --images as captions: learned (the shipped one, of CIFAR-10's classes), a weights "
        "file, blip:PATH (the folder of BLIP's weights and vocab.txt), or module:function of your own, from pictures "
        "[n, 224, 224, 3] in [0, 1] to a list of sentences; of the other flags --limit and those about links, "
        "repetition and weights serve it": str,
        "--generator PLACE: what paints the captions that arrive: flow (the shipped one), a weights file, or "
        "module:function of your own, from sentences and a seed to pictures [n, height, width, 3] in [0, 1]": str,
    }
    questions = {
        "--question TEXT: ask about the --images; sends patch features with power by attention and answers; of the "
        "other flags --detector (YOLOX's ONNX file), --words, --limit and those about links, repetition and weights "
        "serve it": str,
        "--answerer PLACE: what answers in place of the shipped answerer: module:function of your own, from features "
        "that arrived [n, tokens, numbers], which of them were sent [n, tokens] and n questions to a list of n "
        "answers; the --question may then have any words": str,
        "--alpha = 0.5: share of the picture's own saliency in the attention, beside the question's, in [0, 1]": (
            values.number("alpha")
        ),
        "--beta = 1: how much stronger patches of higher attention are sent, in [0, 8]; 0: all alike": (
            values.number("beta")
        ),
    }
    knowledge = {
        "--task TEXT = : what the task is about, such as 'a dog'": str,
        "--loc = knowledge-base: knowledge-base: detector finds objects, filter picks one; centre: a box of a quarter "
        "of the area in the middle of each view": values.choice(*names.LOCS),
        "--detector FILE: detector's weights (default: the shipped ones)": Path,
        f"--goal-filter NAME: of {', '.join(names.GOAL_FILTERS)} (default: the best one for which weights are given; "
        "without any the detector's score and the box's size, which do not read the text)": values.choice(
            *names.GOAL_FILTERS
        ),
        "--clip PATH: CLIP's weights: safetensors, PyTorch file or folder": Path,
        "--clip-activation NAME: quick_gelu (OpenAI's weights) or gelu (most of OpenCLIP's), where no config.json "
        "beside the weights says it": values.choice(*names.CLIP_ACTIVATIONS),
        "--classifier FILE: EfficientNet-Lite0, for classifier-words": Path,
        "--words FILE: word vectors, for classifier-words": Path,
    }
    add_flags(parser, flags | _REPETITION)
    add_flags(parser.add_argument_group("captions", "Pictures sent as sentences and painted anew."), captions)
    add_flags(parser.add_argument_group("question", "What the pictures are sent for."), questions)
    add_flags(parser.add_argument_group("knowledge base", "Which object is kept."), knowledge)


def _run_demo(options: argparse.Namespace) -> None:
    if options.question is not None and options.scheme != "fa_semcom":
        raise UsageError("--question is for --scheme fa_semcom")
    if options.scheme is not None:
        _demo_of(options)
        return
    from lvm_mtc.cli.study import run_demo

    run_demo(options)


def _demo_of(options: argparse.Namespace) -> None:
    """The demo of another kind of source: ``lvm-mtc transmit`` of files that the package writes."""
    from lvm_mtc.data.demo_sources import DEMO_SOURCES

    parser = argparse.ArgumentParser()
    add_transmit_parser(parser.add_subparsers())
    flag, write, *more = DEMO_SOURCES[options.scheme]
    with tempfile.TemporaryDirectory(prefix="lvm-mtc-demo-") as folder:
        argv = ["transmit", f"--{flag}", str(write(Path(folder))), "--out", str(options.out), *more]
        argv += ["--realisations", str(options.realisations), "--seed", str(options.seed)]
        if options.scheme == "fa_semcom":
            argv += [] if options.question is None else ["--question", options.question]
        else:
            argv += ["--uavs", "1"]
        _run_transmit(parser.parse_args(argv + ["--overwrite"] * options.overwrite))


def _run_transmit(options: argparse.Namespace) -> None:
    if options.answerer is not None and options.question is None:
        raise UsageError("--answerer is for --images that are sent for a --question")
    if options.captioner is not None or options.generator is not None:
        if options.images is None or options.question is not None:
            flag = "generator" if options.captioner is None else "captioner"
            raise UsageError(f"--{flag} is for --images that are sent as captions")
        from lvm_mtc.cli.painting import transmit_captions

        transmit_captions(options)
        return
    if options.text is not None:
        from lvm_mtc.cli.sentences import transmit_sentences

        transmit_sentences(options)
        return
    if options.clouds is not None:
        from lvm_mtc.cli.clouds import transmit_clouds

        transmit_clouds(options)
        return
    if options.video is not None:
        from lvm_mtc.cli.clips import transmit_clip

        transmit_clip(options)
        return
    if options.stereo is not None:
        from lvm_mtc.cli.stereo import transmit_stereo

        transmit_stereo(options)
        return
    if options.question is not None:
        from lvm_mtc.cli.questions import transmit_question

        transmit_question(options)
        return
    from lvm_mtc.cli.study import run_transmit

    run_transmit(options)
