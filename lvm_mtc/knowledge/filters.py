"""Goal filters: which of a picture's candidate boxes is the task text about (Eq. 12-13)?

A filter has a name, parameters, and two steps: ``prepare`` turns the text into numbers on the host, once; ``score``
gives every candidate a similarity and runs inside the knowledge base's compiled program. The candidate of the largest
similarity wins, the first of equal ones, and candidates come with the detector's best score first.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.config import require_number
from lvm_mtc.data.clip_tokenizer import default_tokenizer
from lvm_mtc.data.word_vectors import WordVectors, class_vectors, imagenet_classes
from lvm_mtc.knowledge.crops import crop_boxes
from lvm_mtc.models.clip import Clip, clip, cosine, normalize_pixels
from lvm_mtc.models.detection import Detections
from lvm_mtc.models.image_classifier import IMAGE_SIZE, EfficientNetLite0

_PICTURES_AT_ONCE = 4  # Bounds the memory that crops and their features take.
_SHARPNESS = 10.0


class Query(NamedTuple):
    """A task text, prepared.

    Attributes:
        array: What ``score`` needs of it; None where the filter cannot use this text.
        note: Why it cannot, one line; empty otherwise.
    """

    array: np.ndarray | jax.Array | None
    note: str = ""


class GoalFilter(Protocol):
    """What a knowledge base needs of a filter; instances are compared by identity, for they key compiled programs."""

    name: str
    params: Any

    def prepare(self, task_text: str) -> Query:
        """Turns a text that is not empty into numbers."""

    def score(self, params: Any, query: jax.Array, images: jax.Array, candidates: Detections) -> jax.Array:
        """Similarities ``[batch, num_candidates]`` for pictures ``[batch, height, width, 3]`` in [0, 1]."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreFilter:
    """A confident and large box, whatever the text says: what every other filter falls back to.

    Similarity: the detector's score times a power of the box's share of the picture's area. Without a text the object
    that counts is often the largest one, and of a whole and its parts it is the whole; the score alone does not know
    (``docs/knowledge_base.md``, where the power was chosen on training pictures).

    Attributes:
        size_power: Power of the share of the area, >= 0; 0 leaves the detector's score alone.
    """

    size_power: float = 0.25
    name: str = "score"
    params: Any = None

    def __post_init__(self):
        require_number("ScoreFilter", "size_power", self.size_power, 0.0)

    def prepare(self, task_text: str) -> Query:
        """Needs nothing of the text."""
        return Query(np.zeros(0, np.float32))

    def score(self, params, query, images, candidates):
        """The detector's score times the share of the area to ``size_power``, in [0, 1]."""
        height, width = images.shape[1:3]
        share = candidates.boxes[..., 2] * candidates.boxes[..., 3] / (height * width)
        return candidates.scores * share**self.size_power


@dataclasses.dataclass(frozen=True, eq=False)
class LabelFilter:
    """The detector's class labels: the best box of a class that the text names; a box of another class scores lower.

    Similarity: the detector's score, plus 1 for a box of a class that is named.

    Attributes:
        class_names: Names of the detector's classes, in the order of its labels.
    """

    class_names: tuple[str, ...]
    name: str = "label"
    params: Any = None

    def __post_init__(self):
        if len(self.class_names) < 2:
            raise ValueError(
                f"class_names must name at least two classes, got {self.class_names!r}: a detector without class "
                "labels cannot filter by label"
            )

    def prepare(self, task_text: str) -> Query:
        """Which classes the text names, ``[num_classes]``; nouns may stand in the plural, compounds in two words."""
        words = re.findall(r"\w+", task_text.lower())
        runs = {"".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}
        named = [not runs.isdisjoint(_forms(name)) for name in self.class_names]
        if not any(named):
            return Query(None, f"the text names none of the detector's {len(named)} classes")
        return Query(np.asarray(named, np.float32))

    def score(self, params, query, images, candidates):
        """Detector's score, plus 1 where the label is named."""
        labels = jnp.clip(candidates.labels, 0, len(self.class_names) - 1)
        return candidates.scores + jnp.where(candidates.labels >= 0, query[labels], 0)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassifierWordsFilter:
    """An ImageNet classifier and word vectors, for want of CLIP's weights, and by no means CLIP.

    Similarity: P(text | crop) times the root of the detector's score: a classifier takes every crop for a picture of
    something, and only the detector knows which crops hold a whole object.
    P(text | crop) = sum_c P(class c | crop) P(text | class c). The first factor is the classifier's softmax. The second
    is exp(10 cos(v_c, v_text)) over the sum of the same for the text and some fifty common nouns, with v_c the mean
    vector of the words that name the class; a class without a known word counts as 0.

    Source: the idea of Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings (2014).
    Deviation: they compare the text with the mean vector of the probable classes; that vector is close to some texts
    whatever the picture shows. Among annotated boxes of VOC pictures with several classes P(text | crop) picks a box of
    the right class more often: 73 % against 66 %, where chance is 41 %. The power of the score was chosen on training
    pictures (``docs/knowledge_base.md``).

    Attributes:
        classes: ``[1000, width]``, v_c.
        params: Parameters of ``models.image_classifier.EfficientNetLite0``.
        score_power: Power of the detector's score, >= 0; 0 leaves it out.
    """

    words: WordVectors
    classes: np.ndarray
    params: Any
    score_power: float = 0.5
    name: str = "classifier-words"

    def __post_init__(self):
        require_number("ClassifierWordsFilter", "score_power", self.score_power, 0.0)

    @classmethod
    def create(cls, classifier_params: Mapping[str, Any], words: WordVectors):
        """Builds the filter of what ``load_classifier`` and ``read_word_vectors`` return."""
        return cls(words, class_vectors(words), jax.tree.map(jnp.asarray, classifier_params))

    def prepare(self, task_text: str) -> Query:
        """P(text | class c), ``[num_classes]``."""
        vector = self.words.embed(self.words.known(task_text))
        if vector is None:
            return Query(None, "the text holds no word that has a vector")
        kinds = sorted({kind for kinds in imagenet_classes().kinds for kind in kinds if kind in self.words.index})
        others = np.stack([self.words.embed([kind]) for kind in kinds])
        weight = np.exp(_SHARPNESS * self.classes @ np.concatenate([vector[None], others]).T)
        known = np.linalg.norm(self.classes, axis=1) > 0
        return Query((known * weight[:, 0] / weight.sum(axis=1)).astype(np.float32))

    def score(self, params, query, images, candidates):
        """P(text | crop) times the detector's score to ``score_power``, in [0, 1]."""

        def of_picture(image, boxes):
            crops = crop_boxes(image[None], boxes[None], IMAGE_SIZE)[0]
            return jax.nn.softmax(EfficientNetLite0().apply({"params": params}, crops)) @ query

        return _by_pictures(of_picture, images, candidates) * candidates.scores**self.score_power


