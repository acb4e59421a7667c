"""A trained network alone, as `model.safetensors`: tensors and a description, and no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from swav_cli.core.layers import layer_function
from swav_cli.core.model import SwAV
from swav_cli.core.precision import memory_format
from swav_cli.core.timm_backbone import TIMM
from swav_cli.errors import UserError
from swav_cli.files import write_whole
from swav_cli.recipe.architectures import ARCHITECTURES, Stem
from swav_cli.recipe.schema import Recipe, settled

MODEL_FORMAT = "swav-model-1"
LARGEST, LARGEST_SIZE = 2**20, 2**14  # of any number in a description; of the pixels of a side
CROP_PCT = 224 / 256  # as published: the middle 224 pixels of pictures whose shorter side has 256
LATER = {"prototypes_bias": False, "crop_pct": CROP_PCT}  # left out where they are as usual: earlier versions lack them


@dataclass(frozen=True)
class About:
    """What a reader needs in order to rebuild a network and to feed it; no reader assumes any of it.

    It travels inside every file of weights.
    """

    backbone: str
    width: int = 64
    stem: Stem = "imagenet"
    channels: int = 3
    hidden_dim: int = 0
    embedding_dim: int = 0  # 0: no projection head
    prototypes: int = 0  # 0: none
    prototypes_bias: bool = False  # as lightly trains them; ours are cosines and have none
    classes: tuple[str, ...] = ()  # of the classifier, in its order; empty: no classifier
    size: int = 224  # pixels, height and width of a picture as the network is judged
    crop_pct: float = CROP_PCT  # of the picture's shorter side that the square in its middle has
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of each channel, 0 to 1
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    source: str = ""  # recipe, or where the weights come from
    licence: str = ""

    def build(self, *, zero_init_residual: bool = False) -> SwAV:
        """The network, with weights drawn at random; how they are drawn is nothing that a reader needs to know."""
        return SwAV(
            self.backbone,
            width=self.width,
            stem=self.stem,
            channels=self.channels,
            zero_init_residual=zero_init_residual,
            hidden_dim=self.hidden_dim,
            embedding_dim=self.embedding_dim,
            prototypes=self.prototypes,
            prototypes_bias=self.prototypes_bias,
            classes=len(self.classes),
        )

    @property
    def shorter_side(self) -> int:
        """Pixels to which a picture's shorter side is brought before the square in its middle is cut."""
        return round(self.size / self.crop_pct)

    def to_json(self) -> str:
        """The description as it stands in files; `from_json` reads it."""
        said = asdict(self)
        for name, usual in LATER.items():
            if said[name] == usual:
                del said[name]
        return json.dumps({"format": MODEL_FORMAT, **said})

    @classmethod
    def from_json(cls, text: str) -> About:
        """
        Raises:
            ValueError: the text is no description of ours, or one that nothing can be built from.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("format", None) != MODEL_FORMAT:
            raise ValueError("holds no description of a swav model")
        known = {field.name for field in fields(cls)}
        if not content.keys() <= known:
            raise ValueError(f"made by a newer swav ({', '.join(sorted(content.keys() - known))})")
        # A folder's name that is no UTF-8 is a class's name too, and no reader of JSON takes it but Python's own.
        readable = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        try:
            found = TypeAdapter(cls).validate_json(readable, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        words = {name: content[name] for name in ("source", "licence") if name in content}
        found = replace(found, classes=tuple(content.get("classes", ())), **words)
        if wrong := found._impossible():
            raise ValueError(wrong)
        return found

    def _impossible(self) -> str:
        """What no network can be like, or nothing: descriptions come in files that anybody may have made."""
        if self.backbone not in ARCHITECTURES and not self.backbone.startswith(TIMM):
            return f"backbone: no '{self.backbone}'"
        counts = {name: getattr(self, name) for name in ("width", "channels", "size")}
        parts = {name: getattr(self, name) for name in ("hidden_dim", "embedding_dim", "prototypes")}
        for name, value in (counts | parts).items():
            if not (name in counts) <= value <= (LARGEST_SIZE if name == "size" else LARGEST):
                return f"{name}: {value}"
        if not len(self.mean) == len(self.std) == self.channels or not all(value > 0 for value in self.std):
            return f"mean {self.mean} and std {self.std} for {self.channels} channels"
        if not 0.1 <= self.crop_pct <= 1:
            return f"crop_pct: {self.crop_pct}"
        if self.prototypes and not self.embedding_dim:
            return "prototypes without a projection head"
        return ""


def about(recipe: Recipe) -> About:
    """What is to be known of a network that a settled recipe trained."""
    model = recipe.model
    return About(
        backbone=model.backbone,
        width=model.width,
        stem=model.stem,
        channels=recipe.data.channels,
        hidden_dim=model.hidden_dim,
        embedding_dim=model.embedding_dim,
        prototypes=settled(model.prototypes),
        size=max(crop.size for crop in recipe.crops),
        mean=tuple(settled(recipe.data.mean)),
        std=tuple(settled(recipe.data.std)),
        source=recipe.name,
    )


class Model:
    """A trained network in eval mode, with what is to be known of it.

    >>> from swav_cli import load_model, read_picture
    >>> model = load_model("runs/quickstart")
    >>> x = model.prepare(read_picture("demo/bird.JPEG"))
    >>> model.features(x).shape, model.scores(x).shape
    (torch.Size([1, 128]), torch.Size([1, 200]))

    Its methods take pictures (B, C, H, W) as float tensors, normalised with `about.mean` and `about.std`, on any
    device, and give float tensors on the model's device, without gradients.

    Args:
        name: by which it was asked for; where nothing is said, where its weights come from.
    """

    def __init__(self, network: SwAV, about: About, name: str = "") -> None:
        self.network, self.about, self.name = network.eval(), about, name or about.source

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device) -> Model:
        """The same, with its weights moved there, as they lie in memory where that device computes quickest."""
        self.network.to(device=device, memory_format=memory_format(device))  # type: ignore[call-overload]
        return self

    def features(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, F)
        """Pooled features of the backbone."""
        return self._run("pooled", x)

    def embed(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, D)
        """Projected features of unit length. Raises UserError where the model has no projection head."""
        return self._run("embedding", x)

    def scores(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K)
        """Cosine with each prototype. Raises UserError where the model has none."""
        return self._run("scores", x)

    def classify(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, classes)
        """Probability of each of `about.classes`. Raises UserError where the model has no classifier."""
        return self._run("probabilities", x)

    def prepare(self, picture: Tensor) -> Tensor:  # (C, H, W) uint8 -> (1, C, H, W)
        """A picture, as `read_picture` gives it, normalised for this model."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.about.mean, self.about.std))
        return ((picture / 255 - mean) / std)[None]

    def _run(self, layer: str, x: Tensor) -> Tensor:
        function = layer_function(self.network, layer)
        with torch.no_grad():
            return function(x.to(self.device, next(self.network.parameters()).dtype))


