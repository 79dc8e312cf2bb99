"""What `inspector doctor` says about a broker's largest packet: the advice can be followed, and then it is content."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectors.mqtt.probe import _packet_size
from inspector.config.config import Config
from inspector.config.loading import load

CAMERA = """
[[camera]]
name = "cam1"
on_unjudged = "reject"
encoding = "{encoding}"
max_mib = {max_mib}
"""


def config_with(tmp_path: Path, encoding: str, max_mib: str) -> Config:
    file = tmp_path / "inspector.toml"
    file.write_text(CAMERA.format(encoding=encoding, max_mib=max_mib))
    return load(file)


@pytest.mark.parametrize("encoding", ["image", "json"])
@pytest.mark.parametrize("maximum_bytes", [1, 20_000, 65_536, 65_540, 66_000, 70_000, 200_000, 2_000_000])
def test_packet_size_advice_is_a_value_that_the_configuration_takes_and_that_fits(
    tmp_path: Path, encoding: str, maximum_bytes: int
) -> None:
    (finding,) = _packet_size(config_with(tmp_path, encoding, "16"), maximum_bytes)
    assert not finding.is_ok
    assert "max_packet_size" in finding.detail
    advised = re.search(r"max_mib to (\S+)$", finding.detail)
    if maximum_bytes <= 65_536:
        assert advised is None, "no frame fits, so only the broker's limit can be raised"
        return
    assert advised is not None
    (followed,) = _packet_size(config_with(tmp_path, encoding, advised[1]), maximum_bytes)
    assert followed.is_ok
