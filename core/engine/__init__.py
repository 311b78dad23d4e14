"""One way to run: launch flags, atomic checkpoints, exact resume, panels, progress, sweeps.

mmengine's Runner does the work; where it falls short of what a run must promise, it is wrapped
here and nowhere else.
"""
