"""A local coordinate system for things that have a front and sides."""

from __future__ import annotations

import math

import numpy as np

from data.streets.canvas import Canvas


class Frame:
    """Places local points (forward a, right b, up y) into the world."""

    def __init__(self, canvas: Canvas, u: float, z: float, yaw: float) -> None:
        street = canvas.scene.street
        self.x, self.z = street.x(u, z), z
        self.yaw = yaw + street.heading(z)
        self.fwd = np.array([math.sin(self.yaw), 0.0, math.cos(self.yaw)])
        self.right = np.array([math.cos(self.yaw), 0.0, -math.sin(self.yaw)])
        self.axes = np.stack([self.fwd, self.right, (0.0, 1.0, 0.0)])
        self.origin = np.array([self.x, 0.0, self.z])
        eye = np.array([canvas.cam_x, canvas.cam_y, 0.0]) - self.origin
        # The camera in local coordinates decides which faces are seen.
        self.eye_a, self.eye_b = float(eye @ self.fwd), float(eye @ self.right)

    def at(self, points) -> np.ndarray:
        """(N, 3) local (a, b, y) to world (N, 3)."""
        return np.asarray(points, np.float64) @ self.axes + self.origin

    def normal(self, a: float, b: float, y: float) -> np.ndarray:
        """A local direction in world coordinates."""
        n = a * self.fwd + b * self.right
        n[1] += y
        return n / np.linalg.norm(n)
