"""Every number of the engine in one place: frozen dataclasses, each field with unit, default and source.

"Paper" is Liu et al., "Bootstrapping Semantic Segmentation with Regional Contrast", ICLR 2022. Where a default departs
from it, the remark says why: the paper trains for days on a GPU, we start from a few clicks and have minutes on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, Self

UNLABELLED = 255
"""Value in label maps: nobody spoke about this pixel; it may get a pseudo-label."""

VOID = 254
"""Value in label maps: somebody said that no class fits (or the pixel is padding); it enters no loss at all."""

MAX_CLASSES = 254
"""Class indices 0..253 fit beside VOID and UNLABELLED in one byte."""

OUTPUT_STRIDE = 4
"""Input pixels per cell of logits and representation, in each direction."""

SIDE_MULTIPLE = 16
"""The network takes images whose height and width are multiples of this; `predict` and `data` pad."""

Method = Literal["supervised", "cutout", "cutmix", "classmix"]
METHODS: tuple[Method, ...] = ("supervised", "cutout", "cutmix", "classmix")

KeySampling = Literal["active", "uniform"]
KEY_SAMPLINGS: tuple[KeySampling, ...] = ("active", "uniform")
QuerySampling = Literal["hard", "random", "easy"]
QUERY_SAMPLINGS: tuple[QuerySampling, ...] = ("hard", "random", "easy")


BACKBONES = ("efficientnet-lite0", "resnet50", "resnet101")
"""Encoders that are always there."""

HUGGING_FACE_PREFIX = "hf:"
"""What follows is a folder or hub name of the `transformers` package, or a configuration as JSON."""

Decoder = Literal["light", "paper"]
DECODERS: tuple[Decoder, ...] = ("light", "paper")
Norm = Literal["group", "batch"]
NORMS: tuple[Norm, ...] = ("group", "batch")
Optimiser = Literal["adamw", "sgd"]
OPTIMISERS: tuple[Optimiser, ...] = ("adamw", "sgd")

PaperMode = Literal["partial-labels", "partial-dataset", "supervised"]
PAPER_MODES: tuple[PaperMode, ...] = ("partial-labels", "partial-dataset", "supervised")
PaperData = Literal["voc", "cityscapes"]
PAPER_DATA: tuple[PaperData, ...] = ("voc", "cityscapes")


class InvalidArgument(ValueError):
    """A caller gave a value that cannot be worked with. `argument` names it; the message says what is allowed."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument


def check_backbone(name: str) -> None:
    """Refuse a name that no backbone can have.

    Raises:
        InvalidArgument: it is none of BACKBONES and does not begin with HUGGING_FACE_PREFIX.
    """
    is_foreign = isinstance(name, str) and name.startswith(HUGGING_FACE_PREFIX) and name != HUGGING_FACE_PREFIX
    if name not in BACKBONES and not is_foreign:
        known = ", ".join(BACKBONES)
        raise InvalidArgument("backbone", f"is one of {known} or {HUGGING_FACE_PREFIX}MODEL, not {name!r}.")


_KINDS: dict[str, tuple[type, str]] = {
    "bool": (bool, "True or False"),
    "int": (Integral, "a whole number"),
    "float": (Real, "a number"),
    "tuple[int, int]": (Integral, "two whole numbers"),
    "tuple[float, float]": (Real, "two numbers"),
}
"""What a field so annotated may hold, and how to say it. Words are checked against lists of their own."""


def _check_kinds(config: Any) -> None:
    """Refuse values of another kind than their field's, before anything compares them with a number.

    Those that stay become Python's own.
    """
    for f in fields(config):
        if f.type not in _KINDS:
            continue
        kind, words = _KINDS[f.type]
        value = getattr(config, f.name)
        is_pair = f.type.startswith("tuple")
        parts = value if is_pair and isinstance(value, tuple) else (value,)
        # True is a whole number to Python; nobody who writes it means 1.
        fits = all(isinstance(part, kind) and (kind is bool or not isinstance(part, bool)) for part in parts)
        if not fits or len(parts) != 1 + is_pair:
            raise InvalidArgument(f.name, f"has to be {words}, not {value!r}.")
        # numpy's numbers are as good; JSON knows Python's alone.
        plain = tuple(_as_python(part) for part in parts)
        object.__setattr__(config, f.name, plain if is_pair else plain[0])


def _as_python(number: Any) -> bool | int | float:
    if isinstance(number, bool | int):
        return number
    return int(number) if isinstance(number, Integral) else float(number)


