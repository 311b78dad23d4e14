"""How vehicles look: shaded solids with windows, wheels and lights."""

from __future__ import annotations

import math

import numpy as np

from data.streets.canvas import Canvas
from data.streets.frame import Frame
from data.streets.world import Vehicle

CAR, TRUCK, BUS, TRAIN = 26, 27, 28, 31
_LABELS = {"bus": BUS, "train": TRAIN}
_GLASS = np.array([44, 52, 60])
_TYRE = np.array([26, 26, 28])


def _quad(a0, b0, y0, a1, b1, y1) -> list[tuple[float, float, float]]:
    """A pane on a side: from a0 to a1, from height y0 (at b0) to y1 (at b1)."""
    return [(a0, b0, y0), (a1, b0, y0), (a1, b1, y1), (a0, b1, y1)]


def _solid(
    canvas: Canvas, frame: Frame, profile, half_low: float, half_high: float, color, label, glass=()
) -> None:
    """A prism from a side profile [(a, y), ...] (clockwise from rear bottom), narrowing upward.

    `glass` lists faces to be covered by a window: "side" or the index of a profile edge.
    """
    ys = [y for _, y in profile]
    low, high = min(ys), max(ys)

    def half(y: float) -> float:
        return half_low + (half_high - half_low) * (y - low) / max(high - low, 1e-6)

    def shade(points, normal, tone, what) -> None:
        canvas.polygon(frame.at(points), canvas.lit(tone, normal), what)

    count = len(profile)
    middle = (sum(a for a, _ in profile) / count, sum(ys) / count)
    for k in range(count):
        (a0, y0), (a1, y1) = profile[k], profile[(k + 1) % count]
        normal = np.array([-(y1 - y0), a1 - a0])  # outward for a clockwise profile
        if np.linalg.norm(normal) < 1e-9:
            continue
        normal /= np.linalg.norm(normal)
        seen = (frame.eye_a - a0) * normal[0] + (canvas.cam_y - y0) * normal[1] > 0
        if not seen:
            continue
        face = [(a0, -half(y0), y0), (a0, half(y0), y0), (a1, half(y1), y1), (a1, -half(y1), y1)]
        world_normal = frame.normal(normal[0], 0, normal[1])
        shade(face, world_normal, color, label)
        if k in glass:
            _inset(canvas, frame, face, 0.1, _GLASS, world_normal)
    for sign in (1, -1):
        if sign * frame.eye_b <= half_low * 0.98:
            continue
        face = [(a, sign * half(y), y) for a, y in profile]
        normal = frame.normal(0, sign, 0.15)
        shade(face, normal, color, label)
        if "side" in glass:
            pane = []
            for a, y in profile:
                ny = middle[1] + (y - middle[1]) * 0.72
                pane.append((middle[0] + (a - middle[0]) * 0.9, sign * half(ny), ny))
            canvas.polygon(frame.at(pane), canvas.lit(_GLASS + 8, normal), None)
            post = middle[0] - 0.05
            top = middle[1] + (high - middle[1]) * 0.72
            base = middle[1] + (low - middle[1]) * 0.72
            b0, b1 = sign * half(base), sign * half(top)
            pillar = _quad(post, b0, base, post + 0.1, b1, top)
            canvas.polygon(frame.at(pillar), canvas.lit(color, normal), None)


def _inset(canvas: Canvas, frame: Frame, face, margin: float, tone, normal) -> None:
    """A pane inside a four-cornered face, its upper half brightened by the sky."""
    f = np.asarray(face, np.float64)
    center = f.mean(0)
    pane = center + (f - center) * (1 - margin * np.array([1, 1, 2.0]))
    canvas.polygon(frame.at(pane), canvas.lit(tone, normal), None)
    if frame.z > 50:
        return
    upper = np.array([pane[3], pane[2], (pane[1] + pane[2]) / 2, (pane[0] + pane[3]) / 2])
    sky = 0.78 * np.asarray(tone) + 0.22 * np.asarray(canvas.look.sky_low)
    canvas.polygon(frame.at(upper), sky, None)


def _panel(canvas: Canvas, frame: Frame, a, b0, b1, y0, y1, color, glow=False) -> None:
    """A small rectangle on a front or rear face (constant a)."""
    tone = np.asarray(color) if glow else canvas.lit(color)
    canvas.polygon(frame.at([(a, b0, y0), (a, b1, y0), (a, b1, y1), (a, b0, y1)]), tone, None)


