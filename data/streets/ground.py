"""Sky and ground, shaded pixel by pixel.

Every ground pixel is traced back to (u, z) on the plan; road, curb, walkway, grass, lane
markings and rails are then conditions on u and z, so label and colour share one geometry.
"""

from __future__ import annotations

import cv2
import numpy as np

from data.streets.canvas import SUPERSAMPLE, Canvas
from data.streets.textures import TILE, fine_tile, lookup, noise_tile
from data.streets.world import Barrier, Cycle, Person, Pole, Tree, Vehicle

ROAD, SIDEWALK, TERRAIN, SKY = 7, 8, 22, 23


def draw_sky(canvas: Canvas) -> None:
    """Gradient and clouds over the whole picture; ground comes on top."""
    # Smooth enough to be drawn coarsely and enlarged.
    width, height = canvas.width // SUPERSAMPLE, canvas.height // SUPERSAMPLE
    focal, horizon = canvas.focal / SUPERSAMPLE, canvas.horizon / SUPERSAMPLE
    look, rows = canvas.look, int(min(height, max(2, horizon + 3)))
    up = (horizon - np.arange(rows, dtype=np.float32))[:, None] / focal
    rise = np.clip(up / 0.42, 0, 1) ** 0.6
    low, top = np.asarray(look.sky_low, np.float32), np.asarray(look.sky_top, np.float32)
    sky = (low * (1 - rise[..., None]) + top * rise[..., None]).repeat(width, 1)
    across = (np.arange(width, dtype=np.float32)[None] - width / 2) / focal
    # Clouds lie on a flat ceiling: they crowd together towards the horizon.
    far = 1.0 / np.maximum(up, 0.012)
    seed = canvas.scene.seed
    u = across * far * 26 + seed % 251 + np.zeros_like(far)
    v = far * 34 + seed % 83 + np.zeros_like(across)
    cloud = cv2.remap(
        noise_tile((4, 8, 16, 32, 64), 0.6),
        (u % TILE).astype(np.float32), (v % TILE).astype(np.float32),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP,
    )  # fmt: skip
    cover = np.clip((cloud - 0.78 + 0.5 * look.cloudiness) * 4.5, 0, 1)
    cover *= np.clip(up * 9 + 0.12, 0, 0.9)
    body = np.asarray(look.cloud, np.float32) * (0.9 + 0.16 * cloud[..., None])
    sky = sky * (1 - cover[..., None]) + body * cover[..., None]
    if look.domain == "game" and look.sun[2] > 0:
        glow = np.exp(-((across - look.sun[0]) ** 2 + (up - 0.15) ** 2) / 0.05)
        sky = sky + glow[..., None] * np.array([90, 60, 20], np.float32)
    sky = np.clip(sky, 0, 255).astype(np.uint8)
    big = cv2.resize(sky, None, fx=SUPERSAMPLE, fy=SUPERSAMPLE, interpolation=cv2.INTER_LINEAR)
    canvas.image[: len(big)] = big
    canvas.labels[:] = SKY


def _band(u: np.ndarray, middle: float, width: float, pixel: np.ndarray) -> np.ndarray:
    """Share (0-1) of a pixel covered by a line along the street; smooth where it is thin."""
    return np.clip((width / 2 - np.abs(u - middle)) / pixel + 0.5, 0, 1) * np.minimum(
        1, 2.5 * width / pixel
    )


