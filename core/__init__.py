"""Pixel-hardness learning, shared by the three tracks. Knows no track and no data set."""

__version__ = "0.6.0"
