"""One transceiver for four tasks: a picture's class, the picture, a caption, an answer to a question about a scene.

A frozen transformer in two halves, one at each end of the link, and one linear channel codec serve all tasks; a task
has its head and adapters (LoRA) of its own. Tokens are frames: 64 of a picture, 60 patches of a scene, a word each of a
caption. Only what the task needs is rebuilt: class and answer never were a picture at the receiver.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.data.vqa import ANSWERS, KINDS, SUBJECTS
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.answerer import PatchAnswerer
from lvm_mtc.models.conditioned import normalize
from lvm_mtc.models.lora import Adapters, Lora
from lvm_mtc.models.patch_features import GRID, grid_places
from lvm_mtc.models.patches import unpatchify
from lvm_mtc.models.receivers import unit_power
from lvm_mtc.models.transformer import sincos_positions
from lvm_mtc.models.weights import flatten_params, unflatten_params
from lvm_mtc.schemes.multitask.losses import backbone_loss, task_loss
from lvm_mtc.schemes.multitask.network import PATCH, Backbone, PictureTokens
from lvm_mtc.schemes.scheme import Estimate, Sent, Source, Stage

TASKS = {"class": "classes", "picture": "pictures", "text": "text", "answers": "answers"}
"""Task to modality."""
BACKBONE = ("pictures", "words", "transmit", "receive")
"""Groups of parameters that are frozen once the backbone has learned."""
_ENDS = ("transmit", "receive")
_QUESTION_BITS = math.ceil(math.log2(len(KINDS) * len(SUBJECTS)))
_NEVER = -1e9
_XAVIER = nn.initializers.xavier_uniform()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultitaskConfig:
    """Shapes and rules; every field is static under ``jit``.

    Attributes:
        task: A name in ``TASKS``; parameters are those of all tasks, whichever it is.
        num_symbols: Complex symbols of a token.
        width: Features of a token.
        depth: Blocks at the transmitter, and at the receiver.
        num_heads: Attention heads; divides the width.
        mlp_ratio: Hidden width of a block over its width.
        rank: Of the adapters.
        fine: Features of a square of 2 pixels, before there are tokens.
        image_size: Side of the pictures, pixels; a multiple of 4.
        vocabulary: Numbers of words, 0, which is no word, included.
        word_width: Features in the table of words.
        num_words: Words of the longest caption.
        patch_size: Numbers of a scene's patch.
        answer_width: Features inside the head that answers; a multiple of 8.
        single: Parameters are what the task alone needs, its adapters merged (``Multitask.alone``).
    """

    task: str = "class"
    num_symbols: int = 8
    width: int = 64
    depth: tuple[int, int] = (2, 1)
    num_heads: int = 4
    mlp_ratio: float = 2.0
    rank: int = 4
    fine: int = 32
    image_size: int = 32
    vocabulary: int = 3000
    word_width: int = 32
    num_words: int = 16
    patch_size: int = 384
    answer_width: int = 64
    single: bool = False

    def __post_init__(self):
        name = "MultitaskConfig"
        require_one_of(name, "task", self.task, tuple(TASKS))
        for field in ("num_symbols", "width", "num_heads", "rank", "fine", "image_size", "word_width", "num_words",
                      "patch_size", "answer_width"):  # fmt: skip
            require_count(name, field, getattr(self, field))
        require_count(name, "vocabulary", self.vocabulary, least=2)
        if len(self.depth) != 2 or min(self.depth) < 1:
            raise ValueError(f"{name}.depth must be two numbers of blocks, each at least 1, got {self.depth!r}")
        for field, of in (("image_size", PATCH), ("answer_width", 8), ("width", math.lcm(4, self.num_heads))):
            if getattr(self, field) % of:
                raise ValueError(f"{name}.{field} must be a multiple of {of}, got {getattr(self, field)!r}")
        require_number(name, "mlp_ratio", self.mlp_ratio, 0.0, strict=True)

    @property
    def num_patches(self) -> int:
        """Patches of a scene."""
        return math.prod(GRID)

    def grid(self) -> tuple[int, int]:
        """Rows and columns of the task's tokens."""
        side = self.image_size // PATCH
        return {"text": (1, self.num_words), "answers": GRID}.get(self.task, (side, side))