def _wheels(canvas: Canvas, frame: Frame, v: Vehicle, places, radius: float, label: int) -> None:
    half = v.width / 2
    behind = -math.copysign(1, frame.eye_a)
    for a in places:  # tyres seen end-on, under the body
        for sign in (1, -1):
            b0, b1 = sign * half * 0.98, sign * (half - 0.22)
            face = a - behind * radius * 0.6
            canvas.polygon(
                frame.at([(face, b0, 0), (face, b1, 0), (face, b1, radius), (face, b0, radius)]),
                _TYRE * 0.8, label,
            )  # fmt: skip


def _side_wheels(canvas: Canvas, frame: Frame, v: Vehicle, places, radius: float, label) -> None:
    sign = 1 if frame.eye_b > 0 else -1
    half = v.width / 2
    if sign * frame.eye_b <= half:
        return
    turn = np.linspace(0, 2 * np.pi, 15 if v.z < 30 else 9)[:-1]
    for a in places:
        arch = [(a + 1.16 * radius * math.cos(t), sign * half * 1.003,
                 radius + 1.16 * radius * max(-0.4, math.sin(t))) for t in turn]  # fmt: skip
        canvas.polygon(frame.at(arch), np.asarray(v.color) * 0.25, label)
        rings = ((1.0, _TYRE), (0.62, np.array([136, 138, 140])), (0.2, _TYRE + 30))
        for scale, tone in rings if v.z < 45 else rings[:1]:
            ring = [(a + scale * radius * math.cos(t), sign * half * 1.01,
                     radius + scale * radius * math.sin(t)) for t in turn]  # fmt: skip
            canvas.polygon(frame.at(ring), canvas.lit(tone), label)


def _lights(canvas: Canvas, frame: Frame, v: Vehicle, low: float, high: float, inner=0.62) -> None:
    half, rear = v.width / 2, v.length / 2 + 0.01
    game = canvas.look.domain == "game"
    if frame.eye_a < -v.length / 2:
        tone = (236, 40, 30) if v.braking else (138, 24, 24)
        for sign in (1, -1):
            _panel(canvas, frame, -rear, sign * half * 0.94, sign * half * inner, low, high, tone,
                   v.braking)  # fmt: skip
        plate = (232, 226, 214) if not game else (196, 206, 226)
        _panel(canvas, frame, -rear, -0.26, 0.26, low - 0.24, low - 0.12, plate)
    elif frame.eye_a > v.length / 2:
        for sign in (1, -1):
            _panel(canvas, frame, rear, sign * half * 0.94, sign * half * inner, low, high * 0.96,
                   (244, 242, 226), v.braking or game)  # fmt: skip
        _panel(canvas, frame, rear, -half * 0.5, half * 0.5, low - 0.14, high * 0.93, (30, 30, 32))
        _panel(canvas, frame, rear, -0.26, 0.26, low - 0.28, low - 0.17, (230, 228, 222))


def _car(canvas: Canvas, v: Vehicle) -> None:
    frame = Frame(canvas, v.u, v.z, v.yaw)
    long, wide, tall = v.length, v.width, v.height
    belt = 0.58 * tall if v.style != 2 else 0.6 * tall
    van = v.kind == "van"
    if van:
        belt = 0.55 * tall
    places = (-0.31 * long, 0.31 * long)
    radius = 0.33 if not van else 0.36
    _wheels(canvas, frame, v, places, radius, CAR)
    gap = 0.2
    body = [
        (-long / 2, gap + 0.05), (-long / 2, belt * 0.92), (-0.47 * long, belt),
        (0.2 * long, belt), (0.44 * long, belt * 0.88), (long / 2, belt * 0.72),
        (long / 2, gap),
    ]  # fmt: skip
    _solid(canvas, frame, body, wide / 2, wide / 2 * 0.97, v.color, CAR)
    # A dark sill all around, as bumpers are.
    if frame.eye_a < -long / 2:
        _panel(canvas, frame, -long / 2 - 0.005, -wide / 2, wide / 2, gap + 0.05, gap + 0.2,
               np.asarray(v.color) * 0.35)  # fmt: skip
    if v.style == 0 and not van:  # sedan
        cabin = [
            (-0.44 * long, belt),
            (-0.27 * long, tall),
            (0.08 * long, tall),
            (0.25 * long, belt),
        ]
    elif van:
        cabin = [
            (-0.49 * long, belt),
            (-0.48 * long, tall),
            (0.26 * long, tall),
            (0.4 * long, belt),
        ]
    else:  # hatchback, estate
        cabin = [
            (-0.48 * long, belt),
            (-0.42 * long, tall),
            (0.08 * long, tall),
            (0.26 * long, belt),
        ]
    glass = (0, 2) if van and v.style else (0, 2, "side")
    _solid(canvas, frame, cabin, wide / 2 * 0.95, wide / 2 * 0.78, v.color, CAR, glass)
    _side_wheels(canvas, frame, v, places, radius, CAR)
    if frame.eye_a < -long / 2 and v.style != 0:
        _lights(canvas, frame, v, belt * 0.72, belt * 0.98, 0.72)
    else:
        _lights(canvas, frame, v, belt * 0.68, belt * 0.86)
    if v.z > 45:
        return
    sign = 1 if frame.eye_b > 0 else -1
    b, top = sign * wide / 2, belt + 0.14
    mirror = [(0.17 * long, b, belt), (0.17 * long, b + 0.18 * sign, belt),
              (0.17 * long, b + 0.18 * sign, top), (0.17 * long, b, top)]  # fmt: skip
    canvas.polygon(frame.at(mirror), canvas.lit(np.asarray(v.color) * 0.7), CAR)


