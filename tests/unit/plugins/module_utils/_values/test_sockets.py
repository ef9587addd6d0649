# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsing the tables /proc/net/{tcp,tcp6,udp,udp6}."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.sockets import Socket, parse_address, parse_table

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
BYTE_ORDERS = {"little": "<", "big": ">"}


def kernel_digits(packed: bytes, byteorder: str) -> str:
    """The address as the kernel prints it: each 32-bit word as a number of a host with that byte order."""
    words = struct.unpack(f"{BYTE_ORDERS[byteorder]}{len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words)


def row(local: str, remote: str, state: str, inode: int) -> str:
    return (
        f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 "
        "000000004c530887 100 0 0 10 0\n"
    )


def parse(*rows: str, protocol: str = "tcp", byteorder: str = "little") -> dict[int, Socket]:
    return parse_table((HEADER + "".join(rows)).encode(), protocol, byteorder)


@given(st.ip_addresses(v=4), st.sampled_from(sorted(BYTE_ORDERS)))
def test_an_ipv4_address_comes_back(address: IPv4Address, byteorder: str) -> None:
    assert parse_address(kernel_digits(address.packed, byteorder), byteorder) == ("ipv4", str(address))


@given(st.ip_addresses(v=6), st.sampled_from(sorted(BYTE_ORDERS)))
def test_an_ipv6_address_comes_back(address: IPv6Address, byteorder: str) -> None:
    family, text = parse_address(kernel_digits(address.packed, byteorder), byteorder)
    if address.ipv4_mapped is None:
        assert (family, IPv6Address(text)) == ("ipv6", address)
    else:
        assert (family, IPv4Address(text)) == ("ipv4", address.ipv4_mapped)


@given(st.ip_addresses(v=4), st.sampled_from(sorted(BYTE_ORDERS)))
def test_an_ipv4_mapped_address_is_ipv4(address: IPv4Address, byteorder: str) -> None:
    packed = b"\0" * 10 + b"\xff\xff" + address.packed
    assert parse_address(kernel_digits(packed, byteorder), byteorder) == ("ipv4", str(address))


@pytest.mark.parametrize("digits", ["", "7F", "0100007F01", "0100007G", "0" * 34])
def test_anything_else_is_no_address(digits: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(digits, "little")


def test_a_listening_tcp_socket_has_no_remote_end() -> None:
    assert parse(row("0100007F:1538", "00000000:0000", "0A", 1130)) == {
        1130: Socket("tcp", "ipv4", "127.0.0.1", 5432, None, None, "listen")
    }


def test_a_tcp_connection_has_both_ends() -> None:
    assert parse(row("0100007F:1538", "0200000A:A38E", "01", 77)) == {
        77: Socket("tcp", "ipv4", "127.0.0.1", 5432, "10.0.0.2", 41870, "established")
    }


def test_a_connection_over_a_dual_stack_socket_is_ipv4() -> None:
    mapped = "0000000000000000FFFF00000100007F"
    assert parse(row(f"{mapped}:1538", f"{mapped}:A38E", "08", 78)) == {
        78: Socket("tcp", "ipv4", "127.0.0.1", 5432, "127.0.0.1", 41870, "close_wait")
    }


def test_unconnected_udp_listens_and_connected_udp_does_not() -> None:
    sockets = parse(
        row("00000000:0035", "00000000:0000", "07", 1), row("0100007F:A38E", "0100007F:0035", "01", 2), protocol="udp"
    )
    assert sockets == {
        1: Socket("udp", "ipv4", "0.0.0.0", 53, None, None, "unconnected"),
        2: Socket("udp", "ipv4", "127.0.0.1", 41870, "127.0.0.1", 53, "established"),
    }
    assert [sockets[1].is_listening, sockets[2].is_listening] == [True, False]


def test_a_socket_of_no_process_is_left_out() -> None:
    assert parse(row("0100007F:1538", "0100007F:A38E", "06", 0)) == {}


def test_a_state_from_a_newer_kernel_is_passed_on() -> None:
    assert parse(row("0100007F:1538", "0100007F:A38E", "1F", 5))[5].state == "1F"


@given(st.integers(0, 65535), st.integers(1, 65535), st.integers(1, 2**32 - 1), st.sampled_from(["tcp", "udp"]))
def test_ports_and_inode_come_back(local: int, remote: int, inode: int, protocol: str) -> None:
    parsed = parse(row(f"0100007F:{local:04X}", f"0100007F:{remote:04X}", "01", inode), protocol=protocol)
    assert parsed == {inode: Socket(protocol, "ipv4", "127.0.0.1", local, "127.0.0.1", remote, "established")}


@pytest.mark.parametrize("line", ["   0: nonsense\n", row("0100007F", "00000000:0000", "0A", 1), "0:\n"])
def test_a_line_of_another_shape_is_named(line: str) -> None:
    with pytest.raises(SenetError, match="is not a line of the kernel's tcp table"):
        parse(line)
