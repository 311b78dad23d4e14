"""HL maps as 16-bit PNG."""

import numpy as np
import pytest

from core.errors import MapError
from core.maps import FULL, decode, encode, quantized


def test_sixteen_bits_hold_a_score(tmp_path):
    """Within half a step; and every stored value comes back as it was, through 0-1 and back."""
    scores = np.random.default_rng(0).random((30, 40), dtype=np.float32)
    (tmp_path / "a.png").write_bytes(encode(scores))
    values = decode(tmp_path / "a.png")
    assert values.dtype == np.uint16 and (values == quantized(scores)).all()
    assert np.abs(values / FULL - scores).max() <= 0.5 / FULL + 1e-7
    every = np.arange(FULL + 1, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "b.png").write_bytes(encode(every))
    assert (quantized(decode(tmp_path / "b.png") / FULL) == every).all()


def test_another_picture_is_no_map(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(np.zeros((3, 4)))[:-20])
    with pytest.raises(MapError, match="not a whole 16-bit map"):
        decode(tmp_path / "a.png")
