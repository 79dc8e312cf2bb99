"""Files of people, as editors of Windows, macOS and Linux save them: byte-order marks, line ends, other encodings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.loading import load, secret
from inspector.errors import ConfigError
from inspector.text import decoded

TEXT = '[agent]\nprefix = "halle/süd"\n'


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_load_takes_byte_order_marks_and_windows_line_ends(tmp_path: Path, encoding: str, newline: str) -> None:
    file = tmp_path / "inspector.toml"
    file.write_bytes(TEXT.replace("\n", newline).encode(encoding))
    assert load(file).agent.prefix == "halle/süd"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_load_of_utf_16_says_to_save_it_as_utf_8(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "inspector.toml"
    file.write_bytes(TEXT.encode(encoding))
    with pytest.raises(ConfigError) as wrong:
        load(file)
    assert wrong.value.faults == ["it is written in UTF-16 or UTF-32; save it as UTF-8"]


def test_load_of_a_device_without_end_is_one_sentence() -> None:
    with pytest.raises(ConfigError) as wrong:
        load(Path("/dev/zero"))
    assert wrong.value.faults == ["it has more than 4 MiB; name the right file"]


@pytest.mark.parametrize(("content", "line"), [("\ufeff\ufeff[agent]\n", 1), ("[agent]\n\ufeffname = 'a'\n", 2)])
def test_load_names_the_line_of_a_mark_that_no_editor_shows(tmp_path: Path, content: str, line: int) -> None:
    file = tmp_path / "inspector.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"line {line} holds a byte-order mark"):
        load(file)


def test_load_of_latin_1_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "inspector.toml"
    file.write_bytes(TEXT.encode("latin-1"))
    with pytest.raises(ConfigError) as wrong:
        load(file)
    assert wrong.value.faults == ["line 2 holds bytes that are not UTF-8; save it as UTF-8"]


@given(st.binary(max_size=100))
def test_decoded_of_any_bytes_is_text_or_a_sentence(content: bytes) -> None:
    said = ""
    try:
        text = decoded(content)
    except ValueError as error:
        said = str(error)
    assert said.endswith("save it as UTF-8") if said else text.encode() == content.removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize("written", ["p4ß", "p4ß\n", "p4ß\r\n", "\ufeffp4ß\r\n"])
def test_secret_in_a_file_is_without_what_an_editor_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mqtt").write_bytes(written.encode())
    assert secret("mqtt").get_secret_value() == "p4ß"


@pytest.mark.parametrize(
    ("content", "said"), [("geheim\n".encode("utf-16"), "save it as UTF-8"), (b"geheim\xff", "not UTF-8")]
)
def test_secret_that_is_no_text_is_a_wrong_configuration_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mqtt").write_bytes(content)
    with pytest.raises(ConfigError, match=said) as wrong:
        secret("mqtt")
    assert "geheim" not in str(wrong.value)


def test_secret_in_a_variable_that_is_no_text_is_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("INSPECTOR_SECRET_MQTT", "geheim\udcff")
    with pytest.raises(ConfigError, match="INSPECTOR_SECRET_MQTT") as wrong:
        secret("mqtt")
    assert "geheim" not in str(wrong.value)
