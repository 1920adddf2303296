"""``lvm-mtc doctor``: whether this machine has what the library needs."""

import argparse
import functools
import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lvm_mtc.cli.command import add_command

DISTRIBUTION = "lvm-mtc"
KNOWN_BAD = {
    "0.10.2": "computes wrong results on CPU (jax issues 39103 and 39352)",
    "0.11.1": "breaks programs that run with 0.10 and 0.11.2",
}
"""Version of jax and jaxlib to what is wrong with it."""


class Check(NamedTuple):
    """One line of the report: "ok", "absent" (an extra that nobody needs to have) or "BAD"; of what; what was found."""

    state: str
    name: str
    text: str


def add_doctor_parser(commands) -> None:
    """Declares the command."""
    summary = "Check versions, devices, extras and shipped weights; exit code 1 where something is wrong."
    add_command(commands, "doctor", summary, "lvm-mtc doctor", run_doctor)


def run_doctor(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc doctor``; leaves with code 1 where something is wrong."""
    checks = list(diagnose())
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{check.state:6}  {check.name:{width}}  {check.text}")
    bad = sum(check.state == "BAD" for check in checks)
    print(f"{bad} of {len(checks)} checks failed" if bad else f"all {len(checks)} checks passed")
    if bad:
        raise SystemExit(1)


def diagnose() -> Iterator[Check]:
    """All checks of this machine."""
    yield check_python(sys.version_info[:2])
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
        yield Check("BAD", DISTRIBUTION, "is not installed, so nobody knows what it needs: pip install -e .")
    installed = {
        dist.metadata["Name"].lower().replace("_", "-"): dist.version
        for dist in importlib.metadata.distributions()
        if dist.metadata["Name"]
    }
    yield from check_packages(requirements, installed)
    yield from check_devices()
    yield from check_weights()


def check_python(version: tuple[int, int]) -> Check:
    """Whether Python is of a version that the tests run with."""
    good = (3, 11) <= version <= (3, 13)
    text = f"{'.'.join(map(str, version))} on {platform.platform()}"
    return Check("ok" if good else "BAD", "python", text if good else f"{text}; needs 3.11, 3.12 or 3.13")


def check_packages(requirements: Sequence[str], installed: Mapping[str, str]) -> Iterator[Check]:
    """Whether packages are there, of versions that are asked for and not known to be bad; then the extras.

    Args:
        requirements: As in package metadata, such as ``jax>=0.10`` and ``tensorflow>=2.21; extra == "sionna"``.
        installed: Package, in lower case with hyphens, to version.
    """
    from packaging.requirements import Requirement

    extras: dict[str, list[Requirement]] = {}
    for text in requirements:
        requirement = Requirement(text)
        marker = str(requirement.marker or "")
        if "extra" in marker:
            extras.setdefault(marker.split("extra == ")[1].strip("\"' )"), []).append(requirement)
        elif requirement.marker is None or requirement.marker.evaluate():
            yield _check_package(requirement, installed)
    jax, jaxlib = installed.get("jax"), installed.get("jaxlib")
    if jax and jaxlib and jax != jaxlib:
        yield Check("BAD", "jax and jaxlib", f"are of different releases, {jax} and {jaxlib}: install one of both")
    for extra, members in extras.items():
        checks = [_check_package(requirement, installed) for requirement in members]
        lacking = [requirement.name for requirement in members if _version(requirement, installed) is None]
        wrong = [check for check in checks if check.state == "BAD" and check.name not in lacking]
        if lacking:
            text = f"lacks {', '.join(lacking)}: pip install '{DISTRIBUTION}[{extra}]'"
            yield Check("absent", f"extra {extra}", text + _hint(lacking, installed))
        else:
            text = "; ".join(f"{check.name} {check.text}" for check in wrong or checks)
            yield Check("BAD" if wrong else "ok", f"extra {extra}", text)


def _check_package(requirement, installed: Mapping[str, str]) -> Check:
    name, version = requirement.name, _version(requirement, installed)
    if version is None:
        return Check("BAD", name, f"is not installed; needs {requirement.specifier or 'any version'}")
    if name in ("jax", "jaxlib") and version in KNOWN_BAD:
        return Check("BAD", name, f"{version} {KNOWN_BAD[version]}; needs {requirement.specifier}")
    if not requirement.specifier.contains(version, prereleases=True):
        return Check("BAD", name, f"{version}; needs {requirement.specifier}")
    return Check("ok", name, version)


def _hint(lacking: Sequence[str], installed: Mapping[str, str]) -> str:
    sionna = installed.get("sionna", "")
    major = sionna.split(".")[0]
    if "sionna-no-rt" in lacking and major.isdecimal() and int(major) >= 2:
        return f"; sionna {sionna} is no help, from 2.0 on Sionna is PyTorch"
    return ""


def _version(requirement, installed: Mapping[str, str]) -> str | None:
    return installed.get(requirement.name.lower().replace("_", "-"))


def check_devices() -> Iterator[Check]:
    """What JAX computes on, and whether it does."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    try:
        devices = jax.devices()
    except RuntimeError as error:
        yield Check("BAD", "devices", " ".join(str(error).split()))
        return
    yield Check("ok", "devices", f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})")
    rng = np.random.default_rng(0)
    a = rng.normal(size=(8, 4, 4)) + 1j * rng.normal(size=(8, 4, 4)) + 4 * np.eye(4)
    miss = np.abs(np.asarray(jax.jit(jnp.linalg.inv)(np.complex64(a))) @ a - np.eye(4)).max()
    yield Check("ok" if miss < 1e-3 else "BAD", "complex inverses", f"of 4x4 matrices miss by {miss:.1g}")


def check_weights() -> Iterator[Check]:
    """Whether the weights that come with the library can be read and fit their models."""
    from lvm_mtc.data.clip_tokenizer import read_merges
    from lvm_mtc.knowledge.loading import DETECTOR_WEIGHTS, load_knowledge_base
    from lvm_mtc.schemes.loading import DEMO_WEIGHTS, IMPORTANCE_WEIGHTS, PCA_WEIGHTS, load_scheme

    files = (DEMO_WEIGHTS, IMPORTANCE_WEIGHTS, PCA_WEIGHTS)
    loaders = {path.name: functools.partial(load_scheme, path) for path in files}
    loaders |= {DETECTOR_WEIGHTS.name: load_knowledge_base, "clip_bpe_merges.npz": read_merges}
    for name, load in loaders.items():
        try:
            load()
        except (ValueError, OSError) as error:
            yield Check("BAD", f"weights {name}", " ".join(str(error).split()))
        else:
            yield Check("ok", f"weights {name}", "can be read and fit")
