"""Procedural textures: noise, facades, foliage. Colours unlit, uint8 RGB."""

from __future__ import annotations

from functools import cache, lru_cache

import cv2
import numpy as np

from data.streets.world import RGB, Building

TILE = 256  # side of the repeating noise tile
# Facades are painted at 14 pixels per metre near by, and coarser far away.
FACADE_SCALES = ((30.0, 14), (60.0, 8), (1e9, 4))


@cache
def noise_tile(octaves: tuple[int, ...] = (4, 8, 16, 32, 64, 128), gain: float = 0.7) -> np.ndarray:
    """Repeating value noise, (256, 256) float32 in 0-1; the same for everybody."""
    rng = np.random.Generator(np.random.PCG64(20240229))
    total = np.zeros((TILE, TILE), np.float64)
    weight = 1.0
    for cells in octaves:
        grid = np.pad(rng.random((cells, cells)), 4, mode="wrap").astype(np.float32)
        step = TILE // cells
        big = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += weight * big[4 * step : 4 * step + TILE, 4 * step : 4 * step + TILE]
        weight *= gain
    total -= total.min()
    return np.ascontiguousarray((total / total.max()).astype(np.float32))


@cache
def fine_tile() -> np.ndarray:
    """Repeating grain, (256, 256) float32 in 0-1."""
    return noise_tile((32, 64, 128, 256), 0.9)


