"""How people look, on foot and on two wheels: bodies made of limbs."""

from __future__ import annotations

import math

import numpy as np

from data.streets.canvas import Canvas
from data.streets.frame import Frame
from data.streets.world import Cycle, Person

PERSON, RIDER, MOTORCYCLE, BICYCLE = 24, 25, 32, 33


class _Figure:
    """Limbs of one body, drawn in the order given, in local (a, b, y) scaled by height."""

    def __init__(self, canvas: Canvas, frame: Frame, scale: float, label: int) -> None:
        self.canvas, self.frame, self.scale, self.label = canvas, frame, scale, label
        side = canvas.sun @ frame.right
        self.facing = 0.4 + 0.3 * float(np.clip(side, -1, 1))

    def limb(self, p, q, r0, r1, color) -> None:
        s = self.scale
        ends = self.frame.at(np.array([p, q]) * s)
        tone = self.canvas.lit(color, facing=self.facing)
        self.canvas.limb(ends[0], ends[1], r0 * s, r1 * s, tone, self.label)


def draw_person(canvas: Canvas, p: Person) -> None:
    """A walking or standing pedestrian."""
    frame = Frame(canvas, p.u, p.z, p.yaw)
    body = _Figure(canvas, frame, p.height / 1.75, PERSON)
    s, top, legs = p.stride, np.asarray(p.top), np.asarray(p.legs)
    toward = -1 if frame.eye_a < 0 else 1  # +1: we see the face
    if p.z > 38:  # a few pixels high
        for side in (1, -1):
            body.limb((0, 0.07 * side, 0.9), (side * s, 0.09 * side, 0.07), 0.095, 0.06, legs)
        body.limb((0, 0, 1.36), (0, 0, 0.95), 0.22, 0.17, top)
        head = p.skin if toward > 0 else p.hair
        body.limb((0.02, 0, 1.55), (0.02, 0, 1.68), 0.08, 0.1, head)
        return
    for side in (1, -1):
        step = side * s
        knee = (step * 0.62 + 0.04, 0.09 * side, 0.48)
        ankle = (step * 1.15 - (0.12 if step < 0 else 0), 0.09 * side, 0.09)
        body.limb((0, 0.085 * side, 0.9), knee, 0.095, 0.07, legs * (1 - 0.1 * (side > 0)))
        body.limb(knee, ankle, 0.07, 0.05, legs * (0.92 - 0.1 * (side > 0)))
        body.limb(ankle, (ankle[0] + 0.13, ankle[1], 0.05), 0.05, 0.04, (34, 30, 28))

    def arm(side: int) -> None:
        swing = -side * s * 0.75
        elbow = (swing * 0.5 - 0.03, 0.255 * side, 1.12)
        hand = (swing + 0.05, 0.26 * side, 0.88)
        body.limb((0, 0.2 * side, 1.4), elbow, 0.065, 0.055, top * 0.86)
        body.limb(elbow, hand, 0.052, 0.042, top * 0.8)
        body.limb(hand, (hand[0] + 0.02, hand[1], hand[2] - 0.06), 0.04, 0.035, p.skin)

    near = 1 if frame.eye_b > 0 else -1
    arm(-near)
    if p.bag and toward > 0:
        body.limb((-0.16, 0, 1.38), (-0.17, 0, 1.08), 0.13, 0.14, np.asarray(p.legs) * 0.8 + 20)
    for side in (1, -1):
        body.limb((0, 0.1 * side, 1.39), (0, 0.075 * side, 0.95), 0.115, 0.105, top)
    body.limb((0, 0, 1.4), (0, 0, 0.98), 0.14, 0.13, top * 1.05)
    arm(near)
    if p.bag and toward < 0:
        body.limb((-0.16, 0, 1.38), (-0.17, 0, 1.08), 0.13, 0.14, np.asarray(p.legs) * 0.8 + 20)
    body.limb((0, 0, 1.48), (0.01, 0, 1.56), 0.055, 0.05, p.skin)
    head = (p.skin, p.hair) if toward > 0 else (p.hair, p.hair)
    body.limb((0.02, 0, 1.6), (0.02, 0, 1.67), 0.095, 0.1, head[0])
    body.limb((-0.02, 0, 1.69), (-0.02, 0, 1.7), 0.1, 0.095, head[1])


def _ring(canvas: Canvas, frame: Frame, a: float, radius: float, tyre: float, label: int) -> None:
    """A wheel: a tyre with spokes, labelled as a full disc."""
    turn = np.linspace(0, 2 * np.pi, 17)
    rim = [(a + radius * math.cos(t), 0.0, radius + radius * math.sin(t)) for t in turn]
    canvas.polygon(frame.at(rim[:-1]), None, label)
    points = frame.at(rim)
    canvas.path(points, tyre, canvas.lit((34, 34, 36)), label)
    if frame.z < 25:
        for k in range(0, 8, 2):
            canvas.path(points[[k, k + 8]], 0.006, canvas.lit((150, 150, 152)), label)


