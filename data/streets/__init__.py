"""Streets: the embedded data set. Street scenes with the 19 Cityscapes classes, made on the spot.

A scene is drawn by chance in metres (`scene`), looked at through a pinhole camera
(`renderer`) and written in the on-disk formats of Cityscapes and GTAV (`writers`). Two
domains, "real" and "game", share the grammar and differ in look and statistics, so that a
network trained on one suffers on the other. Everything follows from the seed: picture k is
the same whatever else is made, and however many workers make it.
"""

from data.streets.picture import generate
from data.streets.scene import DOMAINS
from data.streets.writers import write_cityscapes, write_gtav

__all__ = ["DOMAINS", "generate", "write_cityscapes", "write_gtav"]