def lookup(tile: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Nearest values of a repeating tile at float places given in tile pixels."""
    return tile[v.astype(np.int32) & (TILE - 1), u.astype(np.int32) & (TILE - 1)]


def noise_patch(rng: np.random.Generator, height: int, width: int, scale: float = 1.0):
    """A random piece of noise, (height, width) float32 in 0-1."""
    oy, ox = rng.integers(0, TILE, 2)
    rows = ((np.arange(height) * scale + oy).astype(int)) % TILE
    cols = ((np.arange(width) * scale + ox).astype(int)) % TILE
    return noise_tile()[np.ix_(rows, cols)]


def _windows(
    rng, wall: np.ndarray, b: Building, k: int, base: float, floor: float, pitch: float
) -> None:
    """Paint rows of windows above `base` metres onto a wall texture, in place."""
    height, width = wall.shape[:2]
    rows = int((height / k - base - 0.5) / floor)
    cols = max(1, int((width / k - 0.6) / pitch))
    margin = (width - cols * pitch * k) / 2
    glass_style = b.style == "glass"
    win_w = pitch * (0.86 if glass_style else rng.uniform(0.36, 0.5)) * k
    win_h = floor * (0.7 if glass_style else rng.uniform(0.5, 0.62)) * k
    frame = np.clip(np.asarray(b.color) + rng.choice([-60, 45, 60]), 10, 245)
    glass = np.asarray(
        rng.choice([[52, 60, 70], [70, 82, 94], [40, 46, 52]])
        if not glass_style
        else rng.choice([[82, 112, 132], [66, 98, 122], [96, 120, 122]])
    )
    sill = bool(rng.random() < 0.7)
    shutters = not glass_style and rng.random() < 0.22
    shutter = tuple(int(v) for v in rng.choice([[64, 84, 66], [104, 66, 52], [70, 78, 96]]))
    tones = glass + rng.normal(0, 9, (max(rows, 1), cols, 1))
    tones[max(rows, 1) // 2 :] += 12  # upper windows see more sky
    curtains = rng.random((max(rows, 1), cols, 1)) < 0.16
    tones = np.where(curtains, tones * 0.45 + np.array([205, 200, 188]) * 0.55, tones)
    tones = np.clip(tones, 5, 230)
    frame_tone = frame.tolist()
    for r in range(rows):
        y1 = height - (base + r * floor + floor * 0.22) * k
        y0 = y1 - win_h
        for c in range(cols):
            x0 = margin + (c + 0.5) * pitch * k - win_w / 2
            x1 = x0 + win_w
            tone = tones[r, c]
            box = [round(v) for v in (x0, y0, x1, y1)]
            if k >= 8:
                cv2.rectangle(wall, (box[0] - 1, box[1] - 1), (box[2] + 1, box[3] + 1),
                              frame_tone, -1)  # fmt: skip
            cv2.rectangle(wall, (box[0], box[1]), (box[2], box[3]), tone.tolist(), -1)
            if k < 8:
                continue  # the rest cannot be seen from there
            upper = (box[0] + 1, box[1]), (box[2] - 1, (box[1] + box[3]) // 2 - 1)
            cv2.rectangle(wall, *upper, (tone + 22).tolist(), -1)
            middle = (box[0] + box[2]) // 2
            cv2.line(wall, (middle, box[1]), (middle, box[3]), frame_tone, 1)
            if sill:
                low = box[3] + 2
                cv2.line(wall, (box[0] - 2, low), (box[2] + 2, low), (frame * 0.8).tolist(), 2)
            if shutters:
                half = max(2, int(win_w * 0.4))
                for a, z in ((box[0] - half, box[0] - 2), (box[2] + 2, box[2] + half)):
                    cv2.rectangle(wall, (a, box[1]), (z, box[3]), shutter, -1)


def _ground_floor(rng, wall: np.ndarray, b: Building, k: int, base: float) -> None:
    """Shop windows with an awning or sign band, or a socle with doors."""
    height, width = wall.shape[:2]
    top = height - int(base * k)
    if b.shop:
        band = rng.choice(
            [
                (150, 40, 36),
                (36, 66, 110),
                (40, 92, 60),
                (60, 56, 54),
                (190, 150, 50),
                (200, 196, 188),
            ]
        )
        front = np.clip(np.asarray(b.color) * 0.55, 0, 255)
        wall[top:] = front
        wall[top : top + int(0.6 * k)] = band
        x = int(0.4 * k)
        while x < width - k:
            w = int(rng.uniform(1.6, 3.2) * k)
            tone = np.clip(np.array([58, 64, 70]) + rng.normal(0, 14), 0, 255)
            x1 = min(x + w, width - 4)
            cv2.rectangle(
                wall, (x, top + int(0.85 * k)), (x1, height - int(0.35 * k)), tone.tolist(), -1
            )
            for _ in range(5 if k > 8 else 0):  # goods on display
                cx, cy = (
                    rng.integers(x, max(x + 1, x1)),
                    rng.integers(top + int(1.6 * k), height - 4),
                )
                size = rng.integers(2, 6)
                goods = rng.integers(50, 170) + rng.integers(-25, 25, 3)
                cv2.rectangle(wall, (int(cx), int(cy)), (int(min(cx + size, x1)), int(cy + size)),
                              goods.tolist(), -1)  # fmt: skip
            x = x1 + int(rng.uniform(0.25, 0.8) * k)
        # Letters on the band, as far as one can read them from a car.
        for x in range(int(width * 0.2), int(width * 0.8), 6) if k > 8 else ():
            if rng.random() < 0.75:
                cv2.line(wall, (x, top + 2), (x + int(rng.integers(0, 4)), top + int(0.5 * k)),
                         (235, 230, 220), 1)  # fmt: skip
    else:
        socle = np.clip(np.asarray(b.color) * 0.7, 0, 255)
        wall[height - int(0.7 * k) :] = socle
        light = (200, 196, 188)
        for _ in range(max(1, int(width / k / 7))):
            x = int(rng.uniform(0.1, 0.85) * width)
            tone = rng.choice([[70, 48, 36], [52, 62, 58], [90, 88, 86], [104, 46, 42]])
            size = (x + int(1.1 * k), height)
            cv2.rectangle(wall, (x - 2, height - int(2.5 * k)), (size[0] + 2, height), light, -1)
            cv2.rectangle(wall, (x, height - int(2.35 * k)), size, tone.tolist(), -1)
        x = 1.0
        while x < width / k - 2:
            if rng.random() < 0.6:
                a, z = int(x * k), int((x + 1.1) * k)
                cv2.rectangle(wall, (a - 1, height - int(2.4 * k)), (z + 1, height - int(1.0 * k)),
                              (210, 206, 200), -1)  # fmt: skip
                cv2.rectangle(wall, (a, height - int(2.35 * k)), (z, height - int(1.05 * k)),
                              (56, 62, 70), -1)  # fmt: skip
            x += rng.uniform(1.8, 2.8)


def facade(b: Building, width: float, distance: float, salt: int = 0) -> np.ndarray:
    """The wall of a building, (height, width, 3) uint8, as finely as the distance asks."""
    rng = np.random.Generator(np.random.PCG64([b.seed, salt]))
    k = next(scale for limit, scale in FACADE_SCALES if distance < limit)
    h, w = max(8, int(b.height * k)), max(8, int(width * k))
    wall = np.empty((h, w, 3), np.uint8)
    wall[:] = b.color
    if k > 8:  # stains, grain and courses of bricks
        tone = 0.87 + 0.18 * noise_patch(rng, h, w, 0.7) + 0.08 * noise_patch(rng, h, w, 3.0)
        if b.style == "brick":
            tone *= (1 - 0.09 * ((np.arange(h) // 2) % 2))[:, None]
        tone = np.minimum(tone, 255 / max(b.color))
        for channel in range(3):
            wall[..., channel] = tone * b.color[channel]
    floor = float(rng.uniform(2.9, 3.4))
    base = 3.6 if b.shop else float(rng.uniform(3.0, 3.4))
    if b.style == "shed":
        ribs = (np.arange(w) % 5 == 0)[None, :, None]
        wall = np.ascontiguousarray(np.where(ribs, wall * 0.86, wall).astype(np.uint8))
        door = int(w * rng.uniform(0.15, 0.6))
        cv2.rectangle(wall, (door, h - int(3.2 * k)), (door + int(3.4 * k), h), (120, 124, 126), -1)
        for y in range(h - int(3.1 * k), h, 5):
            cv2.line(wall, (door, y), (door + int(3.4 * k), y), (96, 100, 102), 1)
        wall[: int(0.9 * k)] = np.clip(np.asarray(b.roof) * 0.9, 0, 255)
        return wall
    pitch = float(rng.uniform(2.0, 2.6) if b.style == "glass" else rng.uniform(2.1, 3.3))
    _windows(rng, wall, b, k, base, floor, pitch)
    _ground_floor(rng, wall, b, k, base)
    if rng.random() < 0.4:
        light = np.clip(np.asarray(b.color) * 1.14, 0, 255)
        for r in range(int(b.height / floor)):
            y = h - int((base + r * floor) * k)
            wall[max(0, y - 1) : max(0, y + 1)] = light
    cornice = np.clip(np.asarray(b.color) * rng.choice([0.72, 1.15]), 0, 255)
    wall[: int(0.45 * k)] = cornice
    wall[int(0.45 * k) : int(0.45 * k) + 2] = cornice * 0.6
    wall[:, :2] = (wall[:, :2] * 0.75).astype(np.uint8)  # the joint to the next house
    return wall


def roof(b: Building, width: float) -> np.ndarray:
    """A tiled roof, (42, w, 3) uint8."""
    rng = np.random.Generator(np.random.PCG64([b.seed, 7]))
    h, w = 42, max(8, int(width * 10))
    tiles = np.asarray(b.roof, np.float32) * (0.9 + 0.3 * noise_patch(rng, h, w, 2.0)[..., None])
    tiles *= (1 - 0.12 * (np.arange(h) % 3 == 0))[:, None, None]
    out = np.clip(tiles, 0, 255).astype(np.uint8)
    for x in range(int(rng.integers(10, 40)), w - 14, int(rng.integers(34, 60))):
        if rng.random() < 0.55:  # a skylight
            out[16:30, x : x + 9] = (96, 108, 122)
    return out


@lru_cache(maxsize=64)
def foliage(shape: int, *, palm: bool = False, bush: bool = False) -> np.ndarray:
    """A crown without colour, (160, 160, 3) uint8: tone (128 is 1), alpha, alpha of the label."""
    rng = np.random.Generator(np.random.PCG64([shape, 3]))
    n = 160
    if palm:
        return _palm(rng, n)
    yy, xx = np.mgrid[0:n, 0:n].astype(np.float32)
    # A crown is a heap of lit tufts of leaves: upper ones light, gaps dark.
    body = np.zeros((n, n), np.float32)
    shade = np.full((n, n), 0.55, np.float32)
    order = []
    for _ in range(90):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * 0.38
        cx = n * (0.5 + reach * np.cos(angle) * 1.05)
        cy = n * (0.5 + reach * np.sin(angle) * (0.75 if bush else 1.0))
        order.append((cy, cx, n * rng.uniform(0.05, 0.12)))
    for cy, cx, r in sorted(order, reverse=True):
        x0, x1 = max(0, int(cx - r)), min(n, int(cx + r) + 1)
        y0, y1 = max(0, int(cy - r)), min(n, int(cy + r) + 1)
        px, py = xx[y0:y1, x0:x1] - cx, yy[y0:y1, x0:x1] - cy
        d2 = (px * px + py * py) / (r * r)
        light = 0.66 - 0.2 * py / r - 0.08 * px / r - 0.12 * d2
        light += 0.36 * (0.5 - cy / n) + rng.normal(0, 0.05)
        body[y0:y1, x0:x1] = np.maximum(body[y0:y1, x0:x1], np.clip(1.5 * (1 - d2), 0, 1))
        shade[y0:y1, x0:x1] = np.where(d2 < 1, light, shade[y0:y1, x0:x1])
    leaves = noise_patch(rng, n, n, 2.2)
    coarse = noise_patch(rng, n, n, 1.1)
    ragged = body + 1.1 * (leaves - 0.5) + 0.6 * (coarse - 0.5)
    alpha = np.clip((ragged - 0.45) * 4.0, 0, 1)
    holes = np.clip((leaves + 0.35 * body - 0.34) * 6, 0.2, 1)
    solid = cv2.GaussianBlur(alpha, (0, 0), 1.6)
    tone = 0.42 + 0.9 * shade + 1.3 * (leaves - 0.5) + 0.7 * (coarse - 0.5)
    tone = 128 * np.clip(tone, 0.25, 1.8)
    return np.ascontiguousarray(np.dstack([tone, 255 * alpha * holes, 255 * solid]), np.uint8)


def _palm(rng: np.random.Generator, n: int) -> np.ndarray:
    tone = np.zeros((n, n), np.uint8)
    alpha = np.zeros((n, n), np.uint8)
    for angle in np.sort(rng.uniform(-0.35, np.pi + 0.35, 15)):
        t = np.linspace(0, 1, 14)
        reach = n * rng.uniform(0.38, 0.48)
        x = n / 2 + reach * np.cos(angle) * t
        y = n * 0.42 - reach * 0.8 * np.sin(angle) * t + n * 0.32 * t**2
        shade = int(128 * rng.uniform(0.55, 1.3))
        for k in range(1, 14):
            leaf = int(n * 0.075 * np.sin(np.pi * min(1, t[k] + 0.12))) + 2
            for side in (-1, 1):
                tip = (int(x[k] + side * leaf * 0.3), int(y[k] + leaf))
                cv2.line(tone, (int(x[k]), int(y[k])), tip, shade, 3)
                cv2.line(alpha, (int(x[k]), int(y[k])), tip, 255, 3)
    solid = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    return np.ascontiguousarray(np.dstack([tone, alpha, solid]))


def leafy_strip(seed: int, color: RGB, height: float, width: float) -> np.ndarray:
    """A hedge, (h, w, 4) uint8 with a ragged upper edge."""
    rng = np.random.Generator(np.random.PCG64([seed, 11]))
    h, w = max(12, int(24 * height)), max(12, int(24 * width))
    leaves, coarse = noise_patch(rng, h, w, 3.0), noise_patch(rng, h, w, 1.0)
    rise = np.linspace(1.0, 0.0, h, dtype=np.float32)[:, None]
    tone = 0.55 + 0.35 * rise + 0.9 * (leaves - 0.5) + 0.4 * (coarse - 0.5)
    rgb = np.asarray(color, np.float32) * np.clip(tone, 0.2, 1.6)[..., None]
    alpha = np.clip((0.97 + 0.16 * (coarse - 0.5) + 0.12 * (leaves - 0.5) - rise) * 14, 0, 1)
    return np.ascontiguousarray(np.dstack([np.clip(rgb, 0, 255), 255 * alpha]).astype(np.uint8))
