"""Codecs that the package brings, trained or fitted: their names, where they come from and what they score.

The table is ``weights/zoo.json``, which ``experiments/queue/measure.py`` writes with the weights beside it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax

from lvm_mtc.config import unknown_name_message
from lvm_mtc.models.weights import SHIPPED, WeightsError
from lvm_mtc.schemes import make_scheme
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.scheme import Params, Scheme

TABLE = SHIPPED / "zoo.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a codec.

    Attributes:
        scheme: Name in ``lvm_mtc.schemes.SCHEMES``.
        config: Of the scheme.
        file: Of its weights, beside the table; None where its parameters are a table that the scheme brings.
        sha256: Of that file.
        num_parameters: Numbers in its parameters.
        pictures: Seen in training; 0: none.
        seed: Of its training; None without one.
        data: Of its training, or what its tables are fitted to.
        versions: Of the packages that it was trained with.
        psnr_db: Channel to SNR per receive antenna in dB, as text, to the mean PSNR of the hold-out's pictures
            in dB.
    """

    scheme: str
    config: Mapping[str, Any]
    file: str | None
    sha256: str | None
    num_parameters: int
    pictures: int
    seed: int | None
    data: str
    versions: Mapping[str, str]
    psnr_db: Mapping[str, Mapping[str, float]]


def list_codecs() -> dict[str, Card]:
    """Name to what is known of each codec, in the order of the table."""
    return {name: Card(**card) for name, card in json.loads(TABLE.read_text())["codecs"].items()}


def load_codec(name: str) -> tuple[Scheme, Params]:
    """A codec of :func:`list_codecs`, ready to send: for ``forward``, a ``Contender`` or further training.

    Args:
        name: Such as ``"token2_cifar10_cbr_1_3"``.

    Returns:
        scheme: With its configuration.
        params: ``jax.Array`` leaves.

    Raises:
        ValueError: for an unknown name, or a file that is not the one whose scores the table holds.
    """
    codecs = list_codecs()
    if name not in codecs:
        raise ValueError(unknown_name_message(f"codec {name!r}", name, codecs))
    card = codecs[name]
    if card.file is None:
        scheme = make_scheme(card.scheme, card.config, where=name)
        return scheme, scheme.init(jax.random.key(0))
    path = SHIPPED / card.file
    if hashlib.sha256(path.read_bytes()).hexdigest() != card.sha256:
        raise WeightsError(f"{path} is not the file whose scores the table of codecs holds")
    return load_scheme(path)