def draw_cycle(canvas: Canvas, c: Cycle) -> None:
    """A bicycle or motorcycle; a rider on it gets the label rider."""
    frame = Frame(canvas, c.u, c.z, c.yaw)
    motor = c.kind == "motorcycle"
    label = MOTORCYCLE if motor else BICYCLE
    paint = np.asarray(c.color)

    def bar(p, q, r0, r1, tone) -> None:
        ends = frame.at([p, q])
        canvas.limb(ends[0], ends[1], r0, r1, canvas.lit(tone), label)

    if motor:
        for a in (-0.68, 0.68):
            _ring(canvas, frame, a, 0.31, 0.065, label)
        bar((-0.68, 0, 0.32), (0.0, 0, 0.45), 0.07, 0.2, (60, 60, 64))
        bar((0.0, 0, 0.42), (0.35, 0, 0.5), 0.22, 0.18, (52, 52, 56))
        bar((0.68, 0, 0.32), (0.48, 0, 0.95), 0.06, 0.06, (120, 122, 124))
        bar((-0.85, 0, 0.72), (-0.3, 0, 0.76), 0.1, 0.16, paint * 0.8)
        bar((-0.3, 0, 0.82), (0.1, 0, 0.8), 0.11, 0.12, (32, 32, 34))
        bar((0.05, 0, 0.85), (0.45, 0, 0.85), 0.19, 0.14, paint)
        bar((0.5, 0, 0.75), (0.6, 0, 1.0), 0.17, 0.12, paint * 0.95)
        bar((0.42, -0.36, 1.06), (0.42, 0.36, 1.06), 0.03, 0.03, (40, 40, 42))
        for b in (-0.33, 0.33):
            bar((0.45, b, 1.06), (0.45, b, 1.2), 0.025, 0.06, (46, 46, 48))
        lamp = (-0.92, (190, 28, 26)) if frame.eye_a < 0 else (0.72, (250, 248, 230))
        bar((lamp[0], 0, 0.74), (lamp[0], 0, 0.8), 0.07, 0.07, lamp[1])
        hip, knee, foot = (-0.12, 0.13, 0.92), (0.25, 0.24, 0.68), (0.02, 0.24, 0.34)
        shoulder, hand = (0.08, 0.19, 1.38), (0.42, 0.33, 1.08)
    else:
        for a in (-0.53, 0.53):
            _ring(canvas, frame, a, 0.34, 0.022, label)
        bottom, seat, head = (-0.08, 0, 0.3), (-0.2, 0, 0.86), (0.36, 0, 0.82)
        for p, q in (
            (bottom, seat), (seat, head), (bottom, head), ((-0.53, 0, 0.34), bottom),
            ((-0.53, 0, 0.34), seat), (head, (0.53, 0, 0.34)),
        ):  # fmt: skip
            bar(p, q, 0.026, 0.026, paint)
        bar(head, (0.38, 0, 1.0), 0.022, 0.022, (60, 60, 62))
        bar((0.4, -0.27, 1.02), (0.4, 0.27, 1.02), 0.022, 0.022, (50, 50, 52))
        bar((-0.3, 0, 0.9), (-0.1, 0, 0.91), 0.06, 0.035, (30, 30, 30))
        bar((-0.88, 0, 0.5), (-0.9, 0, 0.6), 0.04, 0.04, (160, 30, 28))
        hip, knee, foot = (-0.2, 0.11, 0.98), (0.16, 0.12, 0.72), (-0.03, 0.12, 0.26)
        shoulder, hand = (0.06, 0.19, 1.42), (0.4, 0.25, 1.06)
    if c.rider is None:
        return
    p = c.rider
    body = _Figure(canvas, frame, 1.0, RIDER)
    top, legs = np.asarray(p.top), np.asarray(p.legs)
    near = 1 if frame.eye_b > 0 else -1

    def mirrored(point, side):
        return (point[0], side * point[1], point[2])

    for side in (-near, near):
        lift = 0.0 if motor else 0.14 * side
        k = (knee[0], side * knee[1], knee[2] + lift)
        f = (foot[0], side * foot[1], foot[2] + lift)
        body.limb(mirrored(hip, side), k, 0.1, 0.075, legs * (1 if side == near else 0.85))
        body.limb(k, f, 0.072, 0.055, legs * (0.94 if side == near else 0.8))
        body.limb(f, (f[0] + 0.14, f[1], f[2] - 0.02), 0.05, 0.04, (30, 28, 28))
        if side == -near:
            body.limb(mirrored(shoulder, side), mirrored(hand, side), 0.065, 0.045, top * 0.8)
    for side in (1, -1):
        body.limb(mirrored(hip, side), (shoulder[0], 0.1 * side, shoulder[2]), 0.11, 0.115, top)
    body.limb((hip[0], 0, hip[2]), (shoulder[0], 0, shoulder[2]), 0.13, 0.14, top * 1.04)
    body.limb(mirrored(shoulder, near), mirrored(hand, near), 0.065, 0.045, top * 0.86)
    skull = (shoulder[0] + 0.08, 0, shoulder[2] + 0.23)
    face = p.skin if frame.eye_a > 0 else p.hair
    body.limb((shoulder[0], 0, shoulder[2] + 0.05), skull, 0.055, 0.09, face)
    cap = paint if motor or int(p.top[0]) % 2 else np.asarray(p.hair)
    r = 0.14 if motor else 0.105
    body.limb((skull[0], 0, skull[2] + 0.02), (skull[0] - 0.02, 0, skull[2] + 0.06), r, r, cap)
