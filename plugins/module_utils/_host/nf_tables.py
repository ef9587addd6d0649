# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables of nf_tables are dormant, as the kernel tells over netlink: iptables-save does not, and nft does only
with all of a table's rules. It decides nothing."""

import os
import socket
import struct
from typing import Iterator, List, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError

# include/uapi/linux: netlink.h, netfilter.h, netfilter/nfnetlink.h, netfilter/nf_tables.h
_NETLINK_NETFILTER = 12
_NFT_MSG_NEWTABLE = 10 << 8
_NFT_MSG_GETTABLE = _NFT_MSG_NEWTABLE | 1
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NFTA_TABLE_NAME = 1
_NFTA_TABLE_FLAGS = 2
_NFT_TABLE_F_DORMANT = 1
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

_MESSAGE = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_SECONDS = 10
_LARGEST = 1 << 16


def dormant_tables() -> List[str]:
    """The tables whose chains see no packet, each as ``family name``: nft(8), flag ``dormant``.

    :raises SenetError: the kernel does not tell.
    """
    request = _MESSAGE.pack(_MESSAGE.size + _FAMILY.size, _NFT_MSG_GETTABLE, _NLM_F_REQUEST_DUMP, 1, 0)
    found = []  # type: List[str]
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as kernel:
            kernel.settimeout(_SECONDS)
            kernel.sendto(request + _FAMILY.pack(0, 0, 0), (0, 0))
            ended = False
            while not ended:
                names, ended = dormant_among(kernel.recv(_LARGEST))
                found += names
    except OSError as exc:
        raise SenetError(
            "The kernel does not tell which tables of nf_tables are dormant ({0}); run as root on a kernel with "
            "nf_tables, or see 'nft list ruleset'.".format(exc.strerror or exc)
        ) from exc
    return sorted(found)


def dormant_among(answer: bytes) -> Tuple[List[str], bool]:
    """The dormant tables in a part of the kernel's answer, and whether it is the last part.

    :raises OSError: the answer is an error.
    """
    found = []  # type: List[str]
    for kind, payload in _messages(answer):
        if kind == _NLMSG_DONE:
            return found, True
        if kind == _NLMSG_ERROR:
            code = -struct.unpack_from("=i", payload)[0]
            raise OSError(code, os.strerror(code))
        if kind == _NFT_MSG_NEWTABLE:
            family = _FAMILIES.get(payload[0], str(payload[0]))
            attributes = dict(_attributes(payload[_FAMILY.size:]))
            flags = int.from_bytes(attributes.get(_NFTA_TABLE_FLAGS, b""), "big")
            if flags & _NFT_TABLE_F_DORMANT:
                name = attributes.get(_NFTA_TABLE_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
                found.append("{0} {1}".format(family, name))
    return found, False


def _messages(answer: bytes) -> Iterator[Tuple[int, bytes]]:
    while len(answer) >= _MESSAGE.size:
        length, kind = _MESSAGE.unpack_from(answer)[:2]
        yield kind, answer[_MESSAGE.size:length]
        answer = answer[_aligned(max(length, _MESSAGE.size)):]


def _attributes(payload: bytes) -> Iterator[Tuple[int, bytes]]:
    while len(payload) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(payload)
        yield kind, payload[_ATTRIBUTE.size:length]
        payload = payload[_aligned(max(length, _ATTRIBUTE.size)):]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
