"""CamVid in its 11-class form (Brostow et al., "Semantic object classes in video", 2008).

On disk: ``images/<split>/NAME.jpg`` and ``labels/<split>/NAME.png``, 8-bit, 0-10 and 11 for void.
"""

from __future__ import annotations

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
           "pedestrian", "bicyclist")  # fmt: skip
PALETTE = ((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192),
           (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
           (0, 128, 192))  # fmt: skip
VOID = 11
