"""How standing things look: houses, barriers, trees, poles, the skyline."""

from __future__ import annotations

import math

import numpy as np

from data.streets import textures
from data.streets.canvas import Canvas
from data.streets.world import Barrier, Building, Clutter, Pole, Tree, vary

STATIC, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION = 4, 11, 12, 13, 17, 19, 20, 21


def draw_skyline(canvas: Canvas) -> None:
    """What closes the street at the horizon: roofs, woods or hills."""
    rng = np.random.Generator(np.random.PCG64([canvas.scene.seed, 1]))
    look = canvas.look
    far = 260.0
    edge = 1.15 * far * math.tan(canvas.scene.camera.fov / 2)
    if canvas.scene.skyline == 2:
        xs = np.linspace(-edge * 4, edge * 4, 90)
        rise = 26 + 34 * textures.noise_patch(rng, 1, 90, 0.7)[0] ** 1.3
        ridge = [[x, y * 2.4, 1000.0] for x, y in zip(xs, rise, strict=True)]
        green = canvas.lit(np.asarray(look.leaf[0]) * 0.55 + np.asarray(look.grass) * 0.4)
        canvas.polygon([[xs[0], -40, 1000], *ridge, [xs[-1], -40, 1000]], green, VEGETATION)
    x = -edge
    while x < edge:
        if canvas.scene.skyline == 0 or rng.random() < 0.35:
            w, h = rng.uniform(8, 26), rng.uniform(7, 22)
            color = vary(rng, look.facades[int(rng.integers(len(look.facades)))])
            base = [[x, -3, far], [x + w, -3, far], [x + w, h, far], [x, h, far]]
            canvas.polygon(base, canvas.lit(color), BUILDING)
            for row in np.arange(4.0, h - 2, 5.0):
                strip = [[x + 1, row, far], [x + w - 1, row, far],
                         [x + w - 1, row + 1.3, far], [x + 1, row + 1.3, far]]  # fmt: skip
                canvas.polygon(strip, canvas.lit(np.asarray(color) * 0.6), None)
        else:
            w, h = rng.uniform(7, 14), rng.uniform(6, 13)
            turn = np.linspace(0, 2 * np.pi, 13)[:-1]
            wob = 1 + 0.12 * rng.standard_normal(12)
            across, up = 0.75 * w * np.cos(turn) * wob, 0.55 * h * np.sin(turn) * wob
            blob = np.stack([x + w / 2 + across, 0.45 * h + up, np.full(12, far)], 1)
            tone = np.asarray(look.leaf[int(rng.integers(3))]) * 0.85
            canvas.polygon(blob, canvas.lit(tone), VEGETATION)
        x += w * rng.uniform(0.55, 1.0)
    # Down to the ground, so that no sky shows between road and roofs.
    ground = [[-edge, -4, far], [edge, -4, far], [edge, 2.5, far], [-edge, 2.5, far]]
    canvas.polygon(ground, canvas.lit(np.asarray(look.leaf[1]) * 0.8), VEGETATION)


