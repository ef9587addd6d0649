# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a change is refused, before anything is written."""

from typing import Iterable, Optional, Sequence

from ansible_collections.senet.firewall.plugins.module_utils._change.change import Change, is_guarded
from ansible_collections.senet.firewall.plugins.module_utils._change.observation import RULESET
from ansible_collections.senet.firewall.plugins.module_utils._compile import cil, rule_sets
from ansible_collections.senet.firewall.plugins.module_utils._compile.rule_sets import RULE_SETS
from ansible_collections.senet.firewall.plugins.module_utils._compile.xtables import Saved
from ansible_collections.senet.firewall.plugins.module_utils._decisions import foreign_rules, preflight
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending, boot_id, clock
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._host.policystore import locked_message
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import DEFAULT_PACKET_TYPE
from ansible_collections.senet.firewall.plugins.module_utils._values.peers import SPD_TYPE


def unconfirmed(host: Host, check_mode: bool) -> Optional[Pending]:
    """The change of a run that died, or one that should have been undone by now; None without either.

    :raises SenetError: a whole change waits for its confirmation.
    """
    pending = host.guard.pending()
    if pending is None:
        return None
    overdue = pending.overdue(boot_id(), clock())
    if pending.complete and not overdue:
        raise SenetError(
            "The change {0} of this host waits to be confirmed and is undone in {1:.0f} seconds otherwise; confirm it "
            "with the module guard (token={0} state=confirmed), or undo it now with state=aborted.".format(
                pending.token, pending.deadline - clock()
            )
        )
    if check_mode and pending.complete:
        raise SenetError(
            "The change {0} of this host was not confirmed in time, and the host has not managed to undo it yet; see "
            "'journalctl -u senet-firewall-confirm-{0} -u senet-firewall-watch', or run without check mode, which "
            "undoes it first.".format(pending.token)
        )
    if check_mode:
        raise SenetError(
            "The change {0} on this host is incomplete: its run is still at work, or it died at the step '{1}'. Wait "
            "for it, or run without check mode, which undoes what a dead run has done.".format(
                pending.token, pending.step
            )
        )
    return pending


def refuse(host: Host, change: Change) -> None:
    """Raise for whatever speaks against the change, before anything is written."""
    saves = host.netfilter.saves(change.observed.texts)
    foreign = _foreign_labels(saves, change)
    if foreign:
        raise SenetError(
            "Another rule on this host labels packets too, and the last label wins: {0}. Nothing was changed; "
            "remove that rule first.".format(foreign)
        )
    _refuse_dormant(host, saves, change, "Nothing was changed")
    _refuse_stray_owners(saves, change)
    _refuse_netlabel(host, change)
    _refuse_labels_that_stay(host, saves, change)
    _refuse_ipsec_that_stays(host, change)
    if is_guarded(change) or change.desired.intent is not None:
        # Raises where nothing may run it
        host.service.command()
    error = preflight.refusal(change.cuts)
    if error:
        raise SenetError(error)
    holder = host.store.lock_holder()
    if holder:
        raise SenetError(locked_message(host.selinux.policy_name() or "", holder) + " Nothing was changed.")


def _foreign_labels(saves: Iterable[Saved], change: Change) -> str:
    """The rules of others that label packets beside our own, as an error tells of them."""
    if not change.labelled.labels_packets:
        return ""
    return _said(foreign_rules.foreign_labels(saves, change.observed.texts[RULESET]))


def _said(rules: Sequence[str]) -> str:
    more = " (and {0} more)".format(len(rules) - 1) if rules[1:] else ""
    return "'{0}'{1}".format(rules[0], more) if rules else ""


def check_others(host: Host, change: Change) -> None:
    """Raise where rules that no run changes label packets, or refuse them, on a host whose flows are as wanted."""
    saves = host.netfilter.saves(change.observed.texts)
    _refuse_dormant(host, saves, change, "The flows of this host are on record, and are NOT enforced")
    _refuse_stray_owners(saves, change)
    foreign = _foreign_labels(saves, change)
    if foreign:
        raise SenetError(
            "The flows of this host are in place, but may not be enforced: another rule labels packets too, and the "
            "last label wins: {0}. Remove that rule, and find out which program created it.".format(foreign)
        )
    labels = _foreign_netlabel(host, change)
    if labels:
        raise SenetError(
            "The flows of this host are in place, but its peers may have other labels, and may not be verified: "
            "another program has configured NetLabel: 'netlabelctl {0}'. Remove that entry, and find out which program "
            "created it.".format(labels[0])
        )


