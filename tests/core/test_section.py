"""Where a command of hardness.py writes, and what it leaves alone."""

import pytest

from core.errors import ConfigError
from core.section import CLAIM, folder_for


def test_a_folder_is_of_one_command(tmp_path):
    first = folder_for(tmp_path, "map", "a")
    assert first.name == "map" and (first / CLAIM).read_text() == "a\n"
    assert folder_for(tmp_path, "map", "b").name == "map-2"  # though the first left nothing yet
    assert folder_for(tmp_path, "map", "a") == first


def test_what_others_left_stays(tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "map/maps.csv").write_text("mine")
    assert folder_for(tmp_path, "map", "a").name == "map-2"
    (tmp_path / "index.html").write_text("<html>mine</html>")
    with pytest.raises(ConfigError, match="no page of this project"):
        folder_for(tmp_path, "map", "a")
