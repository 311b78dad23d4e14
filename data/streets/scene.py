"""Draw a street scene: ground plan, rows of houses and trees, traffic, people.

Nothing here knows a pixel: `sample_scene` returns dataclasses in metres
(`data.streets.world`), and `data.streets.renderer` looks at them through a camera.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from data.streets import roadside, traffic
from data.streets.looks import sample_look
from data.streets.world import Camera, Scene, Side, Street, pick, vary

DOMAINS: tuple[str, ...] = ("real", "game")

# Classes too rare to be left to chance: `generate` asks for one on the road and one beside it, each
# in turn, and has them near enough that a small network learns them in minutes.
ON_ROAD: tuple[str, ...] = ("train", "bus", "truck", "motorcycle", "rider")
BESIDE: tuple[str, ...] = ("wall", "fence", "signal", "bicycle")
FEATURES = (*ON_ROAD, *BESIDE)


def _side(rng: np.random.Generator, domain: str) -> Side:
    real = domain == "real"
    strip = float(rng.uniform(0.9, 2.2)) if rng.random() < (0.4 if real else 0.45) else 0.0
    walk = float(rng.uniform(2.6, 5.0) if real else rng.uniform(3.0, 5.5))
    setback = 0.0
    if rng.random() < (0.4 if real else 0.55):
        setback = float(rng.uniform(2.0, 7.0) if real else rng.uniform(3.0, 10.0))
    yard = "terrain" if rng.random() < 0.75 else "sidewalk"
    return Side(strip, walk, setback, yard)


def _street(rng: np.random.Generator, domain: str, rails: bool, signal: bool) -> Street:
    real = domain == "real"
    lanes = 1 if rng.random() < (0.62 if real else 0.4) else 2
    lane_width = float(rng.uniform(2.9, 3.5) if real else rng.uniform(3.3, 3.9))
    if rails and lanes == 1:
        lane_width += 0.4
    parking = bool(rng.random() < (0.62 if real else 0.55))
    half_width = lanes * lane_width + (2.3 if parking else 0.4)
    curvature = 0.0
    if rng.random() < 0.5:
        curvature = float(pick(rng, (-1, 1)) * rng.uniform(0.0008, 0.006))
    crossing = float(rng.uniform(20, 55)) if rng.random() < 0.55 else None
    crossing = float(rng.uniform(17, 26)) if signal else crossing
    centre = pick(rng, ("dashed", "dashed", "none", "solid") if real else ("double", "dashed"))
    return Street(
        half_width=half_width,
        curvature=curvature,
        lanes=lanes,
        lane_width=lane_width,
        parking=parking,
        left=_side(rng, domain),
        right=_side(rng, domain),
        crossing=crossing,
        crossing_half=float(rng.uniform(3.5, 6.0)),
        zebra=bool(rng.random() < 0.7),
        centre_line="none" if rails else centre,
        rails=(-0.5 * lane_width, 0.5 * lane_width) if rails else (),
        worn=float(rng.uniform(0.1, 0.7) if real else rng.uniform(0.0, 0.25)),
    )


def sample_scene(rng: np.random.Generator, domain: str, features: Collection[str] = ()) -> Scene:
    """Draw one scene.

    Args:
        rng: the only source of chance; the same state gives the same scene.
        domain: "real" or "game".
        features: of `FEATURES`, to be placed near and visible; all else is left to chance.

    Raises:
        ValueError: for an unknown domain or feature.
    """
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; known: {', '.join(DOMAINS)}")
    if unknown := sorted(set(features) - set(FEATURES)):
        raise ValueError(f"unknown feature {unknown[0]!r}; known: {', '.join(FEATURES)}")
    real = domain == "real"
    look = sample_look(rng, domain)
    rails = "train" in features or rng.random() < (0.16 if real else 0.1)
    street = _street(rng, domain, bool(rails), "signal" in features)
    lane = int(rng.integers(street.lanes))
    camera = Camera(
        u=(lane + 0.5) * street.lane_width + float(rng.normal(0, 0.2)),
        height=float(rng.uniform(1.3, 1.6)),
        fov=float(np.radians(rng.uniform(48, 56) if real else rng.uniform(54, 64))),
        pitch=float(rng.normal(0.0 if real else 0.012, 0.012)),
        yaw=float(rng.normal(0, 0.02)) + 6.0 * street.curvature,
    )
    scene = Scene(camera, look, street, seed=int(rng.integers(2**31)))
    scene.skyline = int(pick(rng, (0, 0, 1) if real else (0, 1, 2, 2)))
    if real and rng.random() < 0.92:
        scene.bonnet = vary(rng, (46, 48, 52), 10, 3)
    roadside.build_rows(rng, scene, features)
    traffic.populate(rng, scene, features)
    return scene
