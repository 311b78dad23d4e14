"""How the two domains look: light, palettes, lens."""

from __future__ import annotations

import math

import numpy as np

from data.streets.world import RGB, Look, pick, vary

CAR_COLORS: dict[str, tuple[RGB, ...]] = {
    "real": (
        (38, 39, 42), (30, 32, 36), (150, 152, 155), (185, 187, 188), (96, 99, 104),
        (205, 205, 203), (58, 66, 84), (112, 34, 34), (70, 74, 72), (122, 116, 104),
    ),
    "game": (
        (200, 32, 28), (24, 24, 28), (232, 232, 228), (32, 86, 176), (236, 176, 36),
        (60, 140, 70), (150, 152, 158), (224, 104, 28), (90, 36, 120), (40, 160, 176),
    ),
}  # fmt: skip

CLOTHES: dict[str, tuple[RGB, ...]] = {
    "real": (
        (34, 36, 42), (52, 58, 72), (88, 86, 84), (110, 60, 54), (62, 76, 62),
        (152, 146, 138), (66, 48, 42), (186, 182, 176), (44, 62, 96), (142, 52, 46),
    ),
    "game": (
        (236, 236, 232), (206, 44, 48), (48, 96, 196), (236, 190, 60), (40, 42, 46),
        (86, 168, 92), (224, 128, 160), (120, 84, 160), (70, 180, 190), (196, 120, 60),
    ),
}  # fmt: skip

LEGS: dict[str, tuple[RGB, ...]] = {
    "real": ((34, 36, 44), (46, 54, 74), (60, 56, 54), (84, 78, 70), (28, 28, 30)),
    "game": ((60, 84, 140), (34, 34, 40), (170, 150, 116), (92, 96, 104), (120, 70, 54)),
}

SKINS: tuple[RGB, ...] = ((214, 172, 146), (190, 142, 114), (146, 102, 76), (96, 66, 50))
HAIRS: tuple[RGB, ...] = ((36, 28, 24), (70, 50, 34), (130, 100, 62), (120, 118, 116), (24, 24, 26))

_REAL_FACADES: tuple[RGB, ...] = (
    (176, 166, 148), (148, 138, 124), (188, 180, 166), (156, 118, 98), (130, 100, 86),
    (164, 158, 152), (186, 168, 132), (128, 128, 128), (170, 150, 134), (142, 146, 142),
)  # fmt: skip
_GAME_FACADES: tuple[RGB, ...] = (
    (238, 214, 176), (226, 170, 130), (204, 112, 84), (240, 236, 224), (150, 192, 204),
    (226, 190, 196), (190, 204, 150), (110, 150, 184), (250, 226, 150), (172, 120, 96),
)  # fmt: skip