@dataclasses.dataclass(frozen=True, eq=False)
class ClipFilter:
    """CLIP (Eq. 12): the cosine between the features of a crop and of the text."""

    model: Clip
    params: Any
    name: str = "clip"

    @classmethod
    def create(cls, variant: str, activation: str, params: Mapping[str, Any]):
        """Builds the filter of what ``interop.clip_weights.load_clip`` returns."""
        return cls(clip(variant, activation), jax.tree.map(jnp.asarray, params))

    def prepare(self, task_text: str) -> Query:
        """The text's features, ``[embed_dim]``."""
        tokens = default_tokenizer()(task_text, context_length=self.model.sizes.context_length)
        if tokens.max() >= self.model.sizes.vocab_size:
            raise ValueError(f"tokenizer has more tokens than the {self.model.sizes.vocab_size} of this CLIP")
        return Query(_text_features(self.model, self.params, tokens)[0])

    def score(self, params, query, images, candidates):
        """Cosines, in [-1, 1]."""

        def of_picture(image, boxes):
            crops = crop_boxes(image[None], boxes[None], self.model.sizes.image_size)[0]
            features = self.model.apply({"params": params}, normalize_pixels(crops), method="image_features")
            return cosine(features, query[None])[:, 0]

        return _by_pictures(of_picture, images, candidates)


FILTERS = {"score": ScoreFilter, "label": LabelFilter, "classifier-words": ClassifierWordsFilter, "clip": ClipFilter}
"""Every filter by its name."""


@functools.partial(jax.jit, static_argnums=0)
def _text_features(model: Clip, params: Any, tokens: jax.Array) -> jax.Array:
    return model.apply({"params": params}, tokens, method="text_features")


def _by_pictures(score, images: jax.Array, candidates: Detections) -> jax.Array:
    """``score(image, boxes)`` of every picture, a few pictures at a time."""
    at_once = min(_PICTURES_AT_ONCE, images.shape[0])
    return jax.lax.map(lambda pair: score(*pair), (images, candidates.boxes), batch_size=at_once)


_SAME_CLASS = (
    ("aeroplane", "airplane", "plane"),
    ("bicycle", "bike"),
    ("motorbike", "motorcycle"),
    ("person", "people", "man", "men", "woman", "women", "child", "children", "boy", "girl", "pedestrian"),
    ("sheep", "lamb"),
    ("sofa", "couch"),
    ("tvmonitor", "tv", "television", "monitor"),
    ("diningtable", "dining table", "table"),
    ("pottedplant", "potted plant", "plant"),
)
"""Words for one class of VOC or COCO."""


def _forms(class_name: str) -> set[str]:
    """Singular and plural of a class's names, each in one word."""
    names = next((group for group in _SAME_CLASS if class_name in group), (class_name,))
    words = (re.sub(r"\W|_", "", name.lower()) for name in names)
    return {word + ending for word in words for ending in ("", "s", "es")}
