"""How a user's flags say that pictures are sent: over which links, by which contenders."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lvm_mtc.cli.command import changed, refuse_idle
from lvm_mtc.cli.errors import UsageError, read_json
from lvm_mtc.config import replace_dotted
from lvm_mtc.interop import sionna
from lvm_mtc.interop.sionna import runtime
from lvm_mtc.link import LinkConfig
from lvm_mtc.link.fading import acts
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Masking, Params, Scheme
from lvm_mtc.schemes.tiled import tiled
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import make_contenders, plain_contender


def make_links(channels: Sequence[str], convention: str, fields: Sequence[tuple[str, Any]]) -> list[LinkConfig]:
    """One link a channel, all with the same other fields of ``LinkConfig.of``; those of one fading go to it alone."""
    options: dict[str, Any] = {"convention": convention}
    for name, value in fields:
        if name in ("fading", "convention"):
            raise ValueError(f"--link {name}={value}: use --{'channel' if name == 'fading' else name} for it")
        options = replace_dotted(options, name, value)
    for name in options:
        if not any(acts(name, channel) for channel in channels):
            raise ValueError(f"--link {name}={options[name]}: it has no effect under --channel {','.join(channels)}")
    acting = ({name: value for name, value in options.items() if acts(name, channel)} for channel in channels)
    links = [LinkConfig.of(**own, fading=channel) for own, channel in zip(acting, channels, strict=True)]
    if any(channel in sionna.CHANNELS for channel in channels):
        runtime.check()
    return links


def read_scene(options: Any) -> Mapping[str, Any] | None:
    """Fields of ``link.Scene`` as ``--positions`` and ``--carrier`` say; None without.

    The JSON file holds a mapping of them, or the positions alone.
    """
    if options.positions is None:
        if options.carrier is not None:
            raise UsageError(f"--carrier {options.carrier:g}: it has no effect without --positions")
        return None
    scene = read_json("--positions", options.positions)
    scene = dict(scene) if isinstance(scene, Mapping) else {"positions": scene}
    if options.carrier is None:
        return scene
    if "carrier_frequency" in scene:
        twice = f"{options.positions} has carrier_frequency {scene['carrier_frequency']!r} already"
        raise UsageError(f"--carrier {options.carrier:g}: {twice}")
    return scene | {"carrier_frequency": options.carrier}


def transmit_links(options: Any) -> list[LinkConfig]:
    """The links of ``lvm-mtc transmit``'s flags."""
    scene = read_scene(options)
    fields = list(options.link) if scene is None else [("scene", scene), *options.link]
    links = make_links(options.channel, options.convention, fields)
    if scene and len(links[0].carrier.positions) < options.uavs:
        raise ValueError(
            f"--positions {options.positions}: {len(links[0].carrier.positions)} places, and --uavs {options.uavs}"
        )
    if fault := links[0].csi_error_fault(options.csi_error):
        given = ",".join(f"{value:g}" for value in options.csi_error)
        raise ValueError(f"--csi-error {given}: {fault}")
    if links[0].topology == "joint" and links[0].num_tx_ant != options.uavs:
        raise ValueError(
            f"--link num_tx_ant={links[0].num_tx_ant}: under topology=joint it must equal --uavs, {options.uavs}"
        )
    return links


_EVERY_PATCH = ("all", "pca")
"""Contenders that drop no patch, by their names in ``--schemes``."""


def budget_acts(schemes: Sequence[str]) -> bool:
    """Whether the share of patches that is kept changes any of these contenders, by their names in ``--schemes``."""
    return any(name not in _EVERY_PATCH for name in schemes)


def check_idle(options: Any, schemes: Sequence[str], contenders: Sequence[Contender]) -> None:
    """Raises ``UsageError`` for flags of ``lvm-mtc transmit`` that change nothing beside the others.

    Args:
        schemes: Contenders by their names in ``--schemes``; empty: a scheme as its weights have it.
        contenders: What is sent.
    """
    swept = {name for contender in contenders for name in contender.swept} if schemes else set()
    called = ", ".join(schemes or [contender.name for contender in contenders])
    acts = {name: name in swept for name in ("epsilon", "mask_prob", "importance_db")}
    acts |= {"scale_aware": acts["mask_prob"], "keep": budget_acts(schemes)}
    idle = {name: f"on the schemes {called}" for name, does in acts.items() if not does}
    idle |= dict.fromkeys(("alpha", "beta"), "on pictures without --question")
    if options.views == "folder":
        idle["overlap"] = "on --views folder"
    refuse_idle(changed(options, "--images", ".", "--out", "."), idle)


def load_picture_scheme(weights: str | os.PathLike | None) -> tuple[Scheme, Params]:
    """The scheme of a weights file with its parameters; None: the shipped token system."""
    scheme, params = load_scheme(weights or DEMO_WEIGHTS)
    if scheme.modality != "pictures":
        raise ValueError(f"{weights}: scheme {name_of(scheme)!r} sends {scheme.modality}, and this command pictures")
    return scheme, params


def load_contenders(
    weights: str | os.PathLike | None, names: Sequence[str] | None, default: Sequence[str], **options: Any
) -> tuple[Scheme, list[Contender]]:
    """What is compared with the weights of a file.

    Args:
        names: Of contenders; None: the default ones, and of a scheme that masks nothing that scheme as it is.
        default: Names for a scheme that masks.
    """
    scheme, params = load_picture_scheme(weights)
    if names is None and not isinstance(scheme, Masking):
        return scheme, [plain_contender(scheme, params)]
    return scheme, make_contenders(names or default, scheme, params, **options)


def fit_contenders(
    contenders: Sequence[Contender],
    height: int,
    width: int,
    *,
    several: bool = False,
    say: Callable[[str], Any] = print,
) -> list[Contender]:
    """Contenders for views of up to this size, in tiles where their codecs are for smaller pictures; says how."""
    fitted, said = [], {}
    for contender in contenders:
        if several or (height, width) != (contender.scheme.config.image_size,) * 2:
            scheme = tiled(contender.scheme, height, width, several=several)
            contender = dataclasses.replace(contender, scheme=scheme)
            (rows, columns), padding = scheme.grid, " and ".join(map(str, scheme.padding[::-1]))
            how = (
                "whole"
                if rows * columns == 1
                else f"in {columns} x {rows} tiles of {scheme.tile[1]} x {scheme.tile[0]}"
            )
            said.setdefault(f"{how}, {padding} columns and rows mirrored", []).append(contender.name)
        fitted.append(contender)
    for how, names in said.items():
        say(f"{'; '.join(names)}: {'up to ' if several else ''}{width} x {height} {how}")
    return fitted
