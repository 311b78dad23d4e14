"""Evaluation metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


def map_prediction(pred: torch.Tensor, metainfo: Mapping) -> torch.Tensor:
    """Class ids of a model (any shape) as those of the data set: ``prediction_map`` of its
    metainfo, if it has one."""
    if metainfo.get("prediction_map") is None:
        return pred
    return pred.new_tensor(metainfo["prediction_map"])[pred.long()]


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` (one confusion matrix over the data set) that also returns each class.

    Adds ``IoU/<class>`` in percent, NaN for a class that neither label nor prediction holds.
    mmseg prints these in a table only.

    A data set whose classes are not the model's names in its metainfo, as ``prediction_map``, which
    of its own classes each class of the model is (255: none).
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            pred = sample["pred_sem_seg"]["data"]
            sample["pred_sem_seg"]["data"] = map_prediction(pred, self.dataset_meta)
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        metrics = super().compute_metrics(results)
        if metrics and "mIoU" in self.metrics:
            intersect, union = (sum(row[k] for row in results).numpy() for k in (0, 1))
            with np.errstate(invalid="ignore"):
                iou = 100 * intersect / union
            names = self.dataset_meta["classes"]
            metrics.update({f"IoU/{name}": float(x) for name, x in zip(names, iou, strict=True)})
        return metrics