def _refuse_dormant(host: Host, saves: Iterable[Saved], change: Change, outcome: str) -> None:
    """Raise where the kernel passes over the rules that are wanted, which the tools list all the same."""
    families = {saved.family for saved in saves if saved.default and saved.variant == "nf_tables"}
    sets = [RULE_SETS[name] for name, rules in change.desired.rules.items() if rules is not None]
    asleep = foreign_rules.asleep(sets, families, host.netfilter.dormant() if families and sets else ())
    if asleep:
        raise SenetError(
            "The table '{0}' is dormant, so that no packet meets a rule in it. {1}; wake it with 'nft add table {0}', "
            "and find out which program put it to sleep.".format(asleep[0], outcome)
        )


def _refuse_stray_owners(saves: Iterable[Saved], change: Change) -> None:
    """Raise where rules of the layer owner are in force that no run changes, or takes away."""
    stray = foreign_rules.stray_owner_rules(saves, change.observed.texts[RULESET])
    if stray:
        raise SenetError(
            "Rules of the layer owner are in force on this host where no run changes them: {0}. They refuse users "
            "whatever the flows say. Nothing was changed; remove them with {1}.".format(
                _said([each.rule for each in stray]),
                " and ".join("'{0}'".format(command) for command in sorted({each.remove for each in stray})),
            )
        )


def _refuse_labels_that_stay(host: Host, saves: Iterable[Saved], change: Change) -> None:
    """Raise where the policy for packets is to go and a label is left, of somebody else's or of ours where this change
    does not reach: it keeps packet checks on for the whole host, and the base policy need not let anybody pass."""
    lost = cil.declared_types(change.observed.policy) - cil.declared_types(change.desired.policy)
    if DEFAULT_PACKET_TYPE not in lost:
        return
    # Objects that are labels are not among the rules of iptables
    left = foreign_rules.lasting_labels(saves, host.netfilter.ruleset(), change.observed.tables)
    if left:
        raise SenetError(
            "Labels would stay on this host: {0}. Without the policy module they may cut off domains such as sshd_t. "
            "Nothing was changed; remove them first, each with the command that its text begins with.".format(
                _said(left)
            )
        )
    sets = [name for backend in host.netfilter.backends() for name in rule_sets.names_of(backend)]
    for path, texts in sorted(host.netfilter.elsewhere(sets).items()):
        if any(RULE_SETS[name].parse(text).rules for name, text in texts.items()):
            raise SenetError(
                "The network namespace {0} has labels of its own, and without the policy module they would cut off "
                "this host. Nothing was changed; remove them first with 'nsenter --net={0} {1} clear'.".format(
                    path, " ".join(host.service.command())
                )
            )


def _refuse_ipsec_that_stays(host: Host, change: Change) -> None:
    """Raise where the policy for labelled IPsec is to go and the kernel has some: that alone keeps peer checks on."""
    lost = cil.declared_types(change.observed.policy) - cil.declared_types(change.desired.policy)
    left = host.ipsec_labels() if SPD_TYPE in lost else []
    if left:
        raise SenetError(
            "IPsec policies or associations of this host have labels ('{0}'), and without verify_source=ipsec they may "
            "cut off domains such as sshd_t. Nothing was changed; stop what loaded them first, such as 'systemctl stop "
            "ipsec', see 'ip xfrm policy' and 'ip xfrm state', and run this again.".format(left[0])
        )


def _refuse_netlabel(host: Host, change: Change) -> None:
    """Raise where peer labels are wanted and NetLabel is missing, or configured by somebody else."""
    foreign = _foreign_netlabel(host, change)
    if foreign:
        raise SenetError(
            "Another program has configured NetLabel on this host: 'netlabelctl {0}'. Nothing was changed; remove "
            "that entry, or use neither verify_source nor peer labels.".format(foreign[0])
        )


def _foreign_netlabel(host: Host, change: Change) -> Sequence[str]:
    """What others have configured of NetLabel on a host with peer labels. Of an interface that has labels of its own
    the kernel looks at no others."""
    if change.peers.empty:
        return ()
    own = cil.declared_types(change.observed.policy)
    # Where the command is missing this says so
    foreign = RULE_SETS[rule_sets.NETLABEL].parse(host.save(rule_sets.NETLABEL), own).foreign  # type: Sequence[str]
    return foreign