class Encoded(NamedTuple):
    """Channel features ``[batch, num_uavs, tokens, 2 num_symbols]``, which tokens there are, and what is told aside."""

    features: jax.Array
    valid: jax.Array
    told: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Multitask:
    """The transceiver at one of its tasks; all UAVs share the parameters.

    A source has, for ``"class"``, pictures and the hint ``"labels"``; for ``"picture"`` pictures; for ``"text"``
    numbers of words ``[num_words]``, 0 behind the last; for ``"answers"`` what ``schemes.question_source`` gives of
    whole scenes. An estimate is scores ``[classes]``, ``[num_words, vocabulary]`` or ``[answers]``, or the picture.
    The receiver is told how many words there are, and the question.
    """

    config: MultitaskConfig
    knobs: ClassVar[Mapping[str, Any]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    @property
    def modality(self) -> str:
        """Of the task."""
        return TASKS[self.config.task]

    def of_task(self, task: str) -> "Multitask":
        """The same transceiver at another task."""
        return Multitask(dataclasses.replace(self.config, task=task))

    def alone(self, params: dict) -> tuple["Multitask", dict]:
        """A transceiver for this task only, that does the same: adapters merged, what serves other tasks left out."""
        adapters = params["adapters"][self.config.task]
        merged = {end: self._lora().merge(params[end], _pairs(adapters[end])) for end in _ENDS}
        return Multitask(dataclasses.replace(self.config, single=True)), self._needed(params | merged)

    def _needed(self, params: dict) -> dict:
        """Of all parameters those that the task uses without adapters."""
        task = self.config.task
        tokens = {"text": ("words",), "answers": ()}.get(task, ("pictures",))
        return {name: params[name] for name in (*tokens, *_ENDS, "codec")} | {"heads": {task: params["heads"][task]}}

    def _networks(self) -> dict[str, nn.Module]:
        c = self.config
        dense = lambda features: nn.Dense(features, kernel_init=_XAVIER)  # noqa: E731
        ends: dict[str, nn.Module] = {
            end: Backbone(depth, c.num_heads, c.mlp_ratio) for end, depth in zip(_ENDS, c.depth, strict=True)
        }
        return ends | {
            "pictures": PictureTokens(c.fine, c.width),
            "words": dense(c.width),
            "scene": dense(c.width),
            "encoder": dense(2 * c.num_symbols),
            "decoder": dense(c.width),
            "class": dense(10),
            "picture": dense(3 * PATCH**2),
            "text": dense(c.word_width),
            "answers": PatchAnswerer(len(KINDS) * len(SUBJECTS), len(ANSWERS), c.answer_width),
        }

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Draws parameters: the groups in ``BACKBONE``, the channel ``codec``, ``heads`` and ``adapters`` by task.

        Of a ``single`` task the groups, and the head, that it uses.
        """
        c, networks = self.config, self._networks()
        tokens = jnp.zeros((1, c.num_patches, c.width)), jnp.ones((1, c.num_patches), bool)
        inputs: dict[str, tuple] = {name: tokens[:1] for name in networks} | dict.fromkeys(_ENDS, tokens)
        inputs |= {
            "pictures": (jnp.zeros((1, c.image_size, c.image_size, 3)),),
            "words": (jnp.zeros((1, c.word_width)),),
            "scene": (jnp.zeros((1, c.patch_size)),),
            "decoder": (jnp.zeros((1, 2 * c.num_symbols)),),
            "answers": (tokens[0], jnp.zeros((1, c.num_patches, 4)), tokens[1], jnp.zeros(1, jnp.int32)),
        }
        table, adapter, *keys = jax.random.split(phy.stream_key(key, phy.Stream.INIT), 2 + len(networks))
        drawn: dict[str, Any] = {
            name: network.init(its_key, *inputs[name])["params"]
            for its_key, (name, network) in zip(keys, networks.items(), strict=True)
        }
        params = {name: drawn[name] for name in BACKBONE}
        params["words"] = params["words"] | {"table": jax.random.normal(table, (c.vocabulary, c.word_width))}
        params["codec"] = {name: drawn[name] for name in ("encoder", "decoder")}
        params["heads"] = {task: drawn[task] for task in TASKS}
        params["heads"]["answers"] = {"scene": drawn["scene"], "read": drawn["answers"]}
        ends = {end: drawn[end] for end in _ENDS}
        params["adapters"] = {
            task: self._draw_adapters(jax.random.fold_in(adapter, number), ends) for number, task in enumerate(TASKS)
        }
        return self._needed(params) if c.single else params

    def _lora(self) -> Lora:
        return Lora(rank=self.config.rank, alpha=float(self.config.rank))

    def _draw_adapters(self, key: jax.Array, base: dict) -> dict:
        adapters = self._lora().init(key, base)
        return unflatten_params({f"{name}/{part}": leaf for name, of in adapters.items() for part, leaf in of.items()})

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: tokens of the task, and the symbols of one."""
        return math.prod(self.config.grid()), self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Tokens through the transmitter's half of the backbone and the channel encoder; no SNR is asked for.

        Raises:
            ValueError: if the source does not fit the task and the configured shapes.
        """
        self._check(source)
        lead, task = source.lead(), self.config.task
        source = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), source)
        x, valid = self._tokens(params, source)
        x = self._through(params, "transmit", x, valid)
        features = self._apply("encoder", params["codec"]["encoder"], x)
        told = None
        if task == "text":
            told = valid.sum(-1, dtype=jnp.int32).reshape(lead)
        elif task == "answers":
            question = source.data["question"]
            told = (question[:, 0] * len(SUBJECTS) + question[:, 1]).reshape(lead)
        return Encoded(features.reshape(*lead, *features.shape[1:]), valid.reshape(*lead, -1), told)

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Two features a symbol; those of the tokens that there are have power 1 together, and no other is sent."""
        features, valid, told = encoded
        symbols, _ = unit_power(phy.features_to_symbols(features), valid)
        bits = {"text": math.ceil(math.log2(self.config.num_words)), "answers": _QUESTION_BITS}
        side_bits = jnp.full(valid.shape[:1], float(valid.shape[1] * bits.get(self.config.task, 0)))
        tells = {"valid": valid, "features": phy.symbols_to_features(symbols)}
        return Sent(Signal(Frames(symbols, valid)), told, side_bits, tells)

    def decode(self, params: dict, received: Received, side: jax.Array | None, point: OperatingPoint) -> Estimate:
        """What the task asks for, from the symbols, their variances and ``side``: how many words, or the question."""
        c, lead = self.config, received.symbols.shape[:2]
        features = phy.symbols_to_features(received.symbols / (1 + received.no_eff))
        x = features.reshape(-1, *features.shape[2:])
        told = None if side is None else side.reshape(-1)
        count = told if told is not None and c.task == "text" else jnp.full(len(x), x.shape[1])
        valid = jnp.arange(x.shape[1])[None] < count[:, None]
        x = self._apply("decoder", params["codec"]["decoder"], jnp.where(valid[..., None], x, 0.0))
        x = self._through(params, "receive", x + self._positions(), valid)
        estimate = self._answer(params, c.task, x, told)
        if c.task == "text":  # number 0 is no word: never where there is one, and it alone where there is none
            estimate = jnp.where(valid[..., None] == (jnp.arange(c.vocabulary)[None, None] == 0), _NEVER, estimate)
        understood = x.reshape(*lead, *x.shape[1:])
        return Estimate(estimate.reshape(*lead, *estimate.shape[1:]), {"features": features, "understood": understood})

    def picture(self, params: dict, understood: jax.Array) -> jax.Array:
        """The picture's head, of what any task made of a picture, ``Estimate.tells["understood"]``."""
        pictures = self._answer(params, "picture", understood.reshape(-1, *understood.shape[2:]), None)
        return pictures.reshape(*understood.shape[:2], *pictures.shape[1:])

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``, all end to end: the backbone, and three ways to go on from it.

        ``"backbone"`` learns all but adapters from two tasks; ``"tasks"`` learns codec, heads and adapters,
        ``"heads"`` codec and heads, and ``"alone"``, for a network of one task, all but adapters.
        """

        def stage(name: str, loss: Any, *groups: str) -> Stage:
            return Stage(name, loss, lambda parameter: parameter.split("/")[0] in groups)

        return (
            stage("backbone", backbone_loss, *BACKBONE, "codec", "heads"),
            stage("tasks", task_loss, "codec", "heads", "adapters"),
            stage("heads", task_loss, "codec", "heads"),
            stage("alone", task_loss, *BACKBONE, "codec", "heads"),
        )

    def _apply(self, name: str, params: dict, *args: Any) -> jax.Array:
        return jnp.asarray(self._networks()[name].apply({"params": params}, *args))

    def _through(self, params: dict, end: str, x: jax.Array, valid: jax.Array) -> jax.Array:
        """One end's half of the backbone, with the task's adapters merged into it."""
        if self.config.single:
            return self._apply(end, params[end], x, valid)
        adapters = _pairs(params["adapters"][self.config.task][end])
        return self._apply(end, self._lora().merge(params[end], adapters), x, valid)

    def _tokens(self, params: dict, source: Source) -> tuple[jax.Array, jax.Array]:
        """Tokens ``[n, tokens, width]`` with their places, and which there are."""
        task, data = self.config.task, source.data
        if task == "text":
            known = {name: leaf for name, leaf in params["words"].items() if name != "table"}
            return self._apply("words", known, params["words"]["table"][data]) + self._positions(), data > 0
        if task == "answers":
            scene = params["heads"]["answers"]["scene"]
            x = self._apply("scene", scene, normalize(data["patches"]))
        else:
            x = self._apply("pictures", params["pictures"], data)
        # All of it: nobody tells the receiver what would be missing.
        return x + self._positions(), jnp.ones(x.shape[:2], bool)

    def _positions(self) -> jax.Array:
        return jnp.asarray(sincos_positions(self.config.grid(), self.config.width)[None, 1:])

    def _answer(self, params: dict, task: str, x: jax.Array, told: jax.Array | None) -> jax.Array:
        head = params["heads"][task]
        if task == "class":
            return self._apply("class", head, x.mean(axis=1))
        if task == "picture":
            side = self.config.image_size
            return 0.5 + unpatchify(self._apply("picture", head, x), PATCH, (side, side)) / 4
        if task == "text":
            table = params["words"]["table"]
            return self._apply("text", head, x) @ table.T * table.shape[1] ** -0.5
        places = jnp.asarray(grid_places(np.array([0, 0, 1, 1], np.float32)))[None]
        places = jnp.broadcast_to(places, (len(x), *places.shape[1:]))
        return self._apply("answers", head["read"], x, places, jnp.ones(x.shape[:2], bool), told)

    def _check(self, source: Source) -> None:
        c, data = self.config, source.data
        if c.task == "answers":
            data = data["patches"]
        item = {"text": (c.num_words,), "answers": (c.num_patches, c.patch_size)}
        wanted = item.get(c.task, (c.image_size, c.image_size, 3))
        if data.shape[2:] != wanted:
            sizes = ", ".join(map(str, wanted))
            raise ValueError(f"Source.data of task {c.task!r} must be [batch, num_uavs, {sizes}], got {data.shape}")


def _pairs(nested: dict) -> Adapters:
    """Adapters as weights files hold them, by the names of their kernels."""
    flat = flatten_params(nested)
    names = [name.removesuffix("/a") for name in flat if name.endswith("/a")]
    return {name: {part: flat[f"{name}/{part}"] for part in "ab"} for name in names}