def weights_digest(model: Model) -> str:
    """Changes with any weight and with how pictures are prepared."""
    digest = hashlib.sha256(model.about.to_json().encode())
    for key, tensor in sorted(model.network.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def not_finite(network: SwAV) -> str:
    """That some weights are no numbers any more, as a run that diverged leaves them, in words; empty where all are."""
    wrong = [name for name, tensor in network.state_dict().items() if not bool(tensor.isfinite().all())]
    if not wrong:
        return ""
    return f"{len(wrong)} tensors hold weights that are not finite, first {wrong[0]}: what it gives is of no use"


def save_model(path: Path, model: Model) -> None:
    """Write the network with its description as safetensors, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    write_whole(path, lambda beside: save_file(tensors, beside, {"swav": model.about.to_json()}))


def read_model(path: Path) -> Model:
    """A network and its description, from a `model.safetensors` of ours.

    Raises:
        UserError: no such file, or not one of ours.
    """
    if not path.exists():
        raise UserError(f"{path}: no such model; a run writes it when it ends or is stopped")
    try:
        with safe_open(path, framework="pt") as file:
            described = About.from_json((file.metadata() or {}).get("swav", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a model of swav ({error})") from None
    return rebuilt(path, described, tensors)


def rebuilt(path: Path, described: About, tensors: Mapping[str, Tensor]) -> Model:
    """The described network with all of its tensors.

    Raises:
        UserError: some are missing, or don't fit the description.
    """
    try:
        _check_shapes(described, tensors)
        network = described.build()
        network.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
        raise UserError(f"{path}: its tensors are not those of its description ({problem})") from None
    return Model(network, described)


def _check_shapes(described: About, tensors: Mapping[str, Tensor]) -> None:
    """
    Raises:
        RuntimeError: the description asks for more memory than its tensors have; before any of it is taken.
    """
    if not described.backbone.startswith(TIMM):
        with torch.device("meta"):
            described.build().load_state_dict({name: tensor.to("meta") for name, tensor in tensors.items()})
        return
    # Some networks of timm can't be built without memory; their own size goes by their name.
    first = "projection_head.0.weight" if described.hidden_dim else "projection_head.weight"
    parts = {
        first: described.hidden_dim or described.embedding_dim,
        "prototypes.weight": described.prototypes,
        "fc.weight": len(described.classes),
    }
    for name, count in parts.items():
        found = tensors[name].shape[0] if name in tensors else 0
        if found != count:
            raise RuntimeError(f"{name} has {found} rows, and {count} are described")


def first_misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[int, str]:
    """How many tensors of a network are not given, or in another shape; and the first of them, in words.

    >>> first_misfit({"weight": torch.zeros(2, 3)}, {"weight": torch.zeros(3, 3)})
    (1, 'weight, (2, 3) wanted and (3, 3) there')
    """
    wrong = [key for key in own if key not in given or given[key].shape != own[key].shape]
    if not wrong:
        return 0, ""
    there = tuple(given[wrong[0]].shape) if wrong[0] in given else "nothing"
    return len(wrong), f"{wrong[0]}, {tuple(own[wrong[0]].shape)} wanted and {there} there"


def take_weights(model: SwAV, weights: Mapping[str, Tensor], source: str | Path) -> str:
    """Put weights by our names into a network that is to be trained further.

    All tensors of the backbone must be there and fit; the projection head and the prototypes are taken where they
    do, and begin anew elsewhere. Returns what was taken, in words.

    Raises:
        UserError: the backbone does not fit, with the first key that doesn't.
    """
    own = model.state_dict()
    backbone = [key for key in own if not key.startswith(("projection_head.", "prototypes."))]
    wrong, first = first_misfit({key: own[key] for key in backbone}, weights)
    if wrong:
        raise UserError(
            f"{source}: {len(backbone) - wrong} of {len(backbone)} backbone tensors fit this recipe's model; first "
            f"that does not: {first}"
        )
    rest = [key for key in own if key not in backbone]
    # The head counts only as a whole: half of one is no head.
    parts = {"projection head": "projection_head.", "prototypes": "prototypes."}
    taken = {key: weights[key] for key in backbone}
    words = [f"{len(backbone)} of {len(backbone)} backbone tensors"]
    for name, prefix in parts.items():
        keys = [key for key in rest if key.startswith(prefix)]
        if all(key in weights and weights[key].shape == own[key].shape for key in keys):
            taken |= {key: weights[key] for key in keys}
            left = ", without their bias" if name == "prototypes" and "prototypes.bias" in weights else ""
            words.append(f"{name} {len(keys)} of {len(keys)}{left}")
        else:
            words.append(f"{name} {'begin' if name == 'prototypes' else 'begins'} anew")
    model.load_state_dict({**own, **taken})
    return ", ".join(words)
