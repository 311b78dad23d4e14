"""What a predictor makes of one image with a label: candidates for errors, and their figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from core.analysis import ranking

if TYPE_CHECKING:
    from core.analysis.pixels import PixelFigures
    from core.predict import Look, Predictor


def regions_in(
    predictor: Predictor,
    look: Look,
    label: np.ndarray,
    hardness: np.ndarray | None,
    *,
    min_area: int,
    classes: Iterable[int] | None = None,
) -> tuple[ranking.Candidates, ranking.Means, PixelFigures]:
    """Candidates of one image, the means of their scores, and the figures of all pixels.

    Args:
        look: of the image.
        label: (H, W), of :meth:`Images.label`.
        hardness: (H, W), of the predictor for this look, or None.
        min_area, classes: of :func:`core.analysis.ranking.candidates`.
    """
    import torch

    from core.analysis.pixels import pixel_figures

    given = torch.from_numpy(np.ascontiguousarray(label)).to(look.seg_logits.device)
    figures = pixel_figures(look.seg_logits, look.size, align_corners=predictor.align_corners,
                            label=given)  # fmt: skip
    pred, confidence, entropy, margin, loss, p_label = (x.cpu().numpy() for x in figures)
    found = ranking.candidates(label, pred, len(predictor.classes), min_area=min_area,
                               classes=classes)  # fmt: skip
    of = (confidence - p_label, loss, entropy, 1 - margin, 1 - p_label)
    hard = np.full(len(found.area), np.nan) if hardness is None else found.mean(hardness)
    return found, ranking.Means(hard, *map(found.mean, of)), figures
