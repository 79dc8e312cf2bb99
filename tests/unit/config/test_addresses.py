"""Broker URLs are taken apart or refused in one phrase, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.addresses import Address, broker_address, host_fault


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
