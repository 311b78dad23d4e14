"""From files on disk to data sets; knows no model."""
