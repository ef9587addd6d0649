# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules on record are put in force: at boot, after another program has flushed them, when a unit starts."""

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._change import observation, target
from ansible_collections.senet.firewall.plugins.module_utils._change.take import take_all
from ansible_collections.senet.firewall.plugins.module_utils._compile import owner
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._decisions import plan
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import (
    DEFAULT_PACKET_TYPE,
    VERIFY_NONE,
    FlowSet,
)
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent, parse_intent
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import OWNER, SELINUX, without_types
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import LOOPBACK_PEER_TYPE, peering


class Loaded(NamedTuple):
    """What loading the labels did: the sets of rules it wrote, what the loaded policy has not the types of, such as
    ``the flow 'web_db'``, those of the sets that somebody had changed: not where a unit has stopped, and the sets that
    it took away, since they are not on record."""

    sets: List[str]
    unknown: List[str]
    lost: List[str]
    left_over: List[str]


class Standing(NamedTuple):
    """Whether :func:`refresh` would write nothing, and the types on record that the loaded policy does not have."""

    complete: bool
    lacking: Tuple[str, ...]


class _Missing(NamedTuple):
    """The restore input of each set whose rules are not in force, what the policy does not know, those of the
    sets that somebody has changed, and why others could not be looked at."""

    texts: Dict[str, str]
    unknown: List[str]
    lost: List[str]
    failures: List[SenetError]
    lacking: Tuple[str, ...] = ()


def standing(host: Host, left_over: bool = False) -> Standing:
    """What :func:`refresh` would find, with or without looking for what is left over. It writes nothing itself, so it
    needs no lock.

    :raises SenetError: the file is damaged, or the rules cannot be read.
    """
    intent = _expected(host)
    missing = _missing(host, intent)
    if missing.failures and not missing.texts:
        raise missing.failures[0]
    complete = not missing.texts and not (left_over and _left_over(host, intent))
    return Standing(complete, missing.lacking)


def load(host: Host) -> Loaded:
    """Put the rules of /etc/senet/flows.json in force where they are not, as far as the loaded policy knows them, and
    take others of ours away.

    :raises SenetError: the file is damaged, or a set of rules cannot be loaded; those of the others then are.
    """
    return _load(host, observation.stored_intent(host))


def refresh(host: Host) -> Loaded:
    """The same where a change may wait for its confirmation, whose rules then count, unless its record is damaged: for
    the watch, and for a unit that starts and has a new control group.

    :raises SenetError: the file is damaged, or the rules cannot be loaded.
    """
    return _load(host, _expected(host))


def _expected(host: Host) -> Optional[Intent]:
    try:
        pending = host.guard.pending()
    except SenetError:  # the watch tells it
        pending = None
    if pending is None or not pending.complete:
        return observation.stored_intent(host)
    if not pending.waits(boot_id(), clock()):  # it is being undone, and loading either set would get in the way
        return None
    text = pending.after["intent"]
    return parse_intent(text, "of the change {0}".format(pending.token)) if text is not None else None


def _load(host: Host, intent: Optional[Intent]) -> Loaded:
    missing = _missing(host, intent)
    steps = [plan.Step(plan.RESTORE_RULES, name, text) for name, text in missing.texts.items()]
    failures = missing.failures + take_all(host, steps)
    if failures:
        raise failures[0]
    left_over = _left_over(host, intent)
    failures = take_all(host, plan.removal_steps(left_over))
    if failures:
        raise failures[0]
    return Loaded(list(missing.texts), missing.unknown, missing.lost, list(left_over))


def _left_over(host: Host, intent: Optional[Intent]) -> Dict[str, Any]:
    if intent is None:
        return {}
    return observation.left_over(host, observation.sets_to_read(host, None, intent))


def _missing(host: Host, intent: Optional[Intent]) -> _Missing:
    if intent is None:
        return _Missing({}, [], [], [])
    disabled = host.selinux.status() == "disabled"
    wanted = intent.labelled
    if disabled:
        intent = intent._replace(flows=without_types(intent.flows))
        # Where the layer was not asked for, nobody misses labels
        wanted = wanted if SELINUX in intent.layers else intent.labelled
    peers = peering(wanted)
    unknown = [
        name
        for name in wanted.packet_types + peers.types
        if disabled or host.selinux.canonical(host.selinux.context(name)) is None
    ]
    untold = _untold(wanted, unknown, set(peers.types).intersection(unknown))
    if DEFAULT_PACKET_TYPE in unknown:
        # Not even what no flow names can be labelled
        intent = intent._replace(layers=tuple(layer for layer in intent.layers if layer != SELINUX))
    missing = _Missing({}, untold, [], [], tuple(unknown))
    try:
        accounts = target.look_up(host, intent)
    except SenetError as exc:
        missing.failures.append(exc)
        # Its rules stay as they are
        accounts = owner.Accounts({}, {})
        intent = intent._replace(layers=tuple(layer for layer in intent.layers if layer != OWNER))
    for name, compiled in target.compile_rules(intent, accounts).items():
        rules = RULE_SETS[name].without_types(compiled or (), unknown)
        try:
            table = RULE_SETS[name].parse(host.save(RULE_SETS[name].source), peers.types)
        except SenetError as exc:
            missing.failures.append(exc)
            continue
        rules = target.fitted(host, name, table, rules) or ()
        if not table.installed(rules):
            missing.texts[name] = RULE_SETS[name].restore_text(table, rules)
            # Users and units come and go by themselves: rules of ours for others, if complete, are not a loss
            if not (RULE_SETS[name].layer == OWNER and table.rules and table.installed(table.rules)):
                missing.lost.append(name)
    return missing


def _untold(labelled: FlowSet, unknown: Iterable[str], peer_types: Set[str]) -> List[str]:
    """What cannot be put in force since the policy has not these types, out of them those of peers."""
    lost = set(unknown)
    found = [
        "the flow '{0}'".format(flow.name)
        for flow in labelled.flows
        if lost.intersection(labelled.types_of(flow)) or (peer_types and flow.verify_source != VERIFY_NONE)
    ]
    found.extend("the peer label '{0}'".format(label.type) for label in labelled.peers if label.type in peer_types)
    if labelled.loopback_domains and LOOPBACK_PEER_TYPE in peer_types:
        found.append("the label of {0} on loopback".format(", ".join(labelled.loopback_domains)))
    return found
