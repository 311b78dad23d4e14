"""What stands still beside the road: houses, barriers, trees, poles, clutter."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from data.streets.world import (
    Barrier,
    Building,
    Clutter,
    Pole,
    Scene,
    Tree,
    pick,
    vary,
)

FAR = 140.0


def _blocks(scene: Scene, sign: int) -> list[tuple[float, float]]:
    """The stretches of z along one side that no cross street interrupts."""
    street = scene.street
    if street.crossing is None:
        return [(1.5, FAR)]
    gap = street.crossing_half + street.side(sign).walk
    return [(1.5, street.crossing - gap), (street.crossing + gap, FAR)]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _house_row(
    rng: np.random.Generator, scene: Scene, sign: int, z0: float, z1: float, density: float
) -> None:
    look, street = scene.look, scene.street
    real = look.domain == "real"
    face = street.property_line(sign) + street.side(sign).setback
    level = rng.uniform(9, 17) if real else rng.uniform(5, 14)
    z, last = z0, None
    while z < z1 - 3:
        width = float(rng.uniform(8, 17) if real else rng.uniform(10, 24))
        end = min(z + width, z1)
        if rng.random() < density:
            height = float(max(4.0, level + rng.normal(0, 2.2)))
            if not real and rng.random() < 0.22:
                height += float(rng.uniform(10, 26))  # a tower among low houses
            styles = ("plaster", "plaster", "brick", "glass")
            style = pick(rng, styles if real else ("plaster", "plaster", "glass", "shed"))
            scene.buildings.append(
                Building(
                    sign=sign, u=face + float(rng.uniform(0, 0.4)), z0=z, z1=end,
                    height=height, depth=float(rng.uniform(8, 13)),
                    color=vary(rng, pick(rng, look.facades), 9, 5),
                    roof=vary(rng, pick(rng, look.roofs), 8, 4), style=style,
                    pitched=bool(real and style in ("plaster", "brick") and rng.random() < 0.75),
                    shop=bool(rng.random() < 0.5), seed=_seed(rng), free_end=last != z,
                )
            )  # fmt: skip
            last = end
        else:
            for _ in range(int(rng.integers(2, 5))):
                _tree(rng, scene, sign * (face + rng.uniform(1, 7)), rng.uniform(z, end))
        z = end + (0.0 if rng.random() < density else float(rng.uniform(1, 6)))


def _tree(rng: np.random.Generator, scene: Scene, u: float, z: float, street_tree=False) -> None:
    real = scene.look.domain == "real"
    palm = not real and rng.random() < (0.6 if street_tree else 0.25)
    height = float(rng.uniform(5.5, 9.5) if street_tree else rng.uniform(5, 13))
    if palm:
        height = float(rng.uniform(7, 12))
    crown = float(height * rng.uniform(0.5, 0.75)) if not palm else float(rng.uniform(3, 4.4))
    if abs(u) - scene.street.half_width < 2.5:
        crown = min(crown, 5.0)
    scene.actors.append(
        Tree(float(u), float(z), height, crown, bool(palm),
             vary(rng, pick(rng, scene.look.leaf), 6, 4), _seed(rng))
    )  # fmt: skip


def _barrier(
    rng: np.random.Generator, scene: Scene, kind: str, sign: int, u: float, z0: float, z1: float
) -> None:
    real = scene.look.domain == "real"
    if kind == "fence":
        height = float(rng.uniform(0.9, 1.8))
        color = pick(rng, ((58, 60, 60), (98, 84, 66), (150, 150, 148), (52, 66, 56)))
    elif kind == "wall":
        height = float(rng.uniform(1.2, 2.6))
        real_walls = ((150, 144, 134), (136, 96, 80), (126, 124, 120))
        color = pick(
            rng, real_walls if real else ((226, 206, 172), (184, 112, 88), (196, 196, 190))
        )
    else:
        height = float(rng.uniform(0.8, 2.0))
        color = pick(rng, scene.look.leaf)
    color, style, seed = vary(rng, color, 8, 3), int(rng.integers(3)), _seed(rng)
    z = z0
    while z < z1 - 0.5:  # short pieces follow the bend and sort by depth
        end = min(z + (5.0 if z < 40 else 9.0), z1)
        scene.actors.append(Barrier(kind, sign * u, z, sign * u, end, height, color, style, seed))
        z = end


def _edge(rng: np.random.Generator, scene: Scene, sign: int, z0: float, z1: float, kinds) -> None:
    """Barriers along the property line, with gates between them."""
    line = scene.street.property_line(sign)
    z = z0
    while z < min(z1, 110.0) - 2:
        end = min(z + float(rng.uniform(9, 26)), z1)
        kind = pick(rng, kinds)
        if kind != "none":
            _barrier(rng, scene, kind, sign, line + 0.1, z, end)
        z = end + (float(rng.uniform(1.5, 4)) if rng.random() < 0.6 else 0.0)


def _signpost(rng: np.random.Generator, scene: Scene, u: float, z: float) -> None:
    scene.actors.append(
        Pole("sign", u, z, float(rng.uniform(2.2, 3.1)), 0.04, 0.0, int(rng.integers(6)),
             vary(rng, (140, 142, 142), 8, 2))
    )  # fmt: skip


def _poles(rng: np.random.Generator, scene: Scene, signal: bool) -> None:
    street, look = scene.street, scene.look
    real = look.domain == "real"
    spacing = float(rng.uniform(16, 28))
    height = float(rng.uniform(5.5, 8.5))
    sides = (1, -1) if rng.random() < 0.6 else (pick(rng, (1, -1)),)
    for sign in sides:
        offset = float(rng.uniform(6, 6 + spacing))
        for z in np.arange(offset, 110, spacing):
            if street.crossing and abs(z - street.crossing) < street.crossing_half + 1:
                continue
            scene.actors.append(
                Pole("lamp", sign * (street.half_width + 0.5), float(z), height,
                     0.085, -sign * float(height * 0.22), 0, look.pole)
            )  # fmt: skip
    if street.crossing is not None and (rng.random() < 0.85 or signal):
        state = int(rng.integers(3))
        near = street.crossing - street.crossing_half - 2.2
        far = street.crossing + street.crossing_half + 1.2
        for sign in (1, -1):
            u = sign * (street.half_width + 0.45)
            if real or rng.random() < 0.3:
                scene.actors.append(
                    Pole("signal", u, near, float(rng.uniform(3.1, 3.8)), 0.07, 0.0, state,
                         look.pole)
                )  # fmt: skip
            else:
                scene.actors.append(
                    Pole(
                        "mast", u, far, 6.0, 0.1, -sign * street.half_width * 0.8, state, look.pole
                    )
                )
            if rng.random() < 0.6:
                scene.actors.append(
                    Pole(
                        "signal", u, far, float(rng.uniform(3.0, 3.6)), 0.06, 0.0, state, look.pole
                    )
                )
    for _ in range(int(rng.integers(2, 7))):
        sign = pick(rng, (1, 1, -1))
        _signpost(rng, scene, sign * (street.half_width + 0.4), float(rng.uniform(8, 60)))
    if rng.random() < 0.2:
        sign, start = pick(rng, (1, -1)), float(rng.uniform(6, 30))
        for k in range(int(rng.integers(3, 9))):
            scene.actors.append(
                Pole("bollard", sign * (street.half_width + 0.3), start + 2.0 * k, 0.9, 0.06, 0, 0,
                     (70, 72, 74))
            )  # fmt: skip


def build_rows(rng: np.random.Generator, scene: Scene, features: Collection[str]) -> None:
    """Fill both sides of the street, far beyond what can be told apart."""
    street, look = scene.street, scene.look
    real = look.domain == "real"
    for sign in (1, -1):
        side = street.side(sign)
        line = street.property_line(sign)
        for number, (z0, z1) in enumerate(_blocks(scene, sign)):
            if z1 - z0 < 3:
                continue
            park = rng.random() < (0.14 if real else 0.2)
            if park:
                for _ in range(int((z1 - z0) / 6) + 1):
                    _tree(rng, scene, sign * (line + rng.uniform(1.5, 16)), rng.uniform(z0 + 5, z1))
                kinds = ("hedge", "fence", "fence", "none", "wall")
            else:
                _house_row(rng, scene, sign, z0, z1, 0.92 if real else 0.8)
                kinds = ("fence", "wall", "hedge", "none") if side.setback else ("none",)
            if "wall" in features and number == 0:
                _barrier(rng, scene, "wall", sign, line + 0.05, max(z0, 4.0), min(z1, 45.0))
            else:
                _edge(rng, scene, sign, max(z0, 3.0), z1, kinds)
            if side.setback > 2 and not park:
                for _ in range(int(rng.integers(1, 6))):
                    u = sign * (line + rng.uniform(0.8, side.setback))
                    if rng.random() < 0.5:
                        _tree(rng, scene, u, rng.uniform(9, 60))
                    else:
                        size = float(rng.uniform(0.8, 2.0))
                        scene.actors.append(
                            Tree(float(u), float(rng.uniform(7, 50)), size, size * 1.3, False,
                                 vary(rng, pick(rng, look.leaf), 8, 5), _seed(rng), bush=True)
                        )  # fmt: skip
        if rng.random() < (0.5 if real else 0.55):
            spacing = float(rng.uniform(8, 15))
            u = sign * (street.half_width + max(0.8, 0.5 * side.strip))
            for z in np.arange(rng.uniform(7, 7 + spacing), 115, spacing):
                if street.crossing and abs(z - street.crossing) < street.crossing_half + 3:
                    continue
                _tree(rng, scene, u, z, street_tree=True)
    near = "fence" in features
    if near or rng.random() < 0.16:  # a rail between walkway and road
        sign = pick(rng, (1, -1))
        start = float(rng.uniform(7, 12 if near else 25))
        _barrier(rng, scene, "fence", sign, street.half_width + 0.25, start, start + 16)
    _poles(rng, scene, "signal" in features)
    for _ in range(int(rng.integers(0, 5))):
        sign = pick(rng, (1, -1))
        color = pick(rng, ((66, 70, 68), (44, 72, 56), (150, 140, 60), (120, 118, 116)))
        u = sign * (line_u(scene, sign) - 0.5)
        scene.actors.append(
            Clutter(u, float(rng.uniform(8, 45)), float(rng.uniform(0.4, 0.9)),
                    float(rng.uniform(0.8, 1.4)), color)
        )  # fmt: skip


def line_u(scene: Scene, sign: int) -> float:
    """|u| of the property line, where bins and bicycles lean."""
    return scene.street.property_line(sign)
