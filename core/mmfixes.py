"""Every change that we make to mmengine, mmcv and mmseg, with its reason and the version it is for.

Seen with onedl-mmengine 0.10.12, onedl-mmcv 2.3.6 and onedl-mmsegmentation 1.4.2. What is light is
done at import; :func:`install` does what takes seconds, once.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import io
import warnings
from collections.abc import Callable

import mmengine.config.utils as mmengine_config
from mmengine.config import Config

# mmengine looks for `mmseg::…` in a package mmsegmentation; the fork is installed as another.
mmengine_config.MODULE2PACKAGE["mmseg"] = "onedl-mmsegmentation"
# Said at every import of an mmcv without compiled operators, of which nothing here needs one.
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")


@functools.cache
def install() -> None:
    """Import mmseg without its words on stdout, and give its heads the operators that they miss."""
    with contextlib.redirect_stdout(io.StringIO()):  # says twice that an optional package is absent
        importlib.import_module("mmseg.datasets")
    from mmseg.models.decode_heads import cc_head, psa_head

    from core.attention import CrissCrossAttention, PSAMask

    # None where mmcv has no compiled operators; compiled ones stay.
    cc_head.CrissCrossAttention = cc_head.CrissCrossAttention or CrissCrossAttention
    psa_head.PSAMask = psa_head.PSAMask or PSAMask


def unformatted(cfg: Config) -> Config:
    """A copy whose text is not sent through yapf.

    A run writes its config out five times, and once a checkpoint; yapf takes seconds each time.
    ``Config.fromfile`` has the switch, too, but drops it.
    """
    content = copy.deepcopy(cfg._cfg_dict)
    return Config(content, filename=cfg.filename, cfg_text=cfg.text, format_python_code=False)


def read_checkpoints_with(local: Callable, http: Callable) -> None:
    """Have mmengine read every checkpoint, those of backbones included, through our functions.

    Its own loader falls back to unpickling anything when the safe load fails: a checkpoint from a
    stranger could run code.

    Args:
        local: ``(filename, map_location) -> checkpoint``.
        http: ``(url, map_location, model_dir) -> checkpoint``.
    """
    from mmengine.runner import checkpoint
    from mmengine.runner.checkpoint import CheckpointLoader

    CheckpointLoader.register_scheme(prefixes="", loader=local, force=True)
    CheckpointLoader.register_scheme(prefixes=("http://", "https://"), loader=http, force=True)
    # The other schemes (open-mmlab://, torchvision://, mmcls://) call these two by name.
    checkpoint.load_from_http = http
    checkpoint._safe_torch_load = local
