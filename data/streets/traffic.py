"""What moves, or could: cars, trucks, buses, trams, cyclists, pedestrians."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from data.streets.looks import CAR_COLORS, CLOTHES, HAIRS, LEGS, SKINS
from data.streets.world import Cycle, Person, Scene, Vehicle, pick, vary

_BUS_COLORS = {
    "real": ((196, 170, 60), (150, 36, 34), (208, 208, 204), (60, 92, 120)),
    "game": ((236, 236, 240), (40, 150, 200), (236, 120, 40), (120, 200, 90)),
}
_TRAIN_COLORS = {
    "real": ((176, 40, 38), (204, 184, 90), (198, 200, 200), (64, 110, 84)),
    "game": ((220, 224, 232), (48, 100, 190), (230, 80, 60), (250, 200, 60)),
}


class _Room:
    """Rectangles already taken on the ground."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float, float, float]] = []

    def take(self, u: float, z: float, width: float, length: float, gap: float = 0.3) -> bool:
        """Claim a place; False, and no claim, where something stands."""
        half_w, half_l = width / 2 + gap, length / 2 + gap
        for tu, tz, tw, tl in self.taken:
            if abs(tu - u) < tw + half_w and abs(tz - z) < tl + half_l:
                return False
        self.taken.append((u, z, width / 2, length / 2))
        return True


def _vehicle(rng: np.random.Generator, domain: str, kind: str, u: float, z: float, yaw: float):
    color = vary(rng, pick(rng, CAR_COLORS[domain]), 8, 4)
    second = (200, 200, 198)
    style = int(rng.integers(3))
    if kind == "car":
        size = ((4.1, 1.75, 1.5), (4.5, 1.8, 1.45), (4.6, 1.9, 1.72))[style]
    elif kind == "van":
        size = (5.2, 1.95, 2.2)
    elif kind == "truck":
        size = (float(rng.uniform(6.5, 10)), 2.45, float(rng.uniform(3.0, 3.7)))
        boxes = ((208, 208, 204), (176, 168, 150), (90, 110, 136), (150, 60, 50))
        second = vary(rng, pick(rng, boxes), 8, 4)
    elif kind == "bus":
        size = (float(rng.uniform(10.5, 12.5)), 2.5, 3.05)
        color = vary(rng, pick(rng, _BUS_COLORS[domain]), 6, 4)
    else:
        size = (float(rng.uniform(18, 30)), 2.5, 3.45)
        color = vary(rng, pick(rng, _TRAIN_COLORS[domain]), 6, 4)
    size = tuple(s * float(rng.uniform(0.96, 1.04)) for s in size)
    braking = bool(rng.random() < 0.3)
    return Vehicle(kind, u, z, yaw, *size, color, second, braking, style)


def _person(rng: np.random.Generator, domain: str, u: float, z: float, yaw: float) -> Person:
    child = rng.random() < 0.1
    return Person(
        u=float(u), z=float(z), yaw=float(yaw),
        height=float(rng.uniform(1.1, 1.45) if child else rng.normal(1.72, 0.08)),
        stride=float(rng.uniform(-0.33, 0.33)),
        top=vary(rng, pick(rng, CLOTHES[domain]), 8, 4),
        legs=vary(rng, pick(rng, LEGS[domain]), 6, 3),
        skin=pick(rng, SKINS), hair=pick(rng, HAIRS), bag=bool(rng.random() < 0.3),
    )  # fmt: skip


def _cycle(
    rng: np.random.Generator, domain: str, kind: str, u: float, z: float, yaw: float, ridden: bool
) -> Cycle:
    rider = _person(rng, domain, u, z, yaw) if ridden else None
    color = vary(rng, pick(rng, CAR_COLORS[domain]), 8, 4)
    return Cycle(kind, float(u), float(z), float(yaw), color, rider)


