"""Evaluation metrics."""

from __future__ import annotations

import numpy as np
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` (one confusion matrix over the data set) that also returns each class.

    Adds ``IoU/<class>`` in percent, NaN for a class that neither label nor prediction holds.
    mmseg prints these in a table only.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        metrics = super().compute_metrics(results)
        if metrics and "mIoU" in self.metrics:
            intersect, union = (sum(row[k] for row in results).numpy() for k in (0, 1))
            with np.errstate(invalid="ignore"):
                iou = 100 * intersect / union
            names = self.dataset_meta["classes"]
            metrics.update({f"IoU/{name}": float(x) for name, x in zip(names, iou, strict=True)})
        return metrics
