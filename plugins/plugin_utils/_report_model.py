# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many hosts have, as the data of a report: docs/report.schema.json says what is in it. No I/O.

Names of processes, and what else a host says, may hold anything: characters that do not show are written out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow

# Increased when a key goes or changes its meaning
FORMAT = 1
UNKNOWN, NOT_ENFORCED, DRIFTED, OBSERVED, ENFORCED, NO_FLOWS = STATES = (
    "unknown", "not enforced", "drifted", "observed", "enforced", "no flows"
)  # fmt: skip
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_DENIAL_KEYS = (
    "verdict", "domain", "users", "flow", "side", "direction", "protocol", "port", "clients", "servers", "classes",
    "permissions", "count", "first", "last",
)  # fmt: skip
# What a page needs of the kinds of a row's values
_LISTS = ("users", "clients", "servers", "classes", "permissions", "commands")
_NUMBERS = ("port", "count")
_TEXTS = ("flow", "domain", "verdict", "side", "direction", "protocol", "first", "last")
_MAY_LACK = ("flow", "domain", "protocol")


class Results(NamedTuple):
    """What a host's modules returned; a result that is missing or failed says nothing."""

    flows: Mapping[str, Any]
    access: Mapping[str, Any]
    denials: Mapping[str, Any]


def model(results: Mapping[str, Results], made: str, since: str) -> dict[str, Any]:
    """The data of a report on these hosts, the worst first."""
    hosts = [_told(name, each) for name, each in results.items()]
    hosts.sort(key=lambda host: (STATES.index(host["state"]), host["name"]))
    return {
        "format": FORMAT,
        "made": made,
        "since": since,
        "summary": {
            "hosts": len(hosts),
            "states": {state: sum(host["state"] == state for host in hosts) for state in STATES},
            "findings": sum(len(host["findings"]) for host in hosts),
            "refused": sum(_count(host["denials"], "refused") for host in hosts),
            "observed": sum(_count(host["denials"], "observed") for host in hosts),
        },
        "flows": _fleet_flows(hosts),
        "hosts": hosts,
    }