def _markings(canvas: Canvas, u, z, pixel, on_road) -> tuple[np.ndarray, np.ndarray]:
    """White and centre-line paint, each 0-1."""
    street, game = canvas.scene.street, canvas.look.domain == "game"
    white = np.zeros_like(u)
    centre = np.zeros_like(u)
    phase = canvas.scene.seed % 9
    dash = ((z + phase) % 9.0 < 3.6).astype(np.float32)
    if street.centre_line == "dashed":
        centre = _band(u, 0, 0.14, pixel) * dash
    elif street.centre_line == "solid":
        centre = _band(u, 0, 0.13, pixel)
    elif street.centre_line == "double":
        centre = np.maximum(_band(u, -0.16, 0.12, pixel), _band(u, 0.16, 0.12, pixel))
    for lane in range(1, street.lanes):
        for sign in (1, -1):
            line = _band(u, sign * lane * street.lane_width, 0.13, pixel) * dash
            white = np.maximum(white, line)
    if street.parking:
        edge = street.lanes * street.lane_width + 0.1
        bay = ((z + phase) % 6.0 < 0.12) & (np.abs(u) > edge) & (not game)
        for sign in (1, -1):
            line = _band(u, sign * edge, 0.11, pixel)
            white = np.maximum(white, line * (1.0 if game else ((z % 2.0) < 1.0)))
        white = np.maximum(white, bay & (z < 40))
    if street.crossing is not None:
        near = street.crossing - street.crossing_half
        far = street.crossing + street.crossing_half
        inside = (z > near - 4.4) & (z < far + 4.4)
        white, centre = white * ~inside, centre * ~inside
        if street.zebra:
            stripes = (u % 1.0) < 0.5
            crosswalk = ((z > near - 3.4) & (z < near - 0.6)) | ((z > far + 0.6) & (z < far + 3.4))
            if game:  # two bars across, as in the States
                edge = (u > -99) & (
                    (np.abs(z - near + 3.2) < 0.2) | (np.abs(z - near + 0.8) < 0.2)
                    | (np.abs(z - far - 3.2) < 0.2) | (np.abs(z - far - 0.8) < 0.2)
                )  # fmt: skip
                white = np.maximum(white, edge)
            else:
                white = np.maximum(white, crosswalk & stripes)
        stop = (np.abs(z - near + 4.2) < 0.2) & (u > 0)
        white = np.maximum(white, stop.astype(np.float32))
    return white * on_road, centre * on_road


def _over(color: np.ndarray, tone, weight: np.ndarray) -> None:
    """Paint a tone over colours (h, w, 3) where weight (h, w) is above zero, in place."""
    rows, cols = np.nonzero(weight > 0.01)
    under = color[rows, cols]
    over = np.asarray(tone, np.float32) - under
    color[rows, cols] = under + over * weight[rows, cols, None].astype(np.float32)


