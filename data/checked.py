"""Any mmseg data set, its files asked by :mod:`data.pairs` whenever a sample is read.

Apart from the other files: it imports mmseg.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch.utils.data import Dataset

from data.checks import stems, what_lies
from data.errors import DataError
from data.files import size_of, walk
from data.lists import LONGEST, MOST
from data.pairs import Rule, fault, id_problems, problems_of, stored_ids

with contextlib.redirect_stdout(io.StringIO()):  # says twice that an optional package is absent
    from mmcv.transforms import LoadImageFromFile
    from mmseg.datasets import BaseSegDataset
    from mmseg.datasets.transforms import LoadAnnotations
    from mmseg.registry import DATASETS

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


@DATASETS.register_module()
class CheckedDataset(Dataset):
    """A data set whose files are named when they cannot be trained on.

    The decoders take a truncated JPEG for a whole one, turn an image but not its label, wrap ids
    above 255; the metric drops labels that are no class, and on a GPU such a label ends in a device
    assert.

    Args:
        dataset: config of a data set of images and labels, itself no wrapper of others.
        ignore_index: the label value that the loss or the metric leaves out; None: the data set's.

    Raises:
        DataError: there is no image.
    """

    def __init__(self, dataset: dict, ignore_index: int | None = None) -> None:
        self.dataset = _built(dataset)
        own = getattr(self.dataset, "ignore_index", 255)
        self.ignore_index = own if ignore_index is None else ignore_index
        self.reading = Reading(self.dataset, self.ignore_index)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet: while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)  # what wrappers and hooks ask a data set

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        """A sample.

        Raises:
            DataError: its files cannot be trained on; the message names the first that is wrong.
        """
        info = self.dataset.get_data_info(index)
        files = self.reading.files(info)
        for problem in problems_of(*files, self.reading.rule):
            raise DataError(str(problem))
        try:
            sample = self.dataset[index]
        except Exception as error:
            if getattr(error, "for_user", False):
                raise  # says already what is wrong with which file
            raise DataError(f"{info.get('img_path')}: cannot be read: {error!r}") from error
        label = _label_of(sample)
        if label is not None and self.reading.trained_ids:
            path = info.get("seg_map_path") or info.get("img_path")
            wrong = id_problems(path, label, self.reading.trained_ids)
            if wrong:  # as it is on disk, where that is known
                stored = problems_of(None, files[1], self.reading.rule, pixels=True)
                raise DataError(str((stored or wrong)[0]))
        return sample


class Reading:
    """How a data set reads its files, from its transforms.

    Attributes:
        rule: for :func:`data.pairs.problems_of`; all ids are allowed where a transform that is not
            of mmcv or mmseg may make others of them.
        trained_ids: classes and the ignored value, after the transforms; empty if the data set
            names no classes.
    """

    def __init__(self, dataset: Any, ignore_index: int) -> None:
        transforms = list(getattr(getattr(dataset, "pipeline", None), "transforms", []))
        image = next((t for t in transforms if type(t) is LoadImageFromFile), None)
        label = next((t for t in transforms if type(t) is LoadAnnotations), None)
        self._image = image is not None and image.imdecode_backend in ("cv2", "pillow")
        self._label = label is not None and label.imdecode_backend in ("cv2", "pillow")
        classes = dataset.metainfo.get("classes") or ()
        self.trained_ids = {*range(len(classes)), ignore_index} if classes else set()
        self.foreign = [
            type(t).__name__
            for t in transforms
            if not type(t).__module__.startswith(("mmcv.", "mmseg."))
        ]
        ids = None
        if classes and not self.foreign:
            ids = stored_ids(len(classes), ignore_index, dataset.reduce_zero_label,
                             dataset.label_map)  # fmt: skip
        self.rule = Rule(
            ids,
            turned=self._image and image.color_type in ("color", "grayscale"),
            indices=not self._label or label.imdecode_backend == "pillow",
        )

    def files(self, info: dict) -> tuple[str | None, str | None]:
        """Image and label of a sample as far as they are files that mmcv decodes."""
        return (
            _local(info.get("img_path")) if self._image else None,
            _local(info.get("seg_map_path")) if self._label else None,
        )


def _local(path: str | None) -> str | None:
    return None if path is None or "://" in str(path) else str(path)


def _label_of(sample: Any) -> Any:
    """The label of a sample, packed or not, None where it has none."""
    if not isinstance(sample, dict):
        return None
    packed = sample.get("data_samples")
    if packed is not None:
        return packed.gt_sem_seg.data.numpy() if "gt_sem_seg" in packed else None
    return sample.get("gt_seg_map")


def _built(config: dict) -> Any:
    """The data set of a config, with an image in it.

    Raises:
        DataError: there is none: where, and what was looked for.
    """
    _check_list(config)
    try:
        dataset = DATASETS.build(config)
        _check_folder(dataset)
        if len(dataset):
            return dataset
        cause = None
    except DataError:
        raise
    except (
        Exception
    ) as error:  # mmengine stumbles over an empty list, or a folder that is not there
        cause = error
    try:
        empty = DATASETS.build(dict(config, lazy_init=True))
        folder, suffix, listed = empty.data_prefix["img_path"], empty.img_suffix, empty.ann_file
    except Exception:
        raise cause or DataError(f"{config['type']}: has no image") from None
    if listed and not os.path.isdir(listed):
        if not os.path.isfile(listed):
            raise DataError(f"{listed}: no such list of images; name the ann_file") from cause
        if not os.path.getsize(listed):
            raise DataError(f"{listed}: lists no image; name another ann_file") from cause
    elif not stems(Path(folder), suffix):
        raise DataError(
            f"{folder}: no image *{suffix} below it ({what_lies(Path(folder))}); set data_root, "
            "data_prefix.img_path or img_suffix of the data set"
        ) from cause
    raise cause or DataError(f"{folder}: no image is left of it; see the data set's filter_cfg")


def _check_folder(dataset: Any) -> None:
    """mmseg leaves out, without a word, what is named as an image and is no file.

    Raises:
        DataError: there is such a one.
    """
    if not isinstance(dataset, BaseSegDataset):
        return
    listed, folder = dataset.ann_file, dataset.data_prefix.get("img_path")
    if (listed and not os.path.isdir(listed)) or not folder or "://" in folder:
        return
    for place, folders, names in walk(folder):
        for name in (*names, *folders):
            if name.endswith(dataset.img_suffix) and not name.startswith("."):
                _require_file(Path(place, name))


def _require_file(path: Path) -> int:
    """The size of a file.

    Raises:
        DataError: it is missing, or none.
    """
    try:
        return size_of(path)
    except (OSError, DataError) as error:
        raise DataError(str(fault(path, error))) from error


def _check_list(config: dict) -> None:
    """mmseg takes a byte order mark for a letter, and a blank line for an image without a name.

    Raises:
        DataError: the data set's list of images has one.
    """
    listed = config.get("ann_file")
    if not listed or not isinstance(listed, str):
        return
    path = Path(listed) if os.path.isabs(listed) else Path(config.get("data_root") or "", listed)
    if not path.exists():
        return  # said by who reads it
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a list of images; name a file, or leave "
                        "ann_file out to read all")  # fmt: skip
    if _require_file(path) > MOST:
        raise DataError(f"{path}: too large for a list of images; name another ann_file")
    content = path.read_bytes()
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}: begins with a byte order mark, which mmseg takes for a part of "
                        "the first name; save it as UTF-8 without one")  # fmt: skip
    if max(map(len, content.split(b"\n"))) > LONGEST:
        raise DataError(f"{path}: has a line of more than {LONGEST} bytes; list one image a line")
    blank = [n for n, line in enumerate(content.rstrip().split(b"\n"), 1) if not line.strip()]
    if blank and content.strip():
        raise DataError(f"{path}: line {blank[0]} is blank, which mmseg takes for an image; "
                        "remove it")  # fmt: skip


def with_checked_samples(cfg: Config) -> Config:
    """A copy of ``cfg`` whose loaders read every data set, in whatever wrappers it is, as a
    :class:`CheckedDataset`; one that is there stays.

    What may stand in labels beside the classes is what the decode head ignores in training, and
    what the metric ignores in validation and test.
    """
    cfg = copy.deepcopy(cfg)
    for key in LOADERS:
        if cfg.get(key):
            ignored = _ignored(cfg, key)
            cfg[key].dataset = _wrapped(cfg[key].dataset, ignored)
    return cfg


def _wrapped(dataset: dict, ignored: dict) -> dict:
    """The data sets inside a wrapper (ConcatDataset, RepeatDataset, pairs, ...), or this one."""
    if dataset.get("type") == "CheckedDataset":
        return dataset
    leaf = True
    for key, value in dataset.items():
        if key == "pipeline":
            continue
        if isinstance(value, dict) and "type" in value:
            dataset[key], leaf = _wrapped(value, ignored), False
        elif isinstance(value, (list, tuple)) and any(map(_is_config, value)):
            dataset[key] = [_wrapped(x, ignored) if _is_config(x) else x for x in value]
            leaf = False
    return dict(type="CheckedDataset", dataset=dataset, **ignored) if leaf else dataset


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and "type" in value


def _ignored(cfg: Config, loader: str) -> dict:
    """``ignore_index`` of what reads a loader's labels, {} where that says nothing of it."""
    if loader == "train_dataloader":
        model = cfg.get("model") or {}
        part = model.get("decode_head") or (model.get("segmentor") or {}).get("decode_head")
    else:
        part = cfg.get(loader.replace("dataloader", "evaluator"))
    parts = part if isinstance(part, (list, tuple)) else [part or {}]
    found = {x["ignore_index"] for x in parts if x.get("ignore_index") is not None}
    return dict(ignore_index=found.pop()) if len(found) == 1 else {}
