"""The picture and its labels, drawn together from points in metres.

Both planes are kept at twice the final size. The picture is averaged down at the end; the
labels are drawn half a pixel aside, so that every second one lies exactly at the centre of
a final pixel and no class bleeds over an edge.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from data.streets.world import Look, Scene

SUPERSAMPLE = 2
NEAR = 0.6  # metres: what is nearer is cut off
_SHIFT = 4
_UNIT = 1 << _SHIFT

# Two half circles around a limb that points along +x: the first round its start.
_HALF = np.linspace(math.pi / 2, 3 * math.pi / 2, 6)
_CAPSULE = np.concatenate([np.stack([np.cos(t), np.sin(t)], 1) for t in (_HALF, _HALF + math.pi)])


class Canvas:
    """Draws on `image` (2H, 2W, 3) uint8 RGB and `labels` (2H, 2W) uint8 labelIds."""

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        width, height = size
        self.scene = scene
        self.look: Look = scene.look
        self.width, self.height = width * SUPERSAMPLE, height * SUPERSAMPLE
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        self.labels = np.zeros((self.height, self.width), np.uint8)
        camera = scene.camera
        self.focal = 0.5 * self.width / math.tan(camera.fov / 2)
        self.cx = self.width / 2
        self.horizon = 0.44 * self.height + self.focal * camera.pitch
        self.cam_x = scene.street.x(camera.u, 0.0)
        self.cam_y = camera.height
        self.cos, self.sin = math.cos(camera.yaw), math.sin(camera.yaw)
        self._eye = np.array([self.cam_x, self.cam_y, 0.0])
        self._turn = np.array([[self.cos, 0, self.sin], [0, 1.0, 0], [-self.sin, 0, self.cos]])
        self._scale = np.array([self.focal, -self.focal])
        self._centre = np.array([self.cx, self.horizon])
        self.haze = np.asarray(scene.look.haze, np.float64)
        self.sun = np.asarray(scene.look.sun)
        self.ambient = np.asarray(scene.look.ambient)
        self.sun_tint = np.asarray(scene.look.sun_tint)

    # -- geometry -----------------------------------------------------------------------

    def view(self, points) -> np.ndarray:
        """World (N, 3) x, y, z to camera coordinates (N, 3)."""
        return (np.asarray(points, np.float64) - self._eye) @ self._turn

    def to_pixels(self, seen: np.ndarray) -> np.ndarray:
        """Camera coordinates, in front of NEAR, to continuous pixels (N, 2)."""
        pixels = seen[:, :2] * (self._scale / seen[:, 2:]) + self._centre
        if min(seen[:, 2].tolist()) < 4.0:  # OpenCV's fixed point ends at 32767
            np.clip(pixels, -20000, 20000, out=pixels)
        return pixels

    def depth(self, x: float, z: float) -> float:
        """Distance of a place along the camera's axis."""
        return (x - self.cam_x) * self.sin + z * self.cos

    def clip_near(self, seen: np.ndarray) -> np.ndarray:
        """The part of a polygon in front of the camera; may be empty."""
        if min(seen[:, 2].tolist()) >= NEAR:
            return seen
        inside = seen[:, 2] >= NEAR
        if not inside.any():
            return seen[:0]
        kept = []
        for k in range(len(seen)):
            here, there = seen[k], seen[(k + 1) % len(seen)]
            if inside[k]:
                kept.append(here)
            if inside[k] != inside[(k + 1) % len(seen)]:
                t = (NEAR - here[2]) / (there[2] - here[2])
                kept.append(here + t * (there - here))
        return np.asarray(kept)

    # -- light --------------------------------------------------------------------------

    def lit(self, color, normal=None, facing: float | None = None) -> np.ndarray:
        """A colour under ambient and sun light; `normal` is a world vector of length 1."""
        if facing is None:
            facing = 0.45 if normal is None else max(0.0, float(normal @ self.sun))
        return np.asarray(color, np.float64) * (self.ambient + self.sun_tint * facing)

    def through_air(self, color: np.ndarray, depth: float) -> np.ndarray:
        """A colour as seen through the haze."""
        clear = math.exp(-max(depth, 0.0) / self.look.haze_distance)
        return color * clear + self.haze * (1 - clear)

    def _tone_table(self, light, depth: float, channels: int) -> np.ndarray:
        """Light and haze as a lookup per channel, (1, 256, channels) uint8; alpha stays."""
        clear = math.exp(-max(float(depth), 0.0) / self.look.haze_distance)
        level = np.arange(256.0)[:, None]
        table = level * (np.asarray(light) * clear) + self.haze * (1 - clear)
        table = np.broadcast_to(table, (256, 3))
        if channels == 4:
            table = np.hstack([table, level])
        return np.ascontiguousarray(np.minimum(table, 255).astype(np.uint8)[None])

    # -- drawing ------------------------------------------------------------------------

    def fill_pixels(self, pixels: np.ndarray, color, label: int | None, smooth=False) -> None:
        """Fill a polygon given in continuous canvas pixels."""
        if color is not None:
            corner = (pixels * _UNIT).astype(np.int32) - _UNIT // 2
            line = cv2.LINE_AA if smooth else cv2.LINE_8
            cv2.fillPoly(self.image, [corner], color.tolist(), line, _SHIFT)
        if label is not None:
            corner = (pixels * _UNIT).astype(np.int32) - _UNIT
            cv2.fillPoly(self.labels, [corner], int(label), cv2.LINE_8, _SHIFT)

    def polygon(self, points, color, label: int | None, *, smooth=False) -> None:
        """Fill a flat polygon of world points with an already lit colour."""
        seen = self.clip_near(self.view(points))
        if len(seen) < 3:
            return
        if color is not None:
            depth = 0.5 * (seen[0, 2] + seen[len(seen) // 2, 2])
            color = self.through_air(np.asarray(color), depth)
        self.fill_pixels(self.to_pixels(seen), color, label, smooth)

    def limb(self, start, end, r0: float, r1: float, color, label: int | None) -> None:
        """A round-ended limb (a capsule seen from the side) between two world points."""
        # In plain numbers, as this is called thousands of times.
        dx, dz = start[0] - self.cam_x, start[2]
        d0, a0 = dx * self.sin + dz * self.cos, dx * self.cos - dz * self.sin
        dx, dz = end[0] - self.cam_x, end[2]
        d1, a1 = dx * self.sin + dz * self.cos, dx * self.cos - dz * self.sin
        if d0 < NEAR or d1 < NEAR:
            return
        s0, s1 = self.focal / d0, self.focal / d1
        x0, y0 = self.cx + a0 * s0, self.horizon - (start[1] - self.cam_y) * s0
        x1, y1 = self.cx + a1 * s1, self.horizon - (end[1] - self.cam_y) * s1
        if not (-9000 < x0 < 9000 and -9000 < x1 < 9000 and abs(y0) < 9000 and abs(y1) < 9000):
            return
        q0, q1 = r0 * s0, r1 * s1
        pixels = np.array([[x0, y0], [x1, y1]])
        if max(q0, q1) < 1.3:  # a line does as well
            corner = (pixels * _UNIT).astype(np.int32) - _UNIT // 2
            wide = 1 if q0 + q1 < 1.5 else 2
            if color is not None:
                tone = self.through_air(np.asarray(color), d0).tolist()
                cv2.polylines(self.image, [corner], False, tone, wide, cv2.LINE_AA, _SHIFT)
            if label is not None:
                corner -= _UNIT // 2
                cv2.polylines(self.labels, [corner], False, int(label), wide, cv2.LINE_8, _SHIFT)
            return
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        c, s = (x1 - x0) / length, (y1 - y0) / length
        outline = _CAPSULE @ np.array([[c, s], [-s, c]])
        outline[:6] *= q0
        outline[6:] *= q1
        outline[:6] += pixels[0]
        outline[6:] += pixels[1]
        if color is not None:
            color = self.through_air(np.asarray(color), d0)
        self.fill_pixels(outline, color, label, smooth=True)

    def path(self, points, radius: float, color, label: int | None) -> None:
        """A thin bent line, as wide everywhere as at its middle."""
        seen = self.view(points)
        if min(seen[:, 2].tolist()) < NEAR:
            return
        middle = seen[len(seen) // 2, 2]
        wide = max(1, round(2 * radius * self.focal / middle))
        tone = np.minimum(self.through_air(np.asarray(color), middle), 255).tolist()
        corner = (self.to_pixels(seen) * _UNIT).astype(np.int32) - _UNIT // 2
        cv2.polylines(self.image, [corner], False, tone, wide, cv2.LINE_AA, _SHIFT)
        if label is not None:
            corner -= _UNIT // 2
            cv2.polylines(self.labels, [corner], False, int(label), wide, cv2.LINE_8, _SHIFT)

    def textured_quad(self, points, texture, label: int | None, *, light=1.0) -> None:
        """Map a texture (h, w, 3 or 4) uint8 onto a world rectangle.

        Args:
            points: (4, 3) corners: top left in the texture, top right, bottom right, bottom left.
            texture: RGB, or RGBA where alpha cuts the picture and, above one half, the label; or
                a function that makes it, called only if some of it is in sight.
            label: the labelId, or None to leave the labels.
            light: factor per channel.
        """
        seen = self.view(points)
        if min(seen[:, 2].tolist()) < NEAR:
            return
        pixels = self.to_pixels(seen)
        low = np.floor(pixels.min(0)).astype(int) - 1
        high = np.ceil(pixels.max(0)).astype(int) + 2
        x0, y0 = max(low[0], 0), max(low[1], 0)
        x1, y1 = min(high[0], self.width), min(high[1], self.height)
        if x1 - x0 < 1 or y1 - y0 < 1:
            return
        texture = _shrink(texture() if callable(texture) else texture, pixels)
        height, width = texture.shape[:2]
        texture = cv2.LUT(texture, self._tone_table(light, seen[:, 2].mean(), texture.shape[2]))
        source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
        target = (pixels - 0.5 - (x0, y0)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, target)
        box = (x1 - x0, y1 - y0)
        warped = cv2.warpPerspective(
            texture, matrix, box, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        mask = np.zeros((box[1], box[0]), np.uint8)
        corner = np.round(target * _UNIT).astype(np.int32)
        cv2.fillPoly(mask, [corner], 255, cv2.LINE_8, _SHIFT)
        part = self.image[y0:y1, x0:x1]
        if warped.shape[2] == 4:
            alpha = cv2.min(mask, np.ascontiguousarray(warped[..., 3]))
            blend(part, np.ascontiguousarray(warped[..., :3]), alpha)
            solid = alpha > 127
        else:
            cv2.copyTo(warped, mask, part)
            solid = mask > 0
        if label is not None:
            self.labels[y0:y1, x0:x1][solid] = label

    def sprite(self, center, width: float, height: float, sprite: np.ndarray, color, label) -> None:
        """An upright picture facing the camera.

        Args:
            center: world point of the middle.
            width, height: metres.
            sprite: (h, w, 3) uint8: tone (128 is 1), alpha of the picture, alpha of the label.
            color: the lit colour that the tone multiplies.
            label: labelId where the label alpha is above one half.
        """
        seen = self.view([center])
        depth = seen[0, 2]
        if depth < 2.0:
            return
        px, py = self.to_pixels(seen)[0]
        scale = self.focal / depth
        w, h = max(2, round(width * scale)), max(2, round(height * scale))
        left, top = round(px - w / 2), round(py - h / 2)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + w, self.width), min(top + h, self.height)
        if x1 <= x0 or y1 <= y0 or w > 6000:
            return
        if w < sprite.shape[1]:
            scaled = cv2.resize(sprite, (w, h), interpolation=cv2.INTER_AREA)
            scaled = scaled[y0 - top : y1 - top, x0 - left : x1 - left]
        else:  # only the part in sight is enlarged
            shift = [[w / sprite.shape[1], 0, left - x0], [0, h / sprite.shape[0], top - y0]]
            scaled = cv2.warpAffine(sprite, np.float32(shift), (x1 - x0, y1 - y0))
        tone, alpha, solid = cv2.split(np.ascontiguousarray(scaled))
        table = self._tone_table(np.asarray(color) / 128, depth, 3)
        blend(self.image[y0:y1, x0:x1], cv2.LUT(cv2.merge([tone] * 3), table), alpha)
        self.labels[y0:y1, x0:x1][solid > 127] = label


def _shrink(texture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Average a texture down to about the size at which it is seen, against aliasing."""
    edges = np.linalg.norm(pixels - np.roll(pixels, -1, axis=0), axis=1)
    wide = max(edges[0], edges[2])
    tall = max(edges[1], edges[3])
    height, width = texture.shape[:2]
    new_w = int(np.clip(math.ceil(wide), 2, width))
    new_h = int(np.clip(math.ceil(tall), 2, height))
    if new_w > 0.8 * width and new_h > 0.8 * height:
        return texture
    return cv2.resize(texture, (new_w, new_h), interpolation=cv2.INTER_AREA)


def blend(part: np.ndarray, colors: np.ndarray, alpha: np.ndarray) -> None:
    """Lay colours over a part of the image, in place; alpha is (h, w) uint8."""
    weight = cv2.merge([alpha] * 3)
    over = cv2.multiply(colors, weight, scale=1 / 255)
    under = cv2.multiply(np.ascontiguousarray(part), 255 - weight, scale=1 / 255)
    part[...] = cv2.add(over, under)