def _feature(rng: np.random.Generator, scene: Scene, room: _Room, feature: str) -> None:
    """Put the asked-for class where it can be seen."""
    street, domain = scene.street, scene.look.domain
    lane = 0.5 * street.lane_width
    if feature == "train":
        oncoming = rng.random() < 0.6
        u = street.rails[0 if oncoming else 1]
        if not oncoming and scene.camera.u < street.lane_width:
            z = float(rng.uniform(26, 38))
        else:
            z = float(rng.uniform(22, 36))
        tram = _vehicle(rng, domain, "train", u, z, math.pi if oncoming else 0.0)
        room.take(u, z, tram.width, tram.length)
        scene.actors.append(tram)
    elif feature in ("bus", "truck"):
        ahead = rng.random() < 0.5
        u = lane + (street.lanes - 1) * street.lane_width if ahead else -lane
        z = float(rng.uniform(18, 34))
        large = _vehicle(rng, domain, feature, u, z, 0.0 if ahead else math.pi)
        room.take(u, z, large.width, large.length)
        scene.actors.append(large)
    elif feature in ("motorcycle", "rider"):
        kind = "motorcycle" if feature == "motorcycle" else "bicycle"
        for _ in range(2):
            u = float(rng.uniform(-0.2, 0.6)) * street.lane_width + street.lanes * lane
            z = float(rng.uniform(8, 19))
            yaw = float(rng.normal(0, 0.15))
            if rng.random() < 0.25:
                u, yaw = -lane, math.pi + yaw
            if room.take(u, z, 0.9, 2.2):
                scene.actors.append(_cycle(rng, domain, kind, u, z, yaw, True))
    elif feature == "bicycle":  # a row of them by the kerb
        sign, z = pick(rng, (1, 1, -1)), float(rng.uniform(9, 16))
        u = sign * (street.half_width + (-0.7 if street.parking else 0.9))
        for k in range(int(rng.integers(3, 6))):
            if room.take(u, z + 0.9 * k, 0.5, 0.6, 0.0):
                turn = math.pi / 2 + float(rng.normal(0, 0.15))
                scene.actors.append(_cycle(rng, domain, "bicycle", u, z + 0.9 * k, turn, False))


def _moving(rng: np.random.Generator, scene: Scene, room: _Room) -> None:
    street, domain = scene.street, scene.look.domain
    real = domain == "real"
    kinds = ["car"] * 11 + ["van"] * 2 + ["truck", "bus"] + ([] if real else ["truck", "van"])
    for sign in (1, -1):
        for lane in range(street.lanes):
            u = sign * (lane + 0.5) * street.lane_width
            mine = sign > 0 and abs(u - scene.camera.u) < 1.5
            z = float(rng.uniform(13 if mine else 9, 34))
            while z < 95:
                kind = pick(rng, kinds)
                if rng.random() < (0.62 if real else 0.5):
                    shift = u + float(rng.normal(0, 0.15))
                    yaw = 0.0 if sign > 0 else math.pi
                    item = _vehicle(rng, domain, kind, shift, z, yaw + float(rng.normal(0, 0.02)))
                    if room.take(shift, z, item.width, item.length, 0.6):
                        scene.actors.append(item)
                elif rng.random() < 0.3:
                    two = "motorcycle" if rng.random() < (0.4 if real else 0.75) else "bicycle"
                    side = u + sign * float(rng.uniform(0.2, 1.2))
                    if room.take(side, z, 0.9, 2.2):
                        yaw = 0.0 if sign > 0 else math.pi
                        scene.actors.append(_cycle(rng, domain, two, side, z, yaw, True))
                z += float(rng.uniform(8, 26))
    if street.rails and rng.random() < 0.35:
        track = pick(rng, (0, 1))
        z = float(rng.uniform(35, 70))
        tram = _vehicle(rng, domain, "train", street.rails[track], z, 0.0 if track else math.pi)
        if room.take(street.rails[track], z, tram.width, tram.length):
            scene.actors.append(tram)
    if street.crossing is not None:
        for _ in range(int(rng.integers(0, 4))):
            kind = pick(rng, ("car", "car", "car", "van", "bus", "truck"))
            u = float(rng.uniform(-22, 22))
            heading = pick(rng, (1, -1))
            z = street.crossing - heading * 0.45 * street.crossing_half
            item = _vehicle(rng, domain, kind, u, z, heading * math.pi / 2)
            if room.take(u, z, item.length, item.width):
                scene.actors.append(item)