def _sun(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    # Azimuth well off the street's axis, so that one side is lit and shadows cross the road.
    azimuth = pick(rng, (-1, 1)) * rng.uniform(0.35, 2.5)
    elevation = rng.uniform(low, high)
    flat = math.cos(elevation)
    return flat * math.sin(azimuth), math.sin(elevation), flat * math.cos(azimuth)


def _real(rng: np.random.Generator) -> Look:
    overcast = bool(rng.random() < 0.5)
    warm = rng.normal(0, 0.035)
    if overcast:
        sky_top, sky_low, cloud = (196, 202, 210), (226, 228, 230), (236, 236, 236)
        sun_tint, ambient = (0.20, 0.20, 0.20), (0.80, 0.81, 0.83)
        shadow, softness, cloudiness = 0.20, 1.2, 0.9
    else:
        sky_top, sky_low, cloud = (134, 164, 202), (206, 216, 226), (240, 240, 240)
        sun_tint, ambient = (0.52, 0.49, 0.44), (0.58, 0.60, 0.65)
        shadow, softness, cloudiness = 0.46, 0.35, float(rng.uniform(0.2, 0.75))
    green = pick(rng, ((86, 102, 58), (98, 108, 66), (76, 94, 62), (114, 110, 64)))
    return Look(
        domain="real",
        sky_top=vary(rng, sky_top, 9), sky_low=vary(rng, sky_low, 5, 2), cloud=cloud,
        cloudiness=cloudiness,
        haze=vary(rng, (200, 206, 212), 8, 3), haze_distance=float(rng.uniform(110, 300)),
        sun=_sun(rng, 0.5, 0.95), sun_tint=sun_tint, ambient=ambient,
        shadow=shadow, shadow_softness=softness,
        asphalt=vary(rng, (112, 112, 114), 12, 2),
        pavement=vary(rng, (136, 131, 126), 12, 4), curb=vary(rng, (158, 156, 152), 8, 2),
        grass=vary(rng, (98, 104, 62), 8, 5), marking=vary(rng, (204, 204, 200), 10, 2),
        centre_marking=vary(rng, (204, 204, 200), 8, 2),
        leaf=tuple(vary(rng, green, 8, 5) for _ in range(3)),
        facades=_REAL_FACADES,
        roofs=((112, 66, 54), (84, 78, 78), (98, 60, 50), (72, 74, 80)),
        pole=vary(rng, (104, 108, 108), 14, 3),
        exposure=float(rng.uniform(0.92, 1.3)),
        white_balance=(1 + warm, 1.0 + float(rng.normal(0, 0.012)), 1 - warm),
        saturation=float(rng.uniform(0.72, 0.95)), contrast=float(rng.uniform(0.92, 1.05)),
        noise=float(rng.uniform(1.5, 4.5)), blur=float(rng.uniform(0.35, 0.75)),
        vignette=float(rng.uniform(0.12, 0.3)),
    )  # fmt: skip


def _game(rng: np.random.Generator) -> Look:
    mood = rng.random()
    if mood < 0.30:  # sunset
        sky_top, sky_low, cloud = (86, 96, 168), (255, 176, 104), (255, 190, 150)
        sun_tint, ambient = (0.92, 0.60, 0.30), (0.72, 0.62, 0.72)
        haze, elevation = (248, 180, 128), (0.28, 0.45)
    elif mood < 0.42:  # grey, stormy
        sky_top, sky_low, cloud = (112, 128, 140), (178, 190, 192), (206, 210, 206)
        sun_tint, ambient = (0.24, 0.26, 0.24), (0.66, 0.72, 0.72)
        haze, elevation = (170, 184, 186), (0.7, 1.0)
    else:  # blue noon
        sky_top, sky_low, cloud = (44, 112, 214), (172, 212, 246), (255, 255, 255)
        sun_tint, ambient = (0.70, 0.66, 0.54), (0.52, 0.56, 0.68)
        haze, elevation = (178, 206, 234), (0.55, 1.05)
    green = pick(rng, ((104, 138, 40), (70, 128, 44), (128, 142, 48), (54, 112, 58)))
    return Look(
        domain="game",
        sky_top=vary(rng, sky_top, 8, 4), sky_low=vary(rng, sky_low, 4, 3), cloud=cloud,
        cloudiness=float(rng.uniform(0.1, 0.6)),
        haze=haze, haze_distance=float(rng.uniform(260, 700)),
        sun=_sun(rng, *elevation), sun_tint=sun_tint, ambient=ambient,
        shadow=float(rng.uniform(0.42, 0.58)), shadow_softness=0.0,
        asphalt=vary(rng, pick(rng, ((74, 70, 72), (112, 108, 106), (92, 86, 80))), 6, 3),
        pavement=vary(rng, (198, 186, 168), 9, 5), curb=vary(rng, (216, 208, 192), 6, 3),
        grass=vary(rng, pick(rng, ((128, 150, 56), (176, 156, 88), (96, 148, 60))), 6, 5),
        marking=(244, 244, 238), centre_marking=(244, 190, 40),
        leaf=tuple(vary(rng, green, 10, 9) for _ in range(3)),
        facades=_GAME_FACADES,
        roofs=((190, 90, 60), (120, 112, 110), (150, 140, 132)),
        pole=vary(rng, pick(rng, ((70, 84, 80), (150, 150, 150), (60, 56, 54))), 6, 3),
        exposure=float(rng.uniform(0.98, 1.12)), white_balance=(1.0, 1.0, 1.0),
        saturation=float(rng.uniform(1.12, 1.32)), contrast=float(rng.uniform(1.05, 1.18)),
        noise=0.0, blur=0.0, vignette=0.0,
    )  # fmt: skip


def sample_look(rng: np.random.Generator, domain: str) -> Look:
    """Draw light, palette and lens for a domain ("real" or "game")."""
    return _real(rng) if domain == "real" else _game(rng)
