"""Any backbone of the `transformers` package as a trunk (the extra `hf`).

Four of its feature maps are brought to strides 4, 8, 16 and 16, whatever they were made at: a map at stride 32 is
interpolated, and so are those of plain vision transformers. Letters: B images, H W input pixels.
"""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.backbones.resnet import imagenet_standardised
from recolabel_worker.reco.config import InvalidArgument

_STRIDES = (4, 8, 16, 16)
_GRAIN_PX = 32  # input sides of networks whose deepest map is at 1/32


class HuggingFaceTrunk(nn.Module):
    """A trunk around an `AutoBackbone`.

    Pixels are standardised by ImageNet's mean and deviation. `name` is "hf:" and the backbone's configuration as JSON:
    with it the same architecture can be built again without the hub.
    """

    stage_channels: tuple[int, int, int, int]

    def __init__(self, backbone: Any, configuration: Any) -> None:
        super().__init__()
        self.model = backbone
        fine, middle, deep, deepest = (int(channels) for channels in backbone.channels)
        self.stage_channels = (fine, middle, deep, deepest)
        self.name = "hf:" + json.dumps(configuration.to_diff_dict(), sort_keys=True, separators=(",", ":"))
        self._out_indices = tuple(int(index) for index in configuration.out_indices)
        patch = getattr(configuration, "patch_size", 1)
        # Patches of 2 or 4 pixels are merged on the way to 1/32; larger ones are the cells of a plain transformer.
        self._grain_px = patch if isinstance(patch, int) and patch > _STRIDES[0] else _GRAIN_PX

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the stages of (B, 3, H, W) RGB in 0..255, H and W multiples of 16."""
        height, width = images.shape[-2:]
        behind = (0, -width % self._grain_px, 0, -height % self._grain_px)
        padded = F.pad(imagenet_standardised(images), behind, mode="replicate")
        maps = self.model(padded).feature_maps
        fine, middle, deep, deepest = (
            _at_stride(stage, padded.shape[-1] / stage.shape[-1], stride, (height, width))
            for stage, stride in zip(maps, _STRIDES, strict=True)
        )
        return fine, middle, deep, deepest

    def freeze_stages(self, count: int) -> None:
        """Hold the embeddings and the first `count` stages fixed; 0 frees all of it.

        Stages are the entries of the model's list of stages or blocks; a model without one is held as a whole.
        """
        self.requires_grad_(not count)
        depth = self._out_indices[-1]
        lists = [part for part in self.model.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
        if not count or not lists:
            return
        for index, stage in enumerate(lists[0]):
            stage.requires_grad_(index >= self._out_indices[count - 1])


def build_hugging_face(model: str, *, pretrained: bool) -> HuggingFaceTrunk:
    """Build the trunk of a model's folder or hub name, `NAME@REVISION` for a fixed one, or of a configuration as JSON.

    Pretrained weights are read as safetensors only, and code that comes with a model is never run. With a
    configuration as JSON nothing is fetched.

    Raises:
        InvalidArgument: `transformers` is missing, or it knows no such backbone.
    """
    try:
        import transformers
    except ImportError as missing:
        raise InvalidArgument(
            "backbone",
            f"'hf:{model}' needs the package transformers. Install it with pip install 'recolabel-worker[hf]', "
            "or take another backbone.",
        ) from missing
    try:
        if model.startswith("{"):
            if pretrained:
                raise InvalidArgument("pretrained", "needs the name of a model; a configuration has no weights.")
            values = json.loads(model)
            configuration = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
            trunk = transformers.AutoBackbone.from_config(configuration)
        else:
            name, _, revision = model.partition("@")
            source = {"revision": revision or "main", "trust_remote_code": False}
            configuration = transformers.AutoConfig.from_pretrained(name, **source)
            configuration.out_indices = _spread(len(configuration.stage_names) - 1)
            trunk = transformers.AutoBackbone.from_config(configuration)
            if pretrained:
                # AutoBackbone.from_pretrained asks the hub for folders too; the class itself does not.
                trunk = type(trunk).from_pretrained(name, config=configuration, use_safetensors=True, **source)
        return HuggingFaceTrunk(trunk, trunk.config)
    except InvalidArgument:
        raise
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgument("backbone", f"'hf:{model}' gives no four feature maps: {first_line}") from error


def _spread(depth: int) -> list[int]:
    """Four of 1..depth, evenly: where the feature maps are taken."""
    return [max(1, round(depth * quarter / len(_STRIDES))) for quarter in range(1, len(_STRIDES) + 1)]


def _at_stride(stage: Tensor, made_at: float, stride: int, size: tuple[int, int]) -> Tensor:
    """A map that was made at one stride -> at another, without the cells of the padding."""
    if made_at != stride:
        stage = F.interpolate(stage, scale_factor=made_at / stride, mode="bilinear", align_corners=False)
    return stage[:, :, : size[0] // stride, : size[1] // stride]