def visible(value: Any) -> Any:
    """The value in Python's own types, with what does not show in its strings written as an escape."""
    if isinstance(value, str):
        return "".join(_shown(character) for character in str.__str__(value))
    if isinstance(value, Mapping):
        return {visible(str(key)): visible(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [visible(item) for item in value]
    return value


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _ok(result: Any) -> bool:
    return isinstance(result, Mapping) and not any(result.get(key) for key in ("failed", "unreachable", "skipped"))


def _told(name: str, results: Results) -> dict[str, Any]:
    try:
        return _host(name, results)
    except (AttributeError, KeyError, TypeError, ValueError, SenetError):
        # The other hosts' report does not depend on what one of them made up
        failed = {"failed": True, "msg": "what it returned has another form than this version of the collection knows"}
        return _host(name, Results(failed, {}, {}))


def _host(name: str, results: Results) -> dict[str, Any]:
    record = results.flows if _ok(results.flows) else {}
    access = results.access if _ok(results.access) else {}
    denials = results.denials if _ok(results.denials) else {}
    flows = [parse_flow(flow).as_dict() for flow in record.get("flows", [])]
    pending = record.get("pending")
    told: dict[str, Any] = visible(
        {
            "name": name,
            "state": _state(record, access),
            "problems": _problems(results, record, denials),
            "selinux": record.get("selinux"),
            "layers": record.get("layers", []),
            "backend": record.get("backend"),
            "flows": flows,
            "confined": [{"domain": domain, "mode": mode} for domain, mode in record.get("confine", {}).items()],
            "pending": pending["token"] if pending else None,
            "drift": record.get("drift"),
            "access": [_cell(row, flows) for row in access.get("access", [])],
            "findings": [finding["text"] for finding in access.get("findings", [])],
            "denials": [_denial(group) for group in denials.get("groups", [])],
        }
    )
    for row in told["access"] + told["denials"]:
        for key, value in row.items():
            _refuse_kind(key, value)
    return told


def _refuse_kind(key: str, value: Any) -> None:
    """Refuse what cannot be sorted, counted or joined with what other hosts say."""
    if key in _LISTS:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    elif key in _NUMBERS:
        fits = isinstance(value, int) or (value is None and key == "port")
    else:
        fits = key not in _TEXTS or isinstance(value, str) or (value is None and key in _MAY_LACK)
    if not fits:
        raise TypeError(key)


def _state(record: Mapping[str, Any], access: Mapping[str, Any]) -> str:
    if not record:
        return UNKNOWN
    # What waits is in force, and what is on record may not be
    if record.get("pending"):
        return DRIFTED
    if not record["flows"] and not record["confine"]:
        return NO_FLOWS
    labelled = "selinux" in record["layers"]
    if labelled and record["selinux"] != "enforcing" and "owner" not in record["layers"]:
        return NOT_ENFORCED
    if record["drift"] or access.get("findings"):
        return DRIFTED
    modes = {flow["mode"] for flow in record["flows"]} | set(record["confine"].values())
    if modes == {"observe"}:
        return OBSERVED
    # What could not be asked is not said to be so
    return ENFORCED if access or not labelled else UNKNOWN


def _problems(results: Results, record: Mapping[str, Any], denials: Mapping[str, Any]) -> list[str]:
    asked = {"flows_info": results.flows, "packet_access_info": results.access, "packet_denial_info": results.denials}
    found = []
    for module, result in asked.items():
        if isinstance(result, Mapping) and (result.get("failed") or result.get("unreachable")):
            found.append(f"{module} did not answer: {result.get('msg') or 'it failed without a message'}")
            if result.get("unreachable"):
                break
    told = _ok(results.access) and results.access.get("findings")
    if record and "selinux" in record["layers"] and record["selinux"] != "enforcing" and not told:
        found.append(f"SELinux is {record['selinux']} here, so it refuses nothing.")
    found.extend(f"Not in force as asked: {step}." for step in record.get("drift") or ())
    if record.get("pending"):
        found.append(f"The change {record['pending']['token']} waits to be confirmed.")
    if (record.get("outcome") or {}).get("rolled_back"):
        found.append(f"The last change was undone: {record['outcome']['reason']}.")
    if record.get("repaired"):
        found.append(f"Labels had been taken away and were put back: {record['repaired']}.")
    if denials.get("lost"):
        found.append("The kernel dropped records of what it refused, so the counts are too low.")
    return found


def _cell(row: Mapping[str, Any], flows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a domain may do with a flow, beside what the flow says of it."""
    wanted = [word for word, key in (("connects", "source"), ("serves", "destination")) if row[key]]
    granted = [word for word, key in (("connects", "can_connect"), ("serves", "can_serve")) if row[key]]
    observing = any(flow["name"] == row["flow"] and flow["mode"] == "observe" for flow in flows)
    return {
        "flow": row["flow"],
        "domain": row["domain"],
        "asked": wanted,
        "granted": granted,
        "missing": [word for word in wanted if word not in granted],
        "extra": [] if observing else [word for word in granted if word not in wanted],
        "partly": not granted and bool(row["client"] or row["server"]),
    }


def _denial(group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: group[key] for key in _DENIAL_KEYS},
        "commands": sorted({process["command"] for process in group["processes"]}),
        "commands_reliable": group["processes_reliable"],
        "advice": [{"kind": advice["kind"], "text": advice["text"]} for advice in group["advice"]],
    }


def _count(denials: Sequence[Mapping[str, Any]], verdict: str) -> int:
    return sum(denial["count"] for denial in denials if denial["verdict"] == verdict)


def _fleet_flows(hosts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The flows of all hosts, those that differ in addresses alone as one."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for host in hosts:
        for flow in host["flows"]:
            key = (
                flow["name"], tuple(flow["source"]), tuple(flow["destination"]), flow["protocol"],
                tuple(flow["ports"]), flow["mode"],
            )  # fmt: skip
            kept = ("name", "source", "destination", "protocol", "ports", "mode")
            one = found.setdefault(key, {**{name: flow[name] for name in kept}, "hosts": []})
            one["hosts"].append(host["name"])
    return [{**found[key], "hosts": sorted(found[key]["hosts"])} for key in sorted(found)]