def _box(canvas: Canvas, frame: Frame, a0, a1, half, y0, y1, color, label) -> None:
    _solid(canvas, frame, [(a0, y0), (a0, y1), (a1, y1), (a1, y0)], half, half, color, label)


def _truck(canvas: Canvas, v: Vehicle) -> None:
    frame = Frame(canvas, v.u, v.z, v.yaw)
    long, wide, tall = v.length, v.width, v.height
    cab = long / 2 - 2.0
    places = (-0.34 * long, -0.34 * long + 1.15, long / 2 - 1.2)
    _wheels(canvas, frame, v, places, 0.48, TRUCK)

    def draw_cab() -> None:
        profile = [(cab + 0.1, 0.5), (cab + 0.1, tall * 0.84), (long / 2 - 0.35, tall * 0.84),
                   (long / 2, tall * 0.5), (long / 2, 0.45)]  # fmt: skip
        _solid(canvas, frame, profile, wide / 2 * 0.96, wide / 2 * 0.92, v.color, TRUCK, (2,))
        sign = 1 if frame.eye_b > 0 else -1
        if abs(frame.eye_b) > wide / 2:
            b = sign * wide / 2 * 0.97
            pane = [(cab + 0.5, b, tall * 0.52), (long / 2 - 0.12, b, tall * 0.52),
                    (long / 2 - 0.4, b, tall * 0.76), (cab + 0.5, b, tall * 0.76)]  # fmt: skip
            canvas.polygon(frame.at(pane), canvas.lit(_GLASS), None)
        if frame.eye_a > long / 2:
            _lights(canvas, frame, v, 0.6, 0.85)

    def draw_load() -> None:
        _box(canvas, frame, -long / 2, cab, wide / 2 * 0.9, 0.55, 0.95, (58, 58, 60), TRUCK)
        _box(canvas, frame, -long / 2, cab, wide / 2, 0.95, tall, v.second, TRUCK)
        if frame.eye_a < -long / 2:
            rear = -long / 2 - 0.01
            dark = np.asarray(v.second) * 0.7
            _panel(canvas, frame, rear, -0.03, 0.03, 1.0, tall - 0.1, dark)
            for b in (-0.5, 0.5):
                _panel(
                    canvas,
                    frame,
                    rear,
                    b * wide * 0.5,
                    b * wide * 0.5 + 0.05,
                    1.0,
                    tall - 0.1,
                    dark,
                )
            _panel(canvas, frame, rear, -wide / 2, wide / 2, tall - 0.12, tall, dark)
            _panel(canvas, frame, rear, -wide / 2 * 0.95, wide / 2 * 0.95, 0.5, 0.62, (160, 40, 34))
            for sign in (1, -1):
                tone = (236, 44, 30) if v.braking else (140, 26, 24)
                outer, inner = sign * wide * 0.46, sign * wide * 0.36
                _panel(canvas, frame, rear, outer, inner, 0.66, 0.84, tone, v.braking)
        sign = 1 if frame.eye_b > 0 else -1
        if abs(frame.eye_b) > wide / 2 and v.style:
            b, stripe = sign * (wide / 2 + 0.01), np.asarray(v.color)
            mark = [(-long / 2 + 0.6, b, 1.5), (cab - 0.6, b, 1.5), (cab - 0.6, b, 2.1),
                    (-long / 2 + 0.6, b, 2.1)]  # fmt: skip
            canvas.polygon(frame.at(mark), canvas.lit(stripe, frame.normal(0, sign, 0)), None)

    steps = (draw_cab, draw_load) if frame.eye_a < cab else (draw_load, draw_cab)
    for step in steps:
        step()
    _side_wheels(canvas, frame, v, places, 0.48, TRUCK)


