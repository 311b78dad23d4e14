"""Pictures of what a model makes of an image: input, label, prediction, errors, HL map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from core.analysis.colors import color_errors, color_hardness, color_labels
from core.engine.measuring import looking, see, spread
from core.engine.resuming import unwrapped


class Pictures:
    """Pictures of a model on a data set's images.

    Args:
        dataset: an mmseg data set in test mode (labels loaded, image resized as for inference).
        model: a segmentor, wrapped or not; one with ``predict_scores`` gets a map too.
    """

    def __init__(self, dataset: torch.utils.data.Dataset, model: nn.Module) -> None:
        self.dataset = dataset
        self.model = unwrapped(model)
        self.palette = np.array(dataset.metainfo["palette"], dtype=np.uint8)

    def of(self, index: int) -> dict[str, np.ndarray]:
        """RGB pictures (H, W, 3) uint8 of one image, by name: image, label, pred, err and, with HL,
        hl, which is ``sigmoid(D)`` on one scale for all.

        The model is run in eval mode and left in the mode it was in.
        """
        sample = self.dataset[index]
        with looking(self.model):
            seen = see(self.model, pseudo_collate([sample]), self.dataset.metainfo)
        label, pred = seen.label.cpu().numpy(), seen.pred.cpu().numpy()
        image = sample["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]  # read as BGR
        pictures = dict(
            image=cv2.resize(image, pred.shape[::-1]),
            label=color_labels(label, self.palette),
            pred=color_labels(pred, self.palette),
            err=color_errors(label, pred, len(self.palette)),
        )
        if seen.scores is not None:
            pictures["hl"] = color_hardness(seen.scores.cpu().numpy())
        return pictures

    def save(self, folder: Path, count: int) -> list[str]:
        """Write the pictures of ``count`` images, spread over the data set, as
        ``<stem>_<name>.png``; return the stems."""
        folder.mkdir(parents=True, exist_ok=True)
        stems = []
        for index in spread(len(self.dataset), count):
            stem = Path(self.dataset.get_data_info(index)["img_path"]).stem
            stems.append(stem)
            for name, picture in self.of(index).items():
                cv2.imwrite(str(folder / f"{stem}_{name}.png"), picture[..., ::-1])
        return stems