def draw_ground(canvas: Canvas) -> None:
    """Shade everything below the horizon and label road, sidewalk and terrain.

    At the final resolution: lines get their soft edges by computation.
    """
    scene, look, street = canvas.scene, canvas.look, canvas.scene.street
    width, height = canvas.width // SUPERSAMPLE, canvas.height // SUPERSAMPLE
    focal, horizon = canvas.focal / SUPERSAMPLE, canvas.horizon / SUPERSAMPLE
    first = int(np.clip(np.ceil(horizon + 0.2), 0, height - 1))
    rows = np.arange(first, height, dtype=np.float32)[:, None] + np.float32(0.5)
    columns = np.arange(width, dtype=np.float32)[None] + np.float32(0.5)
    depth = np.float32(focal * canvas.cam_y) / np.maximum(rows - np.float32(horizon), 0.2)
    side = (columns - np.float32(width / 2)) * (depth / np.float32(focal))
    x = side * np.float32(canvas.cos) + depth * np.float32(canvas.sin) + np.float32(canvas.cam_x)
    z = depth * np.float32(canvas.cos) - side * np.float32(canvas.sin)
    u = x - np.float32(0.5 * street.curvature) * z * z
    pixel = depth / np.float32(focal) + np.zeros_like(u)
    near = np.exp(-depth / 26)  # texture fades where it would only flicker
    out = np.abs(u) - np.float32(street.half_width)

    across = np.zeros(u.shape, bool)
    if street.crossing is not None:
        walk_gap = np.abs(z - np.float32(street.crossing)) - np.float32(street.crossing_half)
        across = walk_gap < 0
    on_road = (out < 0) | across
    strip = np.where(u > 0, np.float32(street.right.strip), np.float32(street.left.strip))
    walk = np.where(u > 0, np.float32(street.right.walk), np.float32(street.left.walk))
    green = np.where(u > 0, street.right.yard == "terrain", street.left.yard == "terrain")
    beyond = out > strip + walk
    grass = (~on_road) & (((out > 0.15) & (out < strip)) | (beyond & green))
    if street.crossing is not None:  # walkways lead around the corner
        grass &= walk_gap >= np.maximum(walk, 3.0)
    kind = np.where(on_road, 0, 1) + grass  # road, sidewalk, terrain
    label = np.array([ROAD, SIDEWALK, TERRAIN], np.uint8)[kind]

    # Base colours with wear.
    seed = scene.seed
    coarse = lookup(noise_tile(), u * 9 + seed % 255, z * 5 + seed % 199) - np.float32(0.5)
    fine = lookup(fine_tile(), u * 60, z * 34) - np.float32(0.5)
    wide = lookup(noise_tile(), u * 2.2 + seed % 97, z * 0.9 + seed % 61) - np.float32(0.5)
    road = 1 + (0.10 + 0.14 * street.worn) * wide + 0.10 * coarse + 0.34 * fine * near
    tracks = np.cos(u * np.float32(4 * np.pi / street.lane_width))  # tyres polish two bands
    road += 0.035 * tracks * (np.abs(u) < street.lanes * street.lane_width)
    if street.worn > 0.25:
        seam = np.abs(wide - 0.02) < 0.007
        patch = lookup(noise_tile((4, 8), 0.8), np.floor(u * 0.8) * 37, np.floor(z * 0.16) * 53)
        road -= 0.24 * seam * near + 0.11 * (patch > 0.68)
    slab = ((u % 0.9) < 0.05 + pixel) | ((z % 0.9) < 0.05 + 0.8 * pixel)
    walkway = 1 + 0.16 * coarse + (0.24 * fine - 0.16 * slab) * near
    lawn = 1 + 0.6 * fine * (0.3 + near) + 0.55 * coarse + 0.2 * wide
    tone = np.where(kind == 0, road, np.where(kind == 1, walkway, lawn)).astype(np.float32)
    base = np.array([look.asphalt, look.pavement, look.grass], np.float32)
    color = base[kind] * tone[..., None]

    curb = 0.85 * _band(np.abs(u), street.half_width + 0.1, 0.22, pixel) * ~across
    gutter = 0.28 * _band(np.abs(u), street.half_width - 0.1, 0.2, pixel) * ~across
    if street.crossing is not None:
        curb = np.maximum(curb, (np.abs(walk_gap - 0.12) < 0.12) & (out > 0))
    _over(color, look.curb, curb)
    _over(color, (20, 20, 20), gutter)
    white, centre = _markings(canvas, u, z, pixel, on_road)
    fade = 0.9 - 0.67 * street.worn * (coarse > -0.08) - 0.13 * street.worn
    _over(color, look.marking, white * fade)
    _over(color, look.centre_marking, centre * fade)
    for track in street.rails:
        for rail in (-0.72, 0.72):
            inside = np.abs(u) < street.half_width
            _over(color, (58, 56, 56), 0.85 * _band(u, track + rail, 0.13, pixel) * inside)
            _over(color, (176, 178, 180), 0.7 * _band(u, track + rail, 0.05, pixel) * inside)

    clear = np.exp(-depth / np.float32(look.haze_distance))
    sun = canvas.ambient + canvas.sun_tint * max(0.0, look.sun[1])
    color *= (_shadow(canvas, first) * clear)[..., None] * sun.astype(np.float32)
    color += (np.asarray(look.haze, np.float32) * (1 - clear[..., None])).astype(np.float32)
    color = np.clip(color, 0, 255).astype(np.uint8)
    top = first * SUPERSAMPLE
    size = (canvas.width, canvas.height - top)
    canvas.image[top:] = cv2.resize(color, size, interpolation=cv2.INTER_NEAREST)
    canvas.labels[top:] = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)


