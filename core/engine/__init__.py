"""One way to run: configs, launch flags, atomic checkpoints, exact resume, panels, progress.

mmengine's Runner does the work; where it falls short of what a run must promise, it is wrapped
here and nowhere else.
"""

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()):  # prints twice that an optional package is absent
    import mmseg.datasets  # noqa: F401
