"""Pictures of what a model makes of an image: input, label, prediction, HL map."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from core.analysis.colors import color_hardness, color_labels
from core.engine.metrics import map_prediction
from core.engine.resuming import unwrapped


class Pictures:
    """Pictures of a model on a data set's images.

    Args:
        dataset: an mmseg data set in test mode (labels loaded, image resized as for inference).
        model: a segmentor, wrapped or not; one with ``predict_hardness`` gets a map too.
    """

    def __init__(self, dataset: torch.utils.data.Dataset, model: nn.Module) -> None:
        self.dataset = dataset
        self.model = unwrapped(model)
        self.palette = np.array(dataset.metainfo["palette"], dtype=np.uint8)

    @torch.no_grad()
    def of(self, index: int) -> dict[str, np.ndarray]:
        """RGB pictures (H, W, 3) uint8 of one image, by name: image, label, pred and, with HL, hl.

        The model is run in eval mode and left in the mode it was in.
        """
        sample = self.dataset[index]
        training = self.model.training
        self.model.eval()
        try:
            batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
            data = self.model.data_preprocessor(batch, False)
            result = self.model.predict(data["inputs"], data["data_samples"])[0]
            pred = result.pred_sem_seg.data[0].long()  # floats from a head with one channel
            pred = map_prediction(pred, self.dataset.metainfo).cpu().numpy()
            size = pred.shape[1], pred.shape[0]
            image = sample["inputs"].numpy().transpose(1, 2, 0)[..., ::-1]  # read as BGR
            pictures = dict(
                image=cv2.resize(image, size),
                label=color_labels(result.gt_sem_seg.data[0].cpu().numpy(), self.palette),
                pred=color_labels(pred, self.palette),
            )
            if hasattr(self.model, "predict_hardness"):
                hl_map = self.model.predict_hardness(data["inputs"])[0, 0].cpu().numpy()
                pictures["hl"] = cv2.resize(color_hardness(hl_map), size)
            return pictures
        finally:
            self.model.train(training)

    def save(self, folder: Path, count: int) -> list[str]:
        """Write the pictures of ``count`` images, spread over the data set, as
        ``<stem>_<name>.png``; return the stems."""
        folder.mkdir(parents=True, exist_ok=True)
        stems = []
        spread = np.linspace(0, len(self.dataset) - 1, count).round().astype(int)
        for index in np.unique(spread):  # fewer than count in a small data set
            stem = Path(self.dataset.get_data_info(int(index))["img_path"]).stem
            stems.append(stem)
            for name, picture in self.of(int(index)).items():
                cv2.imwrite(str(folder / f"{stem}_{name}.png"), picture[..., ::-1])
        return stems