def _shadow(canvas: Canvas, first: int) -> np.ndarray:
    """Light that reaches the ground, (rows, width) float32 in 0-1."""
    look, street = canvas.look, canvas.scene.street
    height = canvas.height // SUPERSAMPLE
    hard = np.zeros((height, canvas.width // SUPERSAMPLE), np.uint8)
    contact = np.zeros_like(hard)
    slope = -np.asarray([look.sun[0], look.sun[2]]) / max(look.sun[1], 0.15)

    def cast(plane: np.ndarray, points: np.ndarray, value: int) -> None:
        seen = canvas.clip_near(canvas.view(points))
        if len(seen) > 2:
            corner = (canvas.to_pixels(seen) * (16 / SUPERSAMPLE)).astype(np.int32) - 8
            cv2.fillPoly(plane, [corner], value, cv2.LINE_AA, 4)

    def flat(x: float, z: float) -> list[float]:
        return [x, 0.0, z]

    for b in canvas.scene.buildings:
        x0, x1 = street.x(b.sign * b.u, b.z0), street.x(b.sign * b.u, b.z1)
        if b.sign * slope[0] < 0:  # the sun stands behind this row
            dx, dz = slope * b.height
            back = b.sign * b.depth
            corners = [[x0, b.z0], [x1, b.z1], [x1 + back, b.z1], [x0 + back, b.z0]]
            points = np.array(corners + [[px + dx, pz + dz] for px, pz in corners], np.float32)
            hull = cv2.convexHull(points)[:, 0]
            cast(hard, np.stack([hull[:, 0], 0 * hull[:, 0], hull[:, 1]], 1), 255)
    turn = np.linspace(0, 2 * np.pi, 13)[:-1]
    unit = np.stack([np.cos(turn), 0 * turn, np.sin(turn)], 1)
    for item in canvas.scene.actors:
        if (item.z0 if isinstance(item, Barrier) else item.z) > 70:
            continue  # too flat to be seen
        x = street.x(item.u, item.z) if not isinstance(item, Barrier) else 0.0
        if isinstance(item, Vehicle):
            a = item.yaw + street.heading(item.z)
            fwd, right = np.array([np.sin(a), np.cos(a)]), np.array([np.cos(a), -np.sin(a)])
            place = np.array([x, item.z])
            for grow, plane, value in ((0.12, contact, 200), (-0.1, contact, 255)):
                points = [
                    place + i * fwd * (item.length / 2 + grow) + j * right * (item.width / 2 + grow)
                    for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1))
                ]
                cast(plane, np.array([flat(*p) for p in points]), value)
            tip = [p + slope * item.height * 0.9 for p in points]
            hull = cv2.convexHull(np.array(points + tip, np.float32))[:, 0]
            cast(hard, np.stack([hull[:, 0], 0 * hull[:, 0], hull[:, 1]], 1), 255)
        elif isinstance(item, Tree):
            middle = np.array([x, item.z]) + slope * (item.height * 0.65)
            for k in range(5 if item.z < 45 else 2):  # a broken crown
                at = item.seed % 7 + 1.3 * k
                m = middle + 0.3 * item.crown * np.array([np.cos(at), np.sin(at)])
                r = item.crown * 0.27
                cast(hard, [m[0], 0, m[1]] + unit * [r, 0, 1.3 * r], 210)
            if not item.bush:
                ends = np.array([x, item.z]), middle
                _streak(cast, hard, *ends, 0.16)
            cast(contact, [x, 0, item.z] + unit * [0.5, 0, 0.4], 120)
        elif isinstance(item, (Person, Cycle, Pole)) and item.z < 45:
            if isinstance(item, Pole):
                height, width, reach = item.height, item.radius * 1.4, 0.16
            else:
                height, width, reach = (1.6, 0.2, 0.34)
            start = np.array([x, item.z])
            _streak(cast, hard, start, start + slope * height, width)
            length = 0.85 if isinstance(item, Cycle) else reach
            a = item.yaw if isinstance(item, Cycle) else 0.0
            reach_x = reach + (length - reach) * abs(np.sin(a))
            reach_z = reach + (length - reach) * abs(np.cos(a))
            cast(contact, [x, 0, item.z] + unit * [reach_x, 0, reach_z], 150)
        elif isinstance(item, Barrier) and item.kind != "fence":
            p0 = np.array([street.x(item.u0, item.z0), item.z0])
            p1 = np.array([street.x(item.u1, item.z1), item.z1])
            s = slope * item.height
            cast(hard, np.array([flat(*p0), flat(*p1), flat(*(p1 + s)), flat(*(p0 + s))]), 255)
    sigma = (0.5 + look.shadow_softness) * height / 192
    soft = cv2.GaussianBlur(hard[first:], (0, 0), sigma) if look.shadow_softness else hard[first:]
    contact = cv2.GaussianBlur(contact[first:], (0, 0), 0.5 + 0.6 * height / 192)
    light = 1 - np.float32(look.shadow / 255) * soft
    return light * (1 - np.float32(0.62 / 255) * contact)


def _streak(cast, plane: np.ndarray, start: np.ndarray, end: np.ndarray, half: float) -> None:
    along = end - start
    off = half * np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-6)
    points = [start + off, end + off, end - off, start - off]
    cast(plane, np.array([[p[0], 0.0, p[1]] for p in points]), 255)
