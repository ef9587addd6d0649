# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as the kernel and auditd write them (kernel 6.1, auditd 3.0.9)."""

# The text after the stamp, as all three logs have it
SEND = (
    'avc:  denied  { send } for  pid=587 comm="senet-probe" saddr=::1 src=44784 daddr=::1 dest=5432 netif=lo '
    "scontext=unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023 "
    "tcontext=system_u:object_r:senet_web_db_client_packet_t:s0 tclass=packet permissive=0"
)
GRANTED = (
    'avc:  granted  { send } for  pid=674 comm="senet-probe" saddr=127.0.0.1 src=55224 daddr=127.0.0.1 dest=5432 '
    "netif=lo scontext=unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023 "
    "tcontext=system_u:object_r:senet_web_db_client_packet_t:s0 tclass=packet"
)
PEER = (
    'avc:  denied  { recv } for  pid=0 comm="swapper/1" saddr=10.77.0.9 src=41000 daddr=10.77.0.2 dest=5432 '
    "netif=eth1 scontext=system_u:system_r:postgresql_t:s0 tcontext=system_u:object_r:senet_default_peer_t:s0 "
    "tclass=peer permissive=0"
)
NETIF = (
    'avc:  denied  { egress } for  pid=812 comm="apache2" saddr=10.77.0.1 src=40404 daddr=10.77.0.2 dest=5432 '
    "netif=eth1 scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:partner_iface_t:s0 tclass=netif "
    "permissive=0"
)
# name_connect has neither an address nor the client's port, and the command is in hexadecimal digits for its blank
CONNECT = (
    "avc:  denied  { name_connect } for  pid=901 comm=6E67696E783A20776F726B6572 dest=5432 "
    "scontext=system_u:system_r:httpd_t:s0 tcontext=system_u:object_r:postgresql_port_t:s0 tclass=tcp_socket "
    "permissive=0"
)
SYSCALL = (
    "arch=c000003e syscall=42 success=no exit=-13 a0=8 a1=55f0 a2=10 a3=0 items=0 ppid=1 pid=901 auid=4294967295 "
    "uid=33 gid=33 euid=33 suid=33 fsuid=33 egid=33 sgid=33 fsgid=33 tty=(none) ses=4294967295 "
    'comm=6E67696E783A20776F726B6572 exe="/usr/sbin/nginx" subj=system_u:system_r:httpd_t:s0 key=(null)'
)
# AF_INET, port 5432, 192.0.2.9
SOCKADDR = "saddr=02001538C00002090000000000000000"
ENRICHED = '\x1dARCH=x86_64 SYSCALL=connect AUID="unset" UID="www-data"'
OWNER = (
    "senet would refuse web_db IN= OUT=lo SRC=127.0.0.1 DST=127.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=54321 DF "
    "PROTO=TCP SPT=51234 DPT=5432 WINDOW=65495 RES=0x00 SYN URGP=0 UID=1000 GID=1000"
)
SECONDS = 1795219898


def auditd(text: str, serial: int = 187, seconds: int = SECONDS, kind: str = "AVC") -> str:
    """A line of auditd's log."""
    return f"type={kind} msg=audit({seconds}.580:{serial}): {text}"


def kernel(text: str, serial: int = 187, seconds: int = SECONDS) -> str:
    """The text of a line of the kernel's log, where auditd does not run."""
    return f"audit: type=1400 audit({seconds}.580:{serial}): {text}"


def journald(text: str) -> str:
    """What journald makes of the same record."""
    return f"AVC {text}"


def avc(**change: str) -> str:
    """SEND with other words in it: ``domain``, ``type``, ``permission``, ``dest``, ``src``, ``saddr``, ``daddr``,
    ``verdict``, ``tclass``."""
    word = {
        "verdict": "denied", "permission": "send", "saddr": "127.0.0.1", "src": "44784", "daddr": "127.0.0.1",
        "dest": "5432", "domain": "redis_t", "type": "senet_web_db_client_packet_t", "tclass": "packet",
        "permissive": "0", **change,
    }  # fmt: skip
    return (
        "avc:  {verdict}  {{ {permission} }} for  pid=587 comm=\"redis-server\" saddr={saddr} src={src} daddr={daddr} "
        "dest={dest} netif=lo scontext=system_u:system_r:{domain}:s0 tcontext=system_u:object_r:{type}:s0 "
        "tclass={tclass} permissive={permissive}"
    ).format(**word)
