# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which layers enforce the flows of a host, and who a flow's clients are in the layer owner."""

from typing import Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._compile.owner import Accounts, holds, uids
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN, is_unit, is_user
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import VERIFY_NONE, Flow, FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import AUTO, LAYERS, OWNER, SELINUX, Owners
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process


def choose_layers(asked: Sequence[str], recorded: Optional[Sequence[str]], enabled: bool) -> Tuple[str, ...]:
    """The layers for a host: those asked for, else what it has already, else selinux where that is enabled.

    :raises SenetError: none is asked for, ``auto`` is not alone, or SELinux is wanted and disabled.
    """
    if not asked or (AUTO in asked and len(set(asked)) > 1):
        raise SenetError(
            "Invalid layers [{0}]: use [auto] alone, or any of selinux and owner.".format(", ".join(asked))
        )
    if AUTO not in asked:
        layers = tuple(layer for layer in LAYERS if layer in asked)
    elif recorded and (enabled or SELINUX not in recorded):
        layers = tuple(recorded)
    else:
        layers = (SELINUX,) if enabled else (OWNER,)
    if SELINUX in layers and not enabled:
        raise SenetError(
            "SELinux is disabled on this host, so processes have no domains; enable it in /etc/selinux/config and on "
            "the kernel command line, and reboot, or use layers=[owner], which checks users and units."
        )
    return layers


def refuse_what_owner_cannot(flows: FlowSet) -> None:
    """Hold a set of flows against what can be had without SELinux.

    :raises SenetError: it confines domains, or verifies the source of a flow.
    """
    if flows.confine:
        raise SenetError(
            "The domain '{0}' cannot be confined by the layer owner, which does not check domains; leave it out of "
            "confine, or use the layer selinux.".format(flows.confine[0][0])
        )
    for flow in flows.flows:
        if flow.verify_source != VERIFY_NONE:
            raise SenetError(
                "The flow '{0}' has verify_source={1}, which the layer owner does not support, since it does not "
                "check domains; leave that option out, or use the layer selinux.".format(flow.name, flow.verify_source)
            )


def with_owners(
    flows: FlowSet,
    catalogue: Mapping[str, Owners],
    recorded: Optional[FlowSet],
    processes: Iterable[Process],
    cgroups: bool,
    enabled: bool,
) -> FlowSet:
    """The flows, each with its clients' users and units: its own, else the catalogue's, else those it had before, else
    those of the processes that run in its source domains, which are known where SELinux is ``enabled``. Units go where
    the host matches no control groups.

    :raises SenetError: it is not known who the client of a flow is.
    """
    running = list(processes)
    before = {flow.name: flow for flow in recorded.flows} if recorded is not None else {}
    return flows._replace(
        flows=tuple(_with_owners(flow, catalogue.get(flow.name), before.get(flow.name), running, cgroups, enabled)
                    for flow in flows.flows)
    )  # fmt: skip


def _with_owners(
    flow: Flow, known: Optional[Owners], before: Optional[Flow], processes: List[Process], cgroups: bool, enabled: bool
) -> Flow:
    if flow.users or flow.units or EVERY_DOMAIN in flow.source:
        return flow
    if known is None and before is not None and before.source == flow.source and (before.users or before.units):
        return flow._replace(users=before.users, units=before.units)
    owners = known or _running(flow, processes)
    if not owners.users:
        raise SenetError(
            "The flow '{0}' does not say which users its clients are, and the layer owner checks these{1}; give users "
            "or units, such as users=[www-data], or a pair of the catalogue.".format(
                flow.name,
                ", and no process of {0} runs here that would show them".format(" or ".join(flow.source))
                if enabled
                else ". It enforces the flows of this host, since SELinux is disabled here",
            )
        )
    return flow._replace(users=owners.users, units=owners.units if cgroups else ())


def _running(flow: Flow, processes: List[Process]) -> Owners:
    """The users of the running clients; their units too, if each of them is in one."""
    clients = [process for process in processes if process.context is not None and process.context.type in flow.source]
    # Directories and systemd know names that no flow takes, and that could not be read back
    users = {one.user if one.user and is_user(one.user) else str(one.uid) for one in clients}
    units = {process.unit for process in clients}
    services = {unit for unit in units if unit is not None and unit.endswith(".service") and is_unit(unit)}
    return Owners(tuple(sorted(users)), tuple(sorted(services)) if len(services) == len(units) else ())


def owner_rows(flows: FlowSet, accounts: Accounts) -> List["OwnerRow"]:
    """What the layer owner holds each flow's clients to on this host."""
    return [
        OwnerRow(flow.name, flow.users, tuple(uids(flow, accounts)), flow.units,
                 tuple(unit for unit in flow.units if unit in accounts.units))
        for flow in flows.flows
        if holds(flow)
    ]  # fmt: skip


class OwnerRow(NamedTuple):
    """A flow's users with the uids they have here, and its units with those of them that run here."""

    flow: str
    users: Tuple[str, ...]
    uids: Tuple[int, ...]
    units: Tuple[str, ...]
    running: Tuple[str, ...]
