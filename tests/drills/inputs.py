"""Damaged inputs of every kind: refused in one line that names what is wrong, or rightly taken."""

from __future__ import annotations

import random

from drills import flags, images, texts
from drills.process import Case
from drills.world import World


def cases(world: World, rng: random.Random) -> list[Case]:
    return [*images.cases(world, rng), *texts.cases(world), *flags.cases(world)]
