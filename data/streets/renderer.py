"""Look at a scene through its camera: the picture and its labels."""

from __future__ import annotations

import cv2
import numpy as np

from data.streets import people, props, vehicles
from data.streets.canvas import SUPERSAMPLE, Canvas
from data.streets.ground import draw_ground, draw_sky
from data.streets.world import Barrier, Building, Clutter, Cycle, Person, Pole, Scene, Tree, Vehicle

EGO_VEHICLE = 1
_FARTHEST = 190.0

_DRAW = {
    Building: props.draw_building,
    Barrier: props.draw_barrier,
    Tree: props.draw_tree,
    Pole: props.draw_pole,
    Clutter: props.draw_clutter,
    Vehicle: vehicles.draw_vehicle,
    Person: people.draw_person,
    Cycle: people.draw_cycle,
}


def _order(canvas: Canvas, item: object) -> float:
    """The depth at which an item is painted, far ones first.

    Long things along the street count by their far end: whatever stands before that end
    stands between them and the camera.
    """
    street = canvas.scene.street
    if isinstance(item, Building):
        return canvas.depth(street.x(item.sign * item.u, item.z1), item.z1) + 0.5
    if isinstance(item, Barrier):
        return canvas.depth(street.x(item.u1, item.z1), item.z1)
    return canvas.depth(street.x(item.u, item.z), item.z)


def _in_sight(canvas: Canvas, item: object, depth: float) -> bool:
    """False only for what lies surely outside the picture."""
    if isinstance(item, (Building, Barrier)):
        return depth > 0.5  # their textures are made only if seen
    if not 0.5 < depth < _FARTHEST:
        return False
    x = canvas.scene.street.x(item.u, item.z)
    aside = abs((x - canvas.cam_x) * canvas.cos - item.z * canvas.sin)
    reach = item.length if isinstance(item, Vehicle) else 6.0
    return aside - reach < (depth + reach) * canvas.cx / canvas.focal


def _bonnet(canvas: Canvas) -> None:
    """The camera's own car at the lower edge."""
    color = np.asarray(canvas.scene.bonnet, np.float64)
    width, height = canvas.width, canvas.height
    t = np.linspace(0, 1, 40)
    rise = 0.085 + 0.045 * np.sin(np.pi * t) ** 0.7
    edge = np.stack([t * width, height * (1 - rise)], 1)
    shape = np.concatenate([edge, [[width + 2, height + 2], [-2, height + 2]]])
    canvas.fill_pixels(shape, canvas.lit(color), EGO_VEHICLE, smooth=True)
    sky = np.asarray(canvas.look.sky_low, np.float64)
    for k, share in ((0.012, 0.34), (0.03, 0.2), (0.055, 0.1)):
        inner = shape + np.array([0, k * height])
        canvas.fill_pixels(inner, canvas.lit(color) * (1 - share) + sky * share, None, smooth=True)


def _lens(image: np.ndarray, scene: Scene) -> np.ndarray:
    """Exposure, colour and sensor, on the final (H, W, 3) float32 picture."""
    look = scene.look
    height, width = image.shape[:2]
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    image = grey[..., None] + (image - grey[..., None]) * look.saturation
    image = (image - 118) * look.contrast + 118
    image *= np.asarray(look.white_balance, np.float32) * look.exposure
    if look.blur:
        image = cv2.GaussianBlur(image, (0, 0), look.blur * max(1.0, height / 192) ** 0.5)
    if look.vignette:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        image *= (1 - look.vignette * 0.5 * (x * x + y * y))[..., None]
    if look.noise:
        rng = np.random.Generator(np.random.PCG64([scene.seed, 2]))
        # Normal noise from single random bytes, looked up: fast, and fine enough for 8 bits.
        table = np.sort(rng.standard_normal(256)).astype(np.float32) * np.float32(look.noise)
        grain = table[rng.integers(0, 256, (height, width, 1), np.uint8)]
        tint = table[rng.integers(0, 256, (height, width, 3), np.uint8)]
        image += np.float32(0.8) * grain + np.float32(0.45) * tint
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def render(scene: Scene, size: tuple[int, int] = (384, 192)) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene.

    Args:
        scene: from `data.streets.scene.sample_scene`, or built by hand.
        size: (width, height) in pixels, each at least 16.

    Returns:
        The picture, (H, W, 3) uint8 RGB, and the labels, (H, W) uint8 Cityscapes labelIds.

    Raises:
        ValueError: for a size below 16 pixels.
    """
    width, height = int(size[0]), int(size[1])
    if width < 16 or height < 16:
        raise ValueError(f"size must be at least 16x16, got {width}x{height}")
    canvas = Canvas(scene, (width, height))
    draw_sky(canvas)
    draw_ground(canvas)
    props.draw_skyline(canvas)
    everything = [*scene.buildings, *scene.actors]
    items = [(_order(canvas, item), k, item) for k, item in enumerate(everything)]
    for depth, _, item in sorted(items, key=lambda entry: (-entry[0], entry[1])):
        if _in_sight(canvas, item, depth):
            _DRAW[type(item)](canvas, item)
    if scene.bonnet is not None:
        _bonnet(canvas)
    image = cv2.resize(canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    labels = np.ascontiguousarray(canvas.labels[::SUPERSAMPLE, ::SUPERSAMPLE])
    return _lens(image.astype(np.float32), scene), labels
