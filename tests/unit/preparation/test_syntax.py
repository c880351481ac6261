"""The parsers of configuration files, on any text."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.preparation import network
from recast.preparation.fstab import parse_fstab
from recast.preparation.isolation import CPU_SECONDS
from recast.preparation.syntax import join_lines, parse_ini, parse_shell, parse_yaml, unquote, walk

PARSERS: list[Callable[[str], Any]] = [
    network.parse_interfaces, network.parse_netplan, network.parse_ifcfg, network.parse_keyfile,
    network.parse_networkd, network.parse_nmstate, network.parse_dhcpcd, network.parse_netifrc,
    network.parse_mactab, parse_fstab, join_lines, parse_ini, parse_shell, unquote,
]  # fmt: skip
WORDS = (
    "network: interfaces: ethernets: {a: addresses: [ ] { } &a *a - iface address use [Match] Name=lo "
    "Address= DHCP=yes \\ \" ' IPADDR= config_a= interface static ip_address= 192.0.2.1/24 "
    "52:54:00:12:34:56 # \0"
)
PIECES = st.sampled_from([*WORDS.split(" "), " ", "\n", "up ip addr add "])


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
@settings(max_examples=50, deadline=None)
def test_any_text(parse: Callable[[str], Any], text: str) -> None:
    """A parser returns a value, or raises ValueError."""
    with suppress(ValueError):
        parse(text)


@pytest.mark.parametrize("text", ["[" * 900 + "]" * 900, "[" * 100_000, "{a: " * 900 + "}" * 900, "- " * 990])
def test_deep_yaml(text: str) -> None:
    """YAML that is nested deeply is read, or is no YAML; it ends no process."""
    with suppress(ValueError):
        assert all(isinstance(mapping, dict) for _, mapping in walk(parse_yaml(text)))


def test_yaml_has_strings_only() -> None:
    """A scalar is a string, whatever it resembles: a MAC address is no number to the base of 60."""
    assert parse_yaml("a: [52:54:00:12:34:56, 1, null, yes]") == {
        "a": ["52:54:00:12:34:56", "1", "null", "yes"]
    }


@pytest.mark.parametrize("text", ["a: *b", "a: \0", "a: [", "? [a]\n: b", "x: &x [*x]"])
def test_no_yaml(text: str) -> None:
    """What is no YAML, or cannot be a value, is a ValueError."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_yaml(text)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("piece", ["\n", "/", "52:54:", "[", "\\\n"])
def test_a_large_text_is_no_long_work(parse: Callable[[str], Any], piece: str) -> None:
    """The largest text that is read takes a fraction of the processor time of an inspection."""
    begin = process_time()
    with suppress(ValueError):
        parse((piece * (1 << 20))[: 1 << 20])
    assert process_time() - begin < CPU_SECONDS