def _parked(rng: np.random.Generator, scene: Scene, room: _Room) -> None:
    street, domain = scene.street, scene.look.domain
    for sign in (1, -1) if street.parking else ():
        u = sign * (street.half_width - 1.15)
        density = rng.uniform(0.15, 0.75)
        z = float(rng.uniform(6.5, 14))
        while z < 85:
            if street.crossing and abs(z - street.crossing) < street.crossing_half + 7:
                z += 4
                continue
            draw = rng.random()
            if draw < density:
                kinds = ("car",) * 10 + ("van", "van", "truck")
                kind = pick(rng, kinds)
                yaw = 0.0 if sign > 0 or rng.random() < 0.3 else math.pi
                item = _vehicle(rng, domain, kind, u, z, yaw + float(rng.normal(0, 0.02)))
                if room.take(u, z, item.width, item.length):
                    scene.actors.append(item)
            elif draw > 0.94 and room.take(u, z, 1, 2):
                scene.actors.append(_cycle(rng, domain, "motorcycle", u, z, 0.3, False))
            z += float(rng.uniform(5.2, 7.5))


def _people(rng: np.random.Generator, scene: Scene, room: _Room) -> None:
    street, domain = scene.street, scene.look.domain
    real = domain == "real"
    for _ in range(int(rng.integers(3, 13 if real else 9))):
        sign = pick(rng, (1, -1))
        line = street.property_line(sign)
        inner = street.half_width + street.side(sign).strip + 0.5
        u = sign * float(rng.uniform(inner, max(inner + 0.1, line - 0.3)))
        z = float(rng.uniform(7, 20) if rng.random() < 0.35 else rng.uniform(12, 60))
        yaw = pick(rng, (0.0, math.pi)) + float(rng.normal(0, 0.25))
        for k in range(2 if rng.random() < 0.25 else 1):
            if room.take(u, z + 0.1 * k, 0.5, 0.5, 0.05):
                scene.actors.append(_person(rng, domain, u, z + 0.1 * k, yaw))
            u -= sign * 0.6
    where = street.crossing - street.crossing_half - 1.5 if street.crossing else rng.uniform(16, 50)
    for _ in range(int(rng.integers(0, 5 if street.crossing else 2))):
        u, z = float(rng.uniform(-street.half_width, street.half_width)), where + rng.normal(0, 0.6)
        if room.take(u, float(z), 0.6, 0.6):
            yaw = pick(rng, (-1, 1)) * math.pi / 2
            scene.actors.append(_person(rng, domain, u, float(z), yaw))
    for _ in range(int(rng.integers(0, 3) if real else rng.random() < 0.35)):
        sign = pick(rng, (1, 1, -1))
        u = sign * (street.half_width + float(rng.uniform(-1.0, 0.9)))
        z = float(rng.uniform(9, 45))
        if room.take(u, z, 0.8, 2.0):
            yaw = (0.0 if sign > 0 else math.pi) + float(rng.normal(0, 0.1))
            scene.actors.append(_cycle(rng, domain, "bicycle", u, z, yaw, True))
    racks = int(rng.integers(0, 3) if real else rng.random() < 0.5)
    for _ in range(racks):
        sign = pick(rng, (1, -1))
        u = sign * (street.property_line(sign) - 0.5)
        z = float(rng.uniform(8, 40))
        turn = pick(rng, (0.1, math.pi / 2))
        for k in range(int(rng.integers(1, 5))):
            place = z + (0.7 if turn > 1 else 1.9) * k
            if room.take(u, place, 0.5, 0.6, 0.0):
                kind = "motorcycle" if rng.random() < 0.12 else "bicycle"
                scene.actors.append(_cycle(rng, domain, kind, u, place, turn, False))


def populate(rng: np.random.Generator, scene: Scene, features: Collection[str]) -> None:
    """Add traffic and people to a street whose sides are built."""
    room = _Room()
    for feature in features:
        _feature(rng, scene, room, feature)
    _moving(rng, scene, room)
    _parked(rng, scene, room)
    _people(rng, scene, room)
