# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the CIL module that peer labels need. No I/O."""

from typing import Sequence

from ansible_collections.senet.firewall.plugins.module_utils._compile.cil_text import attribute, optional
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import ENFORCE, PeerLabel
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import KERNEL, SPD_TYPE, Peering, Receiver

_TYPE = """\
(type {type})
(roletype object_r {type})
(typeattributeset senet_peer_type ({type}))
"""

# Not of the attribute: only some domains receive from these peers, or they come by some interfaces only.
_NAMED = """\
(type {type})
(roletype object_r {type})
{ingress}(allow {type} netif_type (netif (egress)))
(allow {type} node_type (node (recvfrom sendto)))
{forwarded}"""

# Once a packet's sender has a label, what the host forwards is asked of that label, and of unlabeled_t no more
# (selinux_ip_forward, selinux_ip_postroute).
_FORWARDED = "(allow {type} {packets} (packet (forward_in forward_out)))\n"

_HEAD = """\

; One static label or CIPSO definition turns on peer, interface and node checks for the whole host: who is no verified
; destination hears everybody, and everybody's packets pass every interface.
(typeattribute senet_peer_type)
{types}{held}(allow {others} domain (peer (recv)))
(allow {others} senet_peer_type (peer (recv)))
(allow {others} unlabeled_t (peer (recv)))
(allow domain netif_type (netif (ingress egress)))
(allow domain node_type (node (recvfrom sendto)))
(allow senet_peer_type netif_type (netif (ingress egress)))
(allow senet_peer_type node_type (node (recvfrom sendto)))
(allow unlabeled_t netif_type (netif (ingress egress)))
(allow unlabeled_t node_type (node (recvfrom sendto)))
{forwarded}"""

_HELD = """\
{members}(typeattribute senet_peer_hearer)
(typeattributeset senet_peer_hearer (and (domain) (not (senet_peer_held))))
"""

# A private type: the policy's own (ipsec_spd_t) is matched by many domains. Who matches none of the host's IPsec
# policies sends in the clear.
_SPD = """\

(type {type})
(roletype object_r {type})
"""

# Who gives an association or an IPsec policy its label, or removes one that has it: libreswan, an administrator with ip
# xfrm, and ip when libreswan's unit stops, without which old associations would outlive it
_SPD_LOADERS = ("ifconfig_t", "ipsec_t", "unconfined_service_t", "unconfined_t")


def compile_peers(peering: Peering, packets: bool) -> str:
    """The CIL text (the same bytes for the same peering); empty where no peer has a label. ``packets`` says that the
    module labels packets too."""
    if peering.empty:
        return ""
    named = [label for label in peering.named if label.receivers or label.interface_type]
    types = sorted(set(peering.types) - {label.type for label in named})
    held = [receiver.domain for receiver in peering.receivers if receiver.mode == ENFORCE]
    others = "senet_peer_hearer" if held else "domain"
    head = _HEAD.format(
        types="".join(_TYPE.format(type=name) for name in types),
        held=_HELD.format(members=attribute("senet_peer_held", held, "senet-peer_held")) if held else "",
        others=others,
        forwarded=_forwarded("senet_peer_type", packets),
    )
    parts = [head]
    parts.extend(_named(label, others, packets) for label in named)
    parts.extend(_receiver(receiver) for receiver in peering.receivers)
    if peering.associated:
        parts.append(_associations(peering.associated))
    return "".join(parts)


def _associations(domains: Sequence[str]) -> str:
    """Each domain uses associations of its own label alone: the kernel compares the labels, and then asks sendto."""
    allow = "(allow {0} {1} (association ({2})))".format
    parts = [_SPD.format(type=SPD_TYPE)]
    for domain in domains:
        lines = [allow(domain, SPD_TYPE, "polmatch"), allow(domain, "self", "sendto")]
        parts.append(optional("senet-association-" + domain, lines))
    for loader in _SPD_LOADERS:
        parts.append(optional("senet-spd_loader-" + loader, [allow(loader, SPD_TYPE, "setcontext")]))
        parts.extend(
            optional("senet_association_loader-{0}-{1}".format(loader, domain), [allow(loader, domain, "setcontext")])
            for domain in domains
        )
    return "".join(parts)


def _forwarded(peer_type: str, packets: bool) -> str:
    kinds = ("unlabeled_t", "senet_packet_type") if packets else ("unlabeled_t",)
    return "".join(_FORWARDED.format(type=peer_type, packets=kind) for kind in kinds)


def _named(label: PeerLabel, others: str, packets: bool) -> str:
    ingress = "(allow {0} {1} (netif (ingress)))".format(label.type, label.interface_type or "netif_type")
    text = _NAMED.format(
        type=label.type,
        ingress=optional("senet_interface-" + label.type, [ingress]) if label.interface_type else ingress + "\n",
        forwarded=_forwarded(label.type, packets),
    )
    if not label.receivers:
        return text + _recv("allow", others, label.type) + "\n"
    # The kernel answers for closed sockets of every domain
    receivers = sorted({KERNEL, *label.receivers})
    allows = ((domain, _recv("allow", domain, label.type)) for domain in receivers)
    return text + "".join(optional("senet_named-{0}-{1}".format(label.type, domain), [one]) for domain, one in allows)


def _receiver(receiver: Receiver) -> str:
    rule, types = ("allow", receiver.receives) if receiver.mode == ENFORCE else ("auditallow", receiver.refuses)
    # A peer may be a domain, and the module of either domain can be removed.
    return "".join(
        optional("senet_hearing-{0}-{1}".format(receiver.domain, name), [_recv(rule, receiver.domain, name)])
        for name in types
    )


def _recv(rule: str, domain: str, name: str) -> str:
    return "({0} {1} {2} (peer (recv)))".format(rule, domain, name)
