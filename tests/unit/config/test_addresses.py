"""Broker URLs are taken apart or refused in one phrase, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.addresses import Address, ListenAddress, broker_address, host_fault, listen_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://h", Address("mqtt", "h", None, names_user=False)),
        ("MQTTS://Broker.Plant:8883/", Address("mqtts", "broker.plant", 8883, names_user=False)),
        ("mqtt://[FE80::1]:1883", Address("mqtt", "fe80::1", 1883, names_user=False)),
        ("mqtt://[fe80::1%25eth0]", Address("mqtt", "fe80::1%25eth0", None, names_user=False)),
        ("mqtt://h:", Address("mqtt", "h", None, names_user=False)),
        ("kafka://u:p@10.0.0.1:9092", Address("kafka", "10.0.0.1", 9092, names_user=True)),
        ("mqtt://bücher.example", Address("mqtt", "bücher.example", None, names_user=False)),
        ("mqtt://line_1.plant.", Address("mqtt", "line_1.plant.", None, names_user=False)),
    ],
)
def test_broker_address_of_a_good_url_gives_its_parts(url: str, address: Address) -> None:
    assert broker_address(url) == address


@given(
    st.text()
    | st.builds("mqtt://{}:{}".format, st.text(), st.integers())
    | st.builds("mqtt://[{}]".format, st.text("0123456789abcdef:.%", max_size=40))
)
def test_broker_address_of_anything_is_an_address_or_one_phrase(url: str) -> None:
    try:
        address = broker_address(url)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
        assert host_fault(address.host) is None
        assert address.port is None or 1 <= address.port <= 65535
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:9464", ListenAddress("127.0.0.1", 9464), True),
        ("127.8.8.8:1", ListenAddress("127.8.8.8", 1), True),
        ("LOCALHOST:9464", ListenAddress("localhost", 9464), True),
        ("[::1]:9464", ListenAddress("::1", 9464), True),
        ("0.0.0.0:9464", ListenAddress("0.0.0.0", 9464), False),
        ("[::]:9464", ListenAddress("::", 9464), False),
        ("10.0.0.7:65535", ListenAddress("10.0.0.7", 65535), False),
        ("line1.plant:9464", ListenAddress("line1.plant", 9464), False),
    ],
)
def test_listen_address_tells_whether_other_machines_reach_it(
    text: str, address: ListenAddress, is_loopback: bool
) -> None:
    assert listen_address(text) == address
    assert address.is_loopback is is_loopback
    assert listen_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "h:65536", "::1:9464", "[1]:1", "http://h:1", "a b:1"],
)
def test_listen_address_that_is_none_is_refused_in_one_phrase(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|names) "):
        listen_address(text)


@given(st.text() | st.builds("{}:{}".format, st.text(), st.integers()))
def test_listen_address_of_anything_is_an_address_or_one_phrase(text: str) -> None:
    said = ""
    try:
        assert 1 <= listen_address(text).port <= 65535
    except ValueError as error:
        said = str(error)
    assert "\n" not in said