def _check_share(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0.0 <= value <= 1.0:
            raise InvalidArgument(name, f"has to be in [0, 1], not {value!r}.")


def _check_not_negative(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0.0 <= value < math.inf:
            raise InvalidArgument(name, f"has to be finite and at least 0, not {value!r}.")


@dataclass(frozen=True)
class RecoConfig:
    """The regional contrast (Eq. 1-4).

    Raises:
        InvalidArgument: a number or word is not allowed; `argument` names the field.
    """

    delta_w: float = 0.7  # confidence an unlabelled pixel needs to enter the contrast; paper
    delta_w_labelled: float = 1.0  # the same for pixels without a label in views around clicks, by the student's
    # confidence; 1: labels alone speak there
    delta_s: float = 0.97  # label probability below which a pixel is a hard query (Eq. 4); paper
    temperature: float = 0.5  # divisor of similarities (Eq. 1); paper's published setting
    num_queries: int = 256  # hard pixels drawn for each class; paper
    num_keys: int = 512  # negative keys; paper
    fresh_keys: bool = False  # True: keys drawn anew for each query (the paper's wording); False: one set for a class,
    # shared by its queries - the same expected loss with one small matrix product
    key_sampling: KeySampling = "active"  # "active": by the class graph (Eq. 3), paper; "uniform": every cell of the
    # other classes is as likely
    query_sampling: QuerySampling = "hard"  # by delta_s (Eq. 4): "hard", paper; "easy", the others; "random", either

    def __post_init__(self) -> None:
        _check_kinds(self)
        _check_share(self, "delta_w", "delta_w_labelled", "delta_s")
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise InvalidArgument("temperature", f"has to be finite and above 0, not {self.temperature!r}.")
        for name in ("num_queries", "num_keys"):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, f"has to be at least 1, not {getattr(self, name)!r}.")
        for name, allowed in (("key_sampling", KEY_SAMPLINGS), ("query_sampling", QUERY_SAMPLINGS)):
            if getattr(self, name) not in allowed:
                raise InvalidArgument(name, f"is one of {', '.join(allowed)}, not {getattr(self, name)!r}.")


@dataclass(frozen=True)
class FastHeadConfig:
    """The linear head that is fitted on frozen features.

    Raises:
        InvalidArgument: a number is not allowed; `argument` names the field.
    """

    weight_decay: float = 0.03  # L2 weight on standardised features; measured best at 100-500 clicks on road scenes
    balance: float = 1.0  # 0: every click counts the same, 1: every class counts the same
    max_iterations: int = 100  # L-BFGS steps at most; from nothing to the optimum took 30 to 60 on road scenes
    calibrate: bool = True  # divide logits by the temperature that suits labels left out of the fit, from 200 labels

    def __post_init__(self) -> None:
        _check_kinds(self)
        _check_not_negative(self, "weight_decay", "balance")
        if self.max_iterations < 1:
            raise InvalidArgument("max_iterations", f"has to be at least 1, not {self.max_iterations!r}.")


@dataclass(frozen=True)
class ViewConfig:
    """Weak and strong views. The strong ones are the paper's published setting.

    Raises:
        InvalidArgument: a number is not allowed; `argument` names the field.
    """

    scale: tuple[float, float] = (0.8, 1.25)  # random rescale; narrower than the paper's 0.5-1.5: runs are short
    flip: float = 0.5  # probability of a mirrored view
    jitter: float = 0.8  # probability of colour jitter
    brightness: float = 0.25  # factors are drawn from 1 - x .. 1 + x
    contrast: float = 0.25
    saturation: float = 0.25
    hue: float = 0.25  # turn of the colour circle, in turns, drawn from -x .. x
    blur: float = 0.5  # probability of a Gaussian blur
    blur_sigma_px: tuple[float, float] = (0.15, 1.15)

    def __post_init__(self) -> None:
        _check_kinds(self)
        for name in ("scale", "blur_sigma_px"):
            ends = getattr(self, name)
            if not 0.0 < ends[0] <= ends[1] < math.inf:
                raise InvalidArgument(name, f"is (lowest, highest), finite and above 0, not {ends!r}.")
        _check_share(self, "flip", "jitter", "brightness", "contrast", "saturation", "hue", "blur")


_PARTS = (("reco", RecoConfig), ("fast_head", FastHeadConfig), ("views", ViewConfig))
"""Fields of TrainConfig that are configurations themselves."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run. `from_dict(to_dict())` gives the same run again.

    Raises:
        InvalidArgument: a number or word is not allowed; `argument` names the field.
    """

    num_classes: int
    steps: int = 60  # about 80 seconds of processor time at the default crop; the app takes `steps_for`
    method: Method = "classmix"
    use_reco: bool = True
    seed: int = 0
    crop: tuple[int, int] = (288, 384)  # height, width of a view, input pixels; multiples of SIDE_MULTIPLE
    batch_labelled: int = 2  # views around clicks
    batch_unlabelled: int = 2  # views of any image; the labels they have are kept
    head_lr: float = 1e-3  # AdamW; decoder and heads
    direct_lr: float = 4e-4  # AdamW; the layer that holds the fast head's solution
    backbone_lr: float = 4e-4  # AdamW; a quarter of it barely moves in 60 steps (road scenes, 120 clicks)
    frozen_stages: int = 1  # 0-4 first stages of the backbone that stay as they are: half of a step's time is there
    weight_decay: float = 1e-4
    warm_up_steps: int = 3  # backbone and direct layer wait while the fresh heads settle
    lr_power: float = 0.9  # polynomial decay; paper
    ema_decay: float = 0.99  # upper bound of the teacher's decay, lower in runs below 600 steps; paper
    balance: float = 0.5  # class weights of the supervised term, as FastHeadConfig.balance
    pseudo_weight: float = 1.0  # paper
    contrast_weight: float = 0.01  # the paper's 1 drowns a few dozen clicks in a run of a few dozen steps
    contrast_wait_steps: int = 0  # steps before the contrast may move the backbone; the heads feel it from the first
    clip_norm: float = 5.0  # longest gradient, L2
    hold_out: float = 0.1  # share of clicks kept from training to choose between teacher and fast head ...
    hold_out_from: int = 300  # ... once there are this many; below, each click is worth more in training
    backbone: str = "efficientnet-lite0"  # one of BACKBONES or "hf:MODEL"; paper: resnet101
    decoder: Decoder = "light"  # "paper": its head sizes, four times the work on lite0
    norm: Norm = "group"  # of decoder and heads; "batch", paper, wants batches of more than a few views
    train_batch_norm: bool = False  # True, paper: the backbone normalises by the batch; False: as it was pretrained
    fast_start: bool = True  # False, paper: begin at a random decoder, not at the fast head's solution
    optimiser: Optimiser = "adamw"  # "sgd": with Nesterov's momentum, paper
    momentum: float = 0.9  # of SGD; paper
    reco: RecoConfig = field(default_factory=RecoConfig)
    fast_head: FastHeadConfig = field(default_factory=FastHeadConfig)
    views: ViewConfig = field(default_factory=ViewConfig)

    def __post_init__(self) -> None:
        _check_kinds(self)
        for name, part in _PARTS:
            if not isinstance(getattr(self, name), part):
                raise InvalidArgument(name, f"has to be a {part.__name__}, not {getattr(self, name)!r}.")
        if not 1 <= self.num_classes <= MAX_CLASSES:
            raise InvalidArgument("num_classes", f"has to be 1 to {MAX_CLASSES}, not {self.num_classes!r}.")
        if self.method not in METHODS:
            raise InvalidArgument("method", f"is one of {', '.join(METHODS)}, not {self.method!r}.")
        if self.steps < 0:
            raise InvalidArgument("steps", f"cannot be negative ({self.steps!r}).")
        if not -(2**63) <= self.seed < 2**63:
            raise InvalidArgument("seed", f"has to fit in 64 bits, {self.seed!r} does not.")
        if any(side < SIDE_MULTIPLE or side % SIDE_MULTIPLE for side in self.crop):
            raise InvalidArgument("crop", f"is (height, width) in multiples of {SIDE_MULTIPLE}, not {self.crop!r}.")
        if not 0 <= self.frozen_stages <= 4:
            raise InvalidArgument("frozen_stages", f"is 0 to 4, not {self.frozen_stages!r}.")
        if self.batch_labelled < 1 or self.batch_unlabelled < 1:
            raise InvalidArgument("batch_labelled, batch_unlabelled", "have to be at least 1.")
        _check_not_negative(self, "head_lr", "direct_lr", "backbone_lr", "weight_decay", "lr_power", "balance")
        _check_not_negative(self, "pseudo_weight", "contrast_weight", "warm_up_steps", "contrast_wait_steps")
        _check_not_negative(self, "hold_out_from")
        _check_share(self, "ema_decay", "hold_out")
        if not self.clip_norm > 0.0:
            raise InvalidArgument("clip_norm", f"has to be above 0, not {self.clip_norm!r}.")
        check_backbone(self.backbone)
        choices: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("decoder", DECODERS),
            ("norm", NORMS),
            ("optimiser", OPTIMISERS),
        )
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise InvalidArgument(name, f"is one of {', '.join(allowed)}, not {getattr(self, name)!r}.")
        if not 0.0 <= self.momentum < 1.0:
            raise InvalidArgument("momentum", f"has to be in [0, 1), not {self.momentum!r}.")

    @classmethod
    def paper(cls, num_classes: int, *, mode: PaperMode = "partial-labels", data: PaperData = "voc") -> Self:
        """The setting that the paper publishes, for a GPU and a day; change single fields with `dataclasses.replace`.

        Learning rates fall with every step; the paper lets them fall with every 200th.

        Args:
            mode: "partial-labels", some pixels of all images; "partial-dataset", whole label maps of some images and
                none of the others; "supervised", no unlabelled views, ReCo on what is labelled. The mode sets how the
                batch is made up; which pixels are labelled is said by the images.
            data: whose crop and batch.

        Raises:
            InvalidArgument: mode or data are none of the known ones.
        """
        if mode not in PAPER_MODES:
            raise InvalidArgument("mode", f"is one of {', '.join(PAPER_MODES)}, not {mode!r}.")
        if data not in PAPER_DATA:
            raise InvalidArgument("data", f"is one of {', '.join(PAPER_DATA)}, not {data!r}.")
        is_voc = data == "voc"
        crop, half_batch = ((336, 336), 10) if is_voc else ((512, 512), 2)
        is_supervised = mode == "supervised"
        return cls(
            num_classes,
            steps=40_000,
            method="supervised" if is_supervised else "classmix",
            crop=crop,  # VOC: the paper's 321, in whole cells
            batch_labelled=2 * half_batch if is_supervised else half_batch,
            batch_unlabelled=half_batch,
            backbone="resnet101",
            decoder="paper",
            norm="batch",
            train_batch_norm=True,
            fast_start=False,
            frozen_stages=0,
            optimiser="sgd",
            momentum=0.9,
            head_lr=2.5e-3,
            direct_lr=0.0,
            backbone_lr=2.5e-3,
            weight_decay=5e-4,
            warm_up_steps=0,
            lr_power=0.9,
            ema_decay=0.99,
            balance=0.0,
            pseudo_weight=1.0,
            contrast_weight=1.0,
            contrast_wait_steps=0,
            clip_norm=1e9,  # the paper clips nothing; JSON knows no infinity
            hold_out=0.0,
            reco=RecoConfig(),
            views=ViewConfig(scale=(0.5, 1.5) if is_voc else (1.0, 1.0)),
        )

    @property
    def architecture(self) -> dict[str, Any]:
        """Arguments of `build_network` that say which network is trained."""
        return {"backbone": self.backbone, "decoder": self.decoder, "norm": self.norm}

    @property
    def uses_unlabelled(self) -> bool:
        """Whether a step looks at unlabelled views at all."""
        return self.method != "supervised"

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, after a trip through JSON or not.

        Raises:
            InvalidArgument: a field is unknown or missing, or its value is not allowed.
        """
        _check_is_mapping(values, "config")
        given = dict(values)
        for name, part in _PARTS:
            if name in given:
                given[name] = _build(part, given[name], name)
        built = _build(cls, given, "config")
        assert isinstance(built, cls)
        return built


def _check_is_mapping(values: object, where: str) -> None:
    if not isinstance(values, Mapping):
        raise InvalidArgument(where, f"has to be fields by name, not {values!r}.")


def steps_for(labelled_images: int) -> int:
    """Steps of an interactive run on so many labelled images: each is looked at about three times, 60 to 300 steps.

    Measured on road scenes (tables in worker/README.md): with 92 labelled images 60 steps end below the fast head, 150
    at it or above; 60 end above it with 12 images, and 300 with 367 of 20 clicks each.
    """
    return min(300, max(60, math.ceil(1.6 * labelled_images)))


def _build(kind: type, values: Mapping[str, Any], where: str) -> Any:
    _check_is_mapping(values, where)
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InvalidArgument(where, f"unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}.")
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise InvalidArgument(where, f"lacks the field {missing[0]!r}.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
