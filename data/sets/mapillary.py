"""Mapillary Vistas v1.2: its 66 label ids, and which of them are classes of Cityscapes.

On disk: ``validation/images/NAME.jpg`` and ``validation/v1.2/labels/NAME.png``, palette images
whose indices are the ids (Neuhold et al., "The Mapillary Vistas dataset", ICCV 2017).
"""

from __future__ import annotations

from data.sets.cityscapes import CLASSES

NUM_IDS = 66

# By id: the mapping that papers on domain generalisation evaluate with, as the code of RobustNet
# (Choi et al., CVPR 2021) has it. Ids that are not named are void: crosswalks, bike lanes, bridges,
# guard rails, signs seen from behind and the like.
_TRAINED = {
    2: "sidewalk",  # Curb
    3: "fence",
    6: "wall",
    13: "road",
    15: "sidewalk",
    17: "building",
    19: "person",
    20: "rider",  # Bicyclist
    21: "rider",  # Motorcyclist
    22: "rider",  # Other Rider
    24: "road",  # Lane Marking - General
    27: "sky",
    29: "terrain",
    30: "vegetation",
    41: "road",  # Manhole
    45: "pole",
    47: "pole",  # Utility Pole
    48: "traffic light",
    50: "traffic sign",  # Traffic Sign (Front)
    52: "bicycle",
    54: "bus",
    55: "car",
    57: "motorcycle",
    58: "train",  # On Rails
    61: "truck",
}

ID_TO_TRAIN_ID: dict[int, int] = {
    i: CLASSES.index(_TRAINED[i]) if i in _TRAINED else 255 for i in range(NUM_IDS)
}
