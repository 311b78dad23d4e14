"""Batches of labeled and unlabeled images in equal numbers.

A sample is one image of each kind. Both kinds come in shuffled passes of their own, so that an
epoch, as published, is one pass over the unlabeled images and several over the labeled ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import InfiniteSampler
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATA_SAMPLERS, DATASETS, MODELS, TRANSFORMS
from torch.utils.data import Dataset

from core.engine.sampling import PositionSampler


@DATASETS.register_module()
class PairDataset(Dataset):
    """``labeled[i]`` and ``unlabeled[j]`` under the names ``labeled`` and ``unlabeled``."""

    def __init__(self, labeled: dict, unlabeled: dict) -> None:
        self.labeled = DATASETS.build(labeled)
        self.unlabeled = DATASETS.build(unlabeled)

    @property
    def metainfo(self) -> dict:
        return self.labeled.metainfo

    def full_init(self) -> None:
        self.labeled.full_init()
        self.unlabeled.full_init()

    def __len__(self) -> int:
        return len(self.unlabeled)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, dict]:
        i, j = index
        return dict(labeled=self.labeled[i], unlabeled=self.unlabeled[j])


@DATA_SAMPLERS.register_module()
class PairSampler(PositionSampler):
    """:class:`PositionSampler` whose index is a pair; the dataset is a :class:`PairDataset`."""

    def __init__(self, dataset: Any, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        parts = dataset.dataset.labeled, dataset.dataset.unlabeled
        self._parts = [
            InfiniteSampler(part, shuffle=self.shuffle, seed=self.seed + i)
            for i, part in enumerate(parts)
        ]

    def _infinite_indices(self) -> Iterator[tuple[int, int]]:
        return zip(*(part._infinite_indices() for part in self._parts), strict=False)


@TRANSFORMS.register_module()
class NoAnnotations(BaseTransform):
    """In the place of ``LoadAnnotations`` for an unlabeled image: a label of zeros; no file is
    read. What padding adds becomes ``ignore_index`` as in every label, so that no pseudo label is
    made there. (The released code makes them: ``as_released.pseudo_labels_on_padding``.)"""

    def transform(self, results: dict) -> dict:
        results["gt_seg_map"] = np.zeros(results["img_shape"], dtype=np.uint8)
        results["seg_fields"].append("gt_seg_map")
        return results


@MODELS.register_module()
class PairPreProcessor(SegDataPreProcessor):
    """``SegDataPreProcessor`` that also takes a batch of :class:`PairDataset`.

    Args:
        labeled_pad_val: what the labels of labeled images are padded with in training [as all
            others: ``seg_pad_val``]. The released code pads them with 0, the first class
            (``as_released.padding_is_class_0``), and so teaches that there is road.
    """

    def __init__(self, *args: Any, labeled_pad_val: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.labeled_pad_val = labeled_pad_val

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        if "inputs" in data:  # without unlabeled images a batch is mmseg's own
            return self._padded(data, training)
        return dict(
            labeled=self._padded(data["labeled"], training),
            unlabeled=super().forward(data["unlabeled"], training),
        )

    def _padded(self, data: dict, training: bool) -> dict[str, Any]:
        usual = self.seg_pad_val
        if training and self.labeled_pad_val is not None:
            self.seg_pad_val = self.labeled_pad_val
        try:
            return super().forward(data, training)
        finally:
            self.seg_pad_val = usual
