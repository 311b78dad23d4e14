"""Pixel-hardness learning, shared by the three tracks. Knows no track and no data set."""

from core import signals

__version__ = "0.10.0"

signals.install_for_scripts()
