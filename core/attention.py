"""Criss-cross attention and PSANet's mask without compiled operators.

mmseg takes both from ``mmcv.ops``, which cannot be imported where mmcv was installed without its
compiled operators; its CCHead and PSAHead then refuse to be built. These stand in, put there by
:func:`core.mmfixes.install`: the same parameters, so that published checkpoints load, and the same
results.
"""

from __future__ import annotations

import torch
from mmcv.cnn import Scale
from torch import Tensor, nn


class CrissCrossAttention(nn.Module):
    """Attention of each pixel to its row and its column, itself once.

    Huang et al., "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019, section 3.2:
    ``out = gamma * sum(softmax(Q K) V) + x``, gamma learnt from 0.

    Args:
        in_channels: C; queries and keys have an eighth of it.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.key_conv = nn.Conv2d(in_channels, in_channels // 8, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        height = x.shape[2]
        # As (N, W, H, C) for columns and (N, H, W, C) for rows: batches of sequences.
        rows = [conv(x).permute(0, 2, 3, 1) for conv in self._convs()]
        columns = [r.transpose(1, 2) for r in rows]
        in_column = columns[0] @ columns[1].transpose(2, 3)  # (N, W, H, H)
        itself = torch.eye(height, dtype=torch.bool, device=x.device)
        in_column = in_column.masked_fill(itself, float("-inf"))  # it is in the row already
        in_row = rows[0] @ rows[1].transpose(2, 3)  # (N, H, W, W)
        attention = torch.cat([in_column.transpose(1, 2), in_row], dim=3).softmax(dim=3)
        from_column = attention[..., :height].transpose(1, 2) @ columns[2]
        from_row = attention[..., height:] @ rows[2]
        out = (from_column.transpose(1, 2) + from_row).permute(0, 3, 1, 2)
        return (self.gamma(out) + x).contiguous()

    def _convs(self) -> tuple[nn.Module, ...]:
        return self.query_conv, self.key_conv, self.value_conv


class PSAMask(nn.Module):
    """Attention as predicted around each pixel, put at its place in the image.

    Zhao et al., "PSANet: Point-wise Spatial Attention Network for Scene Parsing", ECCV 2018,
    section 3.3. Channel ``(y, x)`` of a pixel's mask is about the pixel that lies
    ``(y - (mask_h - 1) // 2, x - (mask_w - 1) // 2)`` away; what the mask does not reach is 0.

    Args:
        psa_type: ``"collect"``: the channel of the result is the pixel that is looked at;
            ``"distribute"``: the pixel that looks.
        mask_size: (mask_h, mask_w), or one number for both.

    Raises:
        ValueError: an unknown ``psa_type``.
    """

    def __init__(self, psa_type: str, mask_size: int | tuple[int, int]) -> None:
        super().__init__()
        if psa_type not in ("collect", "distribute"):
            raise ValueError(f"psa_type must be collect or distribute; got {psa_type!r}")
        self.psa_type = psa_type
        self.mask_size = (mask_size,) * 2 if isinstance(mask_size, int) else tuple(mask_size)

    def forward(self, mask: Tensor) -> Tensor:
        """(N, mask_h * mask_w, H, W) to (N, H * W, H, W).

        Raises:
            ValueError: another number of channels.
        """
        (mask_h, mask_w), (n, channels, height, width) = self.mask_size, mask.shape
        if channels != mask_h * mask_w:
            raise ValueError(f"{channels} channels for a mask of {mask_h}x{mask_w}")
        y, y_inside = _place(height, mask_h, mask.device)
        x, x_inside = _place(width, mask_w, mask.device)
        # (other y, other x, y, x): the channel that a pixel has for another one
        channel = y[:, None, :, None] * mask_w + x[None, :, None, :]
        inside = y_inside[:, None, :, None] & x_inside[None, :, None, :]
        pixels = height * width
        channel = channel.reshape(1, pixels, height, width).expand(n, -1, -1, -1)
        found = mask.gather(1, channel) * inside.reshape(1, pixels, height, width)
        if self.psa_type == "distribute":
            found = found.view(n, pixels, pixels).transpose(1, 2).reshape(n, pixels, height, width)
        return found

    def extra_repr(self) -> str:
        return f"psa_type={self.psa_type!r}, mask_size={self.mask_size}"


def _place(size: int, mask: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For one axis, (size of the others, size): the place in the mask, and whether it is in it."""
    at = torch.arange(size, device=device)
    place = at[:, None] - at[None, :] + (mask - 1) // 2
    return place.clamp(0, mask - 1), (place >= 0) & (place < mask)
