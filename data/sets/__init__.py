"""A file for each data set: its classes, its layout on disk, and what is made from a download."""