def _facing(p: np.ndarray, q: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """Unit normal of an upright face through p and q, on the side of `toward`."""
    along = q - p
    n = np.array([along[2], 0.0, -along[0]])
    n /= np.linalg.norm(n) + 1e-9
    return n if n @ (toward - p) > 0 else -n


def _light(canvas: Canvas, normal: np.ndarray) -> np.ndarray:
    return canvas.ambient + canvas.sun_tint * max(0.0, float(normal @ canvas.sun))


def draw_building(canvas: Canvas, b: Building) -> None:
    """Street facade, the end wall that looks at the camera, and the roof."""
    street = canvas.scene.street
    x0, x1 = street.x(b.sign * b.u, b.z0), street.x(b.sign * b.u, b.z1)
    near, far = np.array([x0, 0.0, b.z0]), np.array([x1, 0.0, b.z1])
    up = np.array([0.0, b.height, 0.0])
    eye = np.array([canvas.cam_x, 0.0, 0.0])
    along = far - near
    length = float(np.linalg.norm(along))
    out = np.array([along[2], 0.0, -along[0]]) / length * b.sign  # away from the street
    back = near + out * b.depth
    if b.z0 > 3.0:
        normal = _facing(near, back, eye)
        light = _light(canvas, normal)
        left, right = (near, back) if b.sign > 0 else (back, near)
        corners = [left + up, right + up, right, left]
        if b.free_end:
            canvas.textured_quad(
                corners, lambda: textures.facade(b, b.depth, b.z0, 1), BUILDING, light=light
            )
        else:  # a bare party wall above the lower neighbour
            canvas.polygon(corners, np.asarray(b.color) * 0.93 * light, BUILDING)
        if b.pitched:
            ridge = near + out * b.depth / 2 + up + np.array([0, 3.2, 0])
            tone = np.asarray(b.color) * light
            canvas.polygon([near + up, ridge, back + up], tone, BUILDING)
    if b.pitched:
        deep = out * b.depth / 2 + np.array([0.0, 3.2, 0.0])
        lean = -out * 0.7 + np.array([0.0, 0.7, 0.0])
        light = _light(canvas, lean / np.linalg.norm(lean))
        eave = -out * 0.35
        points = [near + up + deep, far + up + deep, far + up + eave, near + up + eave]
        if b.z0 < 50:
            canvas.textured_quad(points, lambda: textures.roof(b, length), BUILDING, light=light)
        else:
            canvas.polygon(points, np.asarray(b.roof) * light, BUILDING)
    light = _light(canvas, -out)
    corners = [near + up, far + up, far, near] if b.sign < 0 else [far + up, near + up, near, far]
    canvas.textured_quad(corners, lambda: textures.facade(b, length, b.z0), BUILDING, light=light)
    if b.pitched:
        gutter = [near + up - out * 0.4, far + up - out * 0.4,
                  far + up * 0.985 - out * 0.4, near + up * 0.985 - out * 0.4]  # fmt: skip
        canvas.polygon(gutter, np.asarray(b.roof) * 0.6, BUILDING)


def draw_barrier(canvas: Canvas, b: Barrier) -> None:
    """A wall, a hedge, or a fence one can see through (labelled as a whole)."""
    street = canvas.scene.street
    p = np.array([street.x(b.u0, b.z0), 0.0, b.z0])
    q = np.array([street.x(b.u1, b.z1), 0.0, b.z1])
    up = np.array([0.0, b.height, 0.0])
    eye = np.array([canvas.cam_x, 0.0, 0.0])
    normal = _facing(p, q, eye)
    light = _light(canvas, normal)
    length = float(np.linalg.norm(q - p))
    if b.kind == "hedge":
        canvas.textured_quad(
            [p + up, q + up, q, p],
            lambda: textures.leafy_strip(b.seed + int(b.z0), b.color, b.height, length),
            VEGETATION, light=light,
        )  # fmt: skip
        return
    if b.kind == "wall":
        canvas.textured_quad([p + up, q + up, q, p], lambda: _masonry(b, length), WALL, light=light)
        cap = normal * 0.22
        top = [p + up, q + up, q + up - cap, p + up - cap]
        canvas.polygon(top, canvas.lit(np.asarray(b.color) * 1.1, np.array([0, 1.0, 0])), WALL)
        return
    corners = [p + up, q + up, q, p]
    canvas.polygon(corners, None, FENCE)
    canvas.textured_quad(corners, lambda: _fence(b, length), None, light=light)


def _fence(b: Barrier, length: float) -> np.ndarray:
    """A fence to see through, (h, w, 4) uint8."""
    k = 32 if b.z0 < 30 else 16
    h, w = max(8, int(b.height * k)), max(8, int(length * k))
    alpha = np.zeros((h, w), np.uint8)
    x, y = np.arange(w) / k, np.arange(h)[:, None] / k
    if b.style == 0:  # upright bars
        alpha[:, x % 0.16 < 0.05] = 255
        alpha[(y[:, 0] > 0.08) & (y[:, 0] < 0.16)] = 255
        alpha[(y[:, 0] > b.height - 0.2) & (y[:, 0] < b.height - 0.12)] = 255
    elif b.style == 1:  # planks
        alpha[:, x % 0.24 < 0.16] = 255
        alpha[: max(1, h // 30), x % 0.48 < 0.24] = 0
        for rail in (0.25, 0.75):
            alpha[np.abs(y[:, 0] - rail * b.height) < 0.06] = 255
    else:  # wire mesh
        mesh = ((x[None] + y) % 0.22 < 0.035) | ((x[None] - y) % 0.22 < 0.035)
        alpha[mesh] = 190
        alpha[: max(1, h // 20)] = 255
    alpha[:, (x % 2.5 < 0.1) | (x > length - 0.06)] = 255
    tone = np.full((h, w, 3), b.color, np.uint8)
    return np.dstack([tone, alpha])


def _masonry(b: Barrier, length: float) -> np.ndarray:
    """A wall of stones, bricks or concrete, (h, w, 3) uint8."""
    rng = np.random.Generator(np.random.PCG64([b.seed, int(b.z0 * 10)]))
    h, w = max(8, int(b.height * 26)), max(8, int(length * 26))
    tone = 1 + 0.3 * (textures.noise_patch(rng, h, w, 0.8) - 0.5)
    tone += 0.16 * (textures.noise_patch(rng, h, w, 4.0) - 0.5)
    rows = np.arange(h)[:, None]
    if b.style < 2:
        course = 6 if b.style == 0 else 11
        shift = (rows // course % 2) * course
        joint = (rows % course == 0) | ((np.arange(w)[None] + shift) % (2 * course) == 0)
        stone = rng.normal(0, 0.07, (h // course + 1, w // (2 * course) + 2))
        tone = tone + stone[rows // course, (np.arange(w)[None] + shift) // (2 * course)]
        tone = np.where(joint, tone * 0.8, tone)
    else:
        tone = np.where(np.arange(w)[None] % 52 < 1, tone * 0.75, tone)
    tone[: max(2, h // 14)] *= 1.12
    tone[-max(2, h // 9) :] *= 0.82
    return np.clip(np.asarray(b.color) * tone[..., None], 0, 255).astype(np.uint8)


def draw_tree(canvas: Canvas, t: Tree) -> None:
    """Trunk, boughs and a leafy crown, or a bush."""
    x = canvas.scene.street.x(t.u, t.z)
    depth = canvas.depth(x, t.z)
    if depth < 4.0 and not t.bush:
        return
    leaf = canvas.lit(t.color, facing=0.6)
    crown = textures.foliage(t.seed % 11, palm=t.palm, bush=t.bush)
    if t.seed % 2:
        crown = np.ascontiguousarray(crown[:, ::-1])
    if t.bush:
        center = (x, t.height * 0.45, t.z)
        canvas.sprite(center, t.crown, t.height * 1.25, crown, leaf, VEGETATION)
        return
    bark = canvas.lit((98, 80, 64) if not t.palm else (142, 118, 92))
    thick = 0.1 + 0.014 * t.height
    base, top = (x, 0.0, t.z), (x, t.height * 0.62, t.z)
    if t.palm:
        lean = 0.05 * t.height * (1 if t.seed % 2 else -1)
        top = (x + lean, t.height * 0.93, t.z)
        canvas.limb(base, top, 0.18, 0.11, bark, VEGETATION)
        size = t.crown
        canvas.sprite((top[0], top[1], t.z), size, size, crown, leaf, VEGETATION)
        return
    canvas.limb(base, top, thick, thick * 0.6, bark, VEGETATION)
    for side in (-1, 1) if t.z < 60 else ():
        bough = (x + side * t.crown * 0.24, t.height * 0.75, t.z)
        canvas.limb((x, t.height * 0.4, t.z), bough, thick * 0.5, thick * 0.25, bark, VEGETATION)
    tall = t.height * 0.76
    center = (x, t.height - tall / 2, t.z)
    canvas.sprite(center, t.crown * 1.2, tall, crown, leaf, VEGETATION)


def _disc(canvas: Canvas, x, y, z, r, color, label, count=14) -> None:
    turn = np.linspace(0, 2 * np.pi, count + 1)[:-1] + math.pi / count
    ring = [[x + r * math.cos(t), y + r * math.sin(t), z] for t in turn]
    canvas.polygon(ring, color, label, smooth=True)


def _rect(canvas: Canvas, x, y, z, w, h, color, label) -> None:
    w, h = w / 2, h / 2
    ring = [[x - w, y - h, z], [x + w, y - h, z], [x + w, y + h, z], [x - w, y + h, z]]
    canvas.polygon(ring, color, label)


def _signal(canvas: Canvas, x: float, y: float, z: float, state: int) -> None:
    """A traffic light with its three lamps, facing the camera."""
    dark = canvas.lit((34, 36, 34) if canvas.look.domain == "real" else (216, 168, 40))
    _rect(canvas, x, y, z, 0.36, 0.98, dark, LIGHT)
    lamps = ((236, 40, 34), (250, 180, 40), (50, 226, 120))
    for k in range(3):
        lit = k == (0, 2, 1)[state]
        color = np.asarray(lamps[k]) if lit else np.asarray(lamps[k]) * 0.16 + 14
        _disc(canvas, x, y + 0.3 - 0.3 * k, z - 0.01, 0.125, color, None, 10)


def _plate(canvas: Canvas, x: float, y: float, z: float, face: int) -> None:
    """A traffic sign of one of six kinds per domain."""
    lit = canvas.lit
    white, red, blue = lit((236, 234, 230)), lit((196, 32, 34)), lit((34, 78, 168))
    z0, z1 = z - 0.02, z - 0.03
    if canvas.look.domain == "real":
        if face == 0:  # prohibition
            _disc(canvas, x, y, z0, 0.36, red, SIGN)
            _disc(canvas, x, y, z1, 0.26, white, None)
        elif face == 1:  # no parking
            _disc(canvas, x, y, z0, 0.36, red, SIGN)
            _disc(canvas, x, y, z1, 0.28, blue, None)
        elif face == 2:  # yield
            tri = [[x - 0.44, y + 0.34, z0], [x + 0.44, y + 0.34, z0], [x, y - 0.42, z0]]
            canvas.polygon(tri, red, SIGN)
            tri = [[x - 0.28, y + 0.24, z1], [x + 0.28, y + 0.24, z1], [x, y - 0.24, z1]]
            canvas.polygon(tri, white, None)
        elif face == 3:  # priority road
            _disc(canvas, x, y, z0, 0.44, white, SIGN, 4)
            _disc(canvas, x, y, z1, 0.33, lit((238, 186, 34)), None, 4)
        elif face == 4:  # pedestrian crossing
            _rect(canvas, x, y, z0, 0.62, 0.62, blue, SIGN)
            tri = [[x - 0.2, y - 0.18, z1], [x + 0.2, y - 0.18, z1], [x, y + 0.2, z1]]
            canvas.polygon(tri, white, None)
        else:  # direction board
            _rect(canvas, x, y, z0, 1.5, 0.42, lit((232, 190, 60)), SIGN)
            _rect(canvas, x, y, z1, 1.1, 0.1, lit((40, 40, 40)), None)
        return
    if face == 0:  # stop
        _disc(canvas, x, y, z0, 0.42, white, SIGN, 8)
        _disc(canvas, x, y, z1, 0.38, red, None, 8)
        _rect(canvas, x, y, z1, 0.44, 0.12, white, None)
    elif face == 1:  # speed limit
        _rect(canvas, x, y, z0, 0.5, 0.64, white, SIGN)
        _rect(canvas, x, y - 0.08, z1, 0.26, 0.24, lit((30, 30, 30)), None)
    elif face == 2:  # warning
        _disc(canvas, x, y, z0, 0.48, lit((248, 204, 40)), SIGN, 4)
    elif face == 3:  # street names
        _rect(canvas, x, y + 0.2, z0, 1.1, 0.26, lit((24, 120, 72)), SIGN)
        _rect(canvas, x, y + 0.2, z1, 0.8, 0.08, white, None)
    elif face == 4:  # no parking
        _rect(canvas, x, y, z0, 0.36, 0.52, white, SIGN)
        _rect(canvas, x, y + 0.1, z1, 0.24, 0.2, red, None)
    else:  # one way
        _rect(canvas, x, y, z0, 0.95, 0.34, lit((30, 30, 34)), SIGN)
        _rect(canvas, x, y, z1, 0.7, 0.14, white, None)


def draw_pole(canvas: Canvas, p: Pole) -> None:
    """A post and what is mounted on it."""
    x = canvas.scene.street.x(p.u, p.z)
    if canvas.depth(x, p.z) < 3.0:
        return
    color = canvas.lit(p.color, facing=0.5)
    base, top = (x, 0.0, p.z), (x, p.height, p.z)
    if p.kind == "bollard":
        canvas.limb(base, (x, p.height, p.z), p.radius, p.radius, color, POLE)
        _rect(canvas, x, p.height - 0.14, p.z - 0.02, 2 * p.radius, 0.08, (226, 224, 220), None)
        return
    canvas.limb(base, (x, 0.9, p.z), p.radius * 1.5, p.radius * 1.3, color * 0.92, POLE)
    canvas.limb(base, top, p.radius * 1.15, p.radius * 0.85, color, POLE)
    bright = (x - 0.35 * p.radius, 0.9, p.z - 0.02), (x - 0.3 * p.radius, p.height, p.z - 0.02)
    canvas.limb(*bright, p.radius * 0.3, p.radius * 0.2, np.minimum(color * 1.25, 250), None)
    if p.kind == "lamp":
        end = (x + p.arm, p.height + 0.35, p.z)
        canvas.limb(top, end, p.radius * 0.7, p.radius * 0.5, color, POLE)
        head = (end[0] + math.copysign(0.5, p.arm), end[1] + 0.02, p.z)
        canvas.limb(end, head, 0.09, 0.07, canvas.lit((190, 192, 190)), POLE)
    elif p.kind == "signal":
        _signal(canvas, x, p.height - 0.35, p.z - 0.05, p.face)
        _rect(canvas, x - math.copysign(0.3, p.u), 2.2, p.z - 0.05, 0.24, 0.5,
              canvas.lit((38, 40, 38)), LIGHT)  # fmt: skip
    elif p.kind == "mast":
        end = (x + p.arm, p.height + 0.1, p.z)
        canvas.limb(top, end, p.radius * 0.8, p.radius * 0.5, color, POLE)
        for t in (0.45, 0.95):
            _signal(canvas, x + p.arm * t, p.height - 0.35, p.z - 0.08, p.face)
        _signal(canvas, x, 3.2, p.z - 0.12, p.face)
        _rect(canvas, x + p.arm * 0.7, p.height - 0.25, p.z - 0.08, 1.3, 0.36,
              canvas.lit((24, 120, 72)), SIGN)  # fmt: skip
    else:
        _plate(canvas, x, p.height - 0.3, p.z, p.face)
        if (int(p.z * 10)) % 3 == 0 and p.height > 2.6:
            _plate(canvas, x, p.height - 1.1, p.z, (p.face + 2) % 6)


def draw_clutter(canvas: Canvas, c: Clutter) -> None:
    """A bin or box: void in Cityscapes."""
    x = canvas.scene.street.x(c.u, c.z)
    w, h = c.width / 2, c.height
    body = canvas.lit(c.color)
    front = [[x - w, 0, c.z], [x + w, 0, c.z], [x + w * 1.08, h, c.z], [x - w * 1.08, h, c.z]]
    canvas.polygon(front, body, STATIC)
    _rect(canvas, x, h, c.z - 0.02, c.width * 1.16, 0.12, body * 0.7, STATIC)
