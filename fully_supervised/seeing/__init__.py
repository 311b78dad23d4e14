"""The commands of ``hardness.py``, a module each: ``add_flags(parser)``, and ``run(args, folder)``,
which makes its pictures in ``folder`` and gives a :class:`core.section.Section`."""