def _coach(canvas: Canvas, v: Vehicle) -> None:
    """A bus, or one tram of several boxes."""
    frame = Frame(canvas, v.u, v.z, v.yaw)
    label = _LABELS[v.kind]
    long, wide, tall = v.length, v.width, v.height
    tram = v.kind == "train"
    places = (-0.3 * long, 0.28 * long) if not tram else ()
    if not tram:
        _wheels(canvas, frame, v, places, 0.48, label)
    low = 0.3 if not tram else 0.22
    nose = 0.12 if not tram else 0.45
    profile = [
        (-long / 2 + nose * tram, low), (-long / 2, 1.1), (-long / 2 + nose, tall),
        (long / 2 - nose, tall), (long / 2, 1.1), (long / 2 - nose * tram, low),
    ]  # fmt: skip
    _solid(canvas, frame, profile, wide / 2, wide / 2 * 0.97, v.color, label)
    roof = 1.0 if not tram else 0.93
    if abs(frame.eye_b) > wide / 2:
        sign = 1 if frame.eye_b > 0 else -1
        b = sign * (wide / 2 + 0.01)
        normal = frame.normal(0, sign, 0)

        def side(a0, a1, y0, y1, tone) -> None:
            face = [(a0, b, y0), (a1, b, y0), (a1, b, y1), (a0, b, y1)]
            canvas.polygon(frame.at(face), canvas.lit(tone, normal), None)

        side(-long / 2 + 0.3, long / 2 - 0.3, 1.35, tall * 0.83, _GLASS + 6)
        side(-long / 2 + 0.3, long / 2 - 0.3, (1.35 + tall * 0.83) / 2, tall * 0.83, _GLASS + 26)
        side(-long / 2 + 0.1, long / 2 - 0.1, 0.62, 0.82, np.asarray(v.second))
        for a in np.arange(-long / 2 + 1.5, long / 2 - 1, 1.5):
            side(a, a + 0.12, 1.35, tall * 0.83, v.color)
        doors = (
            (-0.1 * long, 0.36 * long)
            if not tram
            else np.arange(-0.4 * long, 0.42 * long, long / 5)
        )
        for a in doors:
            side(a, a + 1.2, low + 0.05, tall * 0.82, (40, 44, 48))
            side(a + 0.57, a + 0.63, low + 0.05, tall * 0.82, (120, 124, 126))
        if tram:
            for a in (-long / 6, long / 6):  # the bellows between boxes
                side(a - 0.3, a + 0.3, low, tall * 0.98, (44, 44, 46))
            side(-long / 2 + 0.6, long / 2 - 0.6, low, low + 0.22, (52, 52, 54))
    front = frame.eye_a > long / 2
    if abs(frame.eye_a) > long / 2:
        sign = 1 if front else -1
        a = sign * (long / 2 + 0.01)
        top, bottom = tall * (0.83 if not front else 0.86), 1.15 if front else 1.45
        lean = sign * nose * (top - 1.1) / (tall - 1.1)
        for y0, y1, tone in ((bottom, top, _GLASS), ((bottom + top) / 2, top, _GLASS + 24)):
            s0 = sign * nose * max(0, y0 - 1.1) / (tall - 1.1)
            face = [(a - s0, -wide * 0.44, y0), (a - s0, wide * 0.44, y0),
                    (a - lean, wide * 0.42, y1), (a - lean, -wide * 0.42, y1)]  # fmt: skip
            canvas.polygon(frame.at(face), canvas.lit(tone), None)
        board = a - sign * nose * 0.93
        _panel(
            canvas, frame, board, -wide * 0.34, wide * 0.34, tall * 0.88, tall * 0.96, (28, 26, 24)
        )
        _panel(
            canvas,
            frame,
            board,
            -wide * 0.25,
            wide * 0.2,
            tall * 0.9,
            tall * 0.94,
            (250, 176, 40),
            True,
        )
        _lights(canvas, frame, v, 0.62, 0.88, 0.68)
        _panel(canvas, frame, a, -wide * 0.46, wide * 0.46, low + 0.05, low + 0.2,
               np.asarray(v.color) * 0.4)  # fmt: skip
    if tram:  # pantograph
        for b in (-0.4, 0.4):
            ends = frame.at([(0, b, tall * roof + 0.2), (0.8, b * 0.6, tall + 1.1)])
            canvas.limb(ends[0], ends[1], 0.04, 0.04, (60, 60, 62), label)
        _box(canvas, frame, -1.6, 1.2, wide * 0.3, tall * 0.99, tall + 0.28, (104, 106, 108), label)
    else:
        _side_wheels(canvas, frame, v, places, 0.48, label)


def draw_vehicle(canvas: Canvas, v: Vehicle) -> None:
    """Draw a car, van, truck, bus or tram."""
    if v.kind in ("car", "van"):
        _car(canvas, v)
    elif v.kind == "truck":
        _truck(canvas, v)
    else:
        _coach(canvas, v)
