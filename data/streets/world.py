"""What a street scene is made of: plain dataclasses in metres, no pixels.

The world: x to the right, y up, z forward from the camera. The street bends as
x = u + curvature * z**2 / 2, where u is the signed distance from the road's middle
(right positive), so everything is placed by (u, z) and bends along with the street.
Angles are in radians; a yaw of 0 looks away from the camera, pi looks at it.
Colours are RGB tuples in 0-255, before light and haze.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Camera:
    """A pinhole above the road; `pitch` moves the horizon, verticals stay vertical."""

    u: float
    height: float
    fov: float
    pitch: float
    yaw: float


@dataclass(frozen=True)
class Look:
    """Light, palette and lens of one scene."""

    domain: str
    sky_top: RGB
    sky_low: RGB
    cloud: RGB
    cloudiness: float
    haze: RGB
    haze_distance: float
    sun: tuple[float, float, float]  # unit vector towards the sun
    sun_tint: tuple[float, float, float]
    ambient: tuple[float, float, float]
    shadow: float  # 0 no shadow, 1 black
    shadow_softness: float  # metres of blur, roughly
    asphalt: RGB
    pavement: RGB
    curb: RGB
    grass: RGB
    marking: RGB
    centre_marking: RGB
    leaf: tuple[RGB, ...]
    facades: tuple[RGB, ...]
    roofs: tuple[RGB, ...]
    pole: RGB
    exposure: float
    white_balance: tuple[float, float, float]
    saturation: float
    contrast: float
    noise: float
    blur: float
    vignette: float


@dataclass(frozen=True)
class Side:
    """The cross-section of one side of the street, outward from the curb."""

    strip: float  # grass between curb and walkway; 0 for none
    walk: float
    setback: float  # from the property line to the facades
    yard: str  # "terrain" or "sidewalk"


@dataclass(frozen=True)
class Street:
    """The ground plan."""

    half_width: float
    curvature: float
    lanes: int  # per direction
    lane_width: float
    parking: bool
    left: Side
    right: Side
    crossing: float | None  # z of the middle of a cross street
    crossing_half: float
    zebra: bool
    centre_line: str  # "dashed", "solid", "double", "none"
    rails: tuple[float, ...]  # u of each track's middle
    worn: float

    def side(self, sign: int) -> Side:
        """The left (-1) or right (+1) side."""
        return self.right if sign > 0 else self.left

    def property_line(self, sign: int) -> float:
        """Distance |u| at which the walkway ends."""
        side = self.side(sign)
        return self.half_width + side.strip + side.walk

    def x(self, u: float, z: float) -> float:
        """World x of a place given along the street."""
        return u + 0.5 * self.curvature * z * z

    def heading(self, z: float) -> float:
        """Yaw of the street's direction at z."""
        return math.atan(self.curvature * z)


@dataclass(frozen=True)
class Building:
    sign: int
    u: float  # |u| of the facade
    z0: float
    z1: float
    height: float
    depth: float
    color: RGB
    roof: RGB
    style: str  # "plaster", "brick", "glass", "shed"
    pitched: bool
    shop: bool
    seed: int
    free_end: bool = True  # no neighbour on the camera's side


@dataclass(frozen=True)
class Barrier:
    """A fence, wall, hedge or guard rail between two places."""

    kind: str  # "fence", "wall", "hedge"
    u0: float
    z0: float
    u1: float
    z1: float
    height: float
    color: RGB
    style: int
    seed: int


@dataclass(frozen=True)
class Tree:
    u: float
    z: float
    height: float
    crown: float  # width of the crown
    palm: bool
    color: RGB
    seed: int
    bush: bool = False


@dataclass(frozen=True)
class Pole:
    """A lamp post, signal or sign post, with what is mounted on it."""

    kind: str  # "lamp", "signal", "mast", "sign", "bollard", "wire"
    u: float
    z: float
    height: float
    radius: float
    arm: float  # signed reach towards the road
    face: int  # state of a signal, kind of a sign
    color: RGB


@dataclass(frozen=True)
class Vehicle:
    kind: str  # "car", "van", "truck", "bus", "train"
    u: float
    z: float  # of the middle
    yaw: float
    length: float
    width: float
    height: float
    color: RGB
    second: RGB
    braking: bool = False
    style: int = 0


@dataclass(frozen=True)
class Person:
    u: float
    z: float
    yaw: float
    height: float
    stride: float
    top: RGB
    legs: RGB
    skin: RGB
    hair: RGB
    bag: bool = False


@dataclass(frozen=True)
class Cycle:
    """A bicycle or motorcycle, with or without its rider."""

    kind: str  # "bicycle", "motorcycle"
    u: float
    z: float
    yaw: float
    color: RGB
    rider: Person | None


@dataclass(frozen=True)
class Clutter:
    """Things that Cityscapes leaves void: bins, boxes, benches."""

    u: float
    z: float
    width: float
    height: float
    color: RGB


@dataclass
class Scene:
    """Everything `renderer.render` needs; `seed` feeds textures and sensor noise."""

    camera: Camera
    look: Look
    street: Street
    buildings: list[Building] = field(default_factory=list)
    actors: list[object] = field(default_factory=list)
    bonnet: RGB | None = None
    skyline: int = 0  # 0 town, 1 trees, 2 hills
    seed: int = 0


def pick(rng: np.random.Generator, options):
    """One of the options (a sequence), each equally likely."""
    return options[int(rng.integers(len(options)))]


def vary(rng: np.random.Generator, color: RGB, spread: float = 12.0, tint: float = 5.0) -> RGB:
    """The colour, made a little lighter or darker and a little tinted."""
    shift = rng.normal(0, spread) + rng.normal(0, tint, 3)
    return tuple(int(v) for v in np.clip(np.asarray(color) + shift, 8, 247))
