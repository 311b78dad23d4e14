"""Pixel-hardness learning, shared by the three tracks. Knows no track and no data set."""

import warnings

# Said at every import of an mmcv without compiled operators, of which nothing here needs one.
warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
