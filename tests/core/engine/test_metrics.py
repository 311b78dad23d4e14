"""The metric against counts by hand, where the model's classes are not the data set's."""

import numpy as np
import pytest
import torch

from core.engine.metrics import ClassIoUMetric, map_prediction


def evaluate(metainfo, *pairs):
    metric = ClassIoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = metainfo
    for pred, label in pairs:
        sample = dict(
            pred_sem_seg=dict(data=torch.tensor([pred])),
            gt_sem_seg=dict(data=torch.tensor([label])),
        )
        metric.process({}, [sample])
    return metric.compute_metrics(metric.results)


def test_predictions_are_read_as_the_targets_classes():
    # Classes of the model: wall, house, car, dog; of the data set: building, car.
    meta = dict(classes=("building", "car"), prediction_map=[0, 0, 1, 255])
    found = evaluate(meta, ([[0, 1, 2, 3]], [[0, 0, 0, 1]]), ([[2, 2, 3, 0]], [[1, 1, 255, 255]]))
    # building: 2 right, 1 called car. car: 2 right, 1 missed (a dog), 1 too many.
    assert found["IoU/building"] == pytest.approx(100 * 2 / 3)
    assert found["IoU/car"] == pytest.approx(100 * 2 / 4)
    assert found["mIoU"] == pytest.approx((200 / 3 + 50) / 2, abs=0.01)


def test_without_a_map_predictions_stay_as_they_are():
    pred = torch.tensor([[0, 1]])
    assert map_prediction(pred, dict(classes=("a", "b"))) is pred
    found = evaluate(dict(classes=("a", "b", "c")), ([[0, 1]], [[0, 0]]))
    assert found["IoU/a"] == 50 and found["IoU/b"] == 0 and np.isnan(found["IoU/c"])
