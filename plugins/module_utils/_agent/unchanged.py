# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host answered to a look that found nothing to do, kept in /run: a look that gets the same answers finds the
same, and is spared the work on them.

What a look finds depends on its options, on the collection's code, and on what the edges of the host answer, since only
they do input. A watched host has the look get every answer through here. The next look with the same options asks all
of that again, and goes its own way at the first answer that is another one.
"""

import hashlib
import json
import re
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._host.files import read_owned, write_owned
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import boot_id
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import Process

DIRECTORY = "/run/senet-firewall"
# What only reads, by edge; an edge that is a function has no name for it. After anything else a look is not kept.
_QUESTIONS = frozenset(
    (edge, name)
    for edge, names in {
        "selinux": "status has_levels",
        "netfilter": "backends save saves ruleset dormant iptables interfaces versions remembers source_ports",
        "netlabel": "available save",
        "store": "module interface_contexts",
        "service": "intent in_place command systemd",
        "guard": "pending repairs",
        "accounts": "distribution matches_cgroups uid unknown_units look_up",
    }.items()
    for name in names.split()
) | {(edge, "") for edge in ("processes", "refused_ports", "unlabelled_mptcp", "saved_rules", "ipsec_labels")}
# What the loaded policy alone decides, whose number is compared in place of thousands of answers
_OF_POLICY = frozenset(
    [("selinux", name) for name in ("context", "canonical", "access", "initial")]
    + [("decisions", name) for name in ("refresh", "access")]
)
# What iptables-save says beside rules: when it was called, and how many packets there were; not that it left something
# out. A pattern that begins with these letters is found fast in a long text.
_UNREAD = "# Table `"
_COMMENT = re.compile(r"\n#(?! Table `).*")
_COUNTERS = re.compile(r"\n(:\S+ \S+) \[[0-9]+:[0-9]+\]")
# Texts that are asked for more than once
_LONG = 4096

Question = Tuple[str, str, List[Any]]


class Look:
    """One look at a host by a module with these options; ``digest`` tells the code from any other."""

    def __init__(self, host: Host, digest: str, name: str, params: Dict[str, Any], directory: str = DIRECTORY) -> None:
        told = json.dumps([digest, boot_id(), name, params], sort_keys=True)
        self._key = hashlib.sha256(told.encode("utf-8")).hexdigest()
        # No more than sixteen, whatever is asked for
        self._path = "{0}/unchanged-{1}.json".format(directory, self._key[0])
        self._host = host
        self._load = host.selinux.policy_load()
        self._asked = []  # type: List[List[Any]]
        self._of_policy = False
        self._plain = True
        self._fresh = {}  # type: Dict[str, Any]
        self._saved = {}  # type: Dict[str, str]

    def recall(self) -> Optional[Dict[str, Any]]:
        """What an earlier look returned, if the host answers as it did then."""
        try:
            kept = _unsealed(read_owned(self._path) or "")
            if kept["key"] != self._key or kept["load"] != self._load:
                return None
            for edge, name, args, digest in kept["asked"]:
                if (edge, name) not in _QUESTIONS:
                    return None
                answer = self._answer((edge, name, args))
                self._fresh[json.dumps([edge, name, args])] = answer
                if _digest(answer) != digest:
                    return None
            found = kept["result"]  # type: Dict[str, Any]
        except (SenetError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return found if self._host.selinux.policy_load() == self._load else None

    def watched(self) -> Host:
        """The host, with each answer noted."""
        return Host(*(self._watched(edge, getattr(self._host, edge)) for edge in Host._fields))

    def keep(self, result: Dict[str, Any]) -> None:
        """Keep what the look returned if it is nothing but an answer to questions; where it cannot be, the next look
        does all its work."""
        if result.get("failed") or result.get("changed") or not self._plain:
            return
        if self._host.selinux.policy_load() != self._load or (self._of_policy and self._load is None):
            return
        kept = {"key": self._key, "load": self._load, "asked": self._asked, "result": result}
        try:
            write_owned(self._path, _sealed(json.dumps(kept)))
        except SenetError:
            return

    def ask(self, edge: str, name: str, args: Tuple[Any, ...]) -> Any:
        """What the host answers, noted."""
        if name in ("saves", "ruleset") and not args:
            return self.pass_on(edge, name)()
        # These two get what was saved before, which is noted
        question = (edge, name, [] if name in ("saves", "ruleset") else _plain_args(args))
        known = json.dumps(question)
        answer = self._fresh.pop(known) if known in self._fresh else self._answer(question)
        self._asked.append(list(question) + [_digest(answer)])
        if isinstance(answer, SenetError):
            raise answer
        return answer

    def pass_on(self, edge: str, name: str) -> Any:
        """What an edge has beside questions."""
        if (edge, name) in _OF_POLICY:
            self._of_policy = True
        else:
            self._plain = False
        return _part(self._host, edge, name)

    def _watched(self, edge: str, own: Any) -> Any:
        if not callable(own):
            return own if edge == "pid" else _Edge(self, edge)

        def call(*args: Any) -> Any:
            # Sockets are for a change alone
            if (edge, "") not in _QUESTIONS or (edge, args) == ("processes", (True,)):
                return self.pass_on(edge, "")(*args)
            return self.ask(edge, "", args)

        return call

    def _answer(self, question: Question) -> Any:
        """What the host answers, or the error that it raises, less what no look goes by."""
        edge, name, args = question
        part = _part(self._host, edge, name)
        try:
            if name == "saves":
                known = list(self._saved.values())
                return [
                    saved if any(saved.text is text for text in known) else saved._replace(text=_still(saved.text))
                    for saved in part(self._saved)
                ]
            if name == "ruleset":
                return part(self._saved)
            answer = part(*args) if callable(part) else part
        except SenetError as exc:
            return exc
        if edge == "processes":
            return sorted({_seen(process) for process in answer}, key=repr)
        if (edge, name) == ("netfilter", "save"):
            self._saved[args[0]] = answer = _still(answer)
        return answer


class _Edge:
    """An edge whose answers are noted."""

    def __init__(self, look: Look, edge: str) -> None:
        self._look = look
        self._edge = edge

    def __getattr__(self, name: str) -> Any:
        if (self._edge, name) not in _QUESTIONS:
            return self._look.pass_on(self._edge, name)
        if name == "systemd":
            return self._look.ask(self._edge, name, ())
        return lambda *args: self._look.ask(self._edge, name, args)


def _part(host: Host, edge: str, name: str) -> Any:
    own = getattr(host, edge)
    return getattr(own, name) if name else own


def _plain_args(args: Tuple[Any, ...]) -> List[Any]:
    """The arguments as JSON has them."""
    return [arg if isinstance(arg, str) else sorted(arg) if isinstance(arg, (set, frozenset)) else
            list(arg) if isinstance(arg, tuple) else arg for arg in args]  # fmt: skip


def _still(text: str) -> str:
    while text.startswith("#") and not text.startswith(_UNREAD):
        text = text.partition("\n")[2]
    return _COUNTERS.sub(r"\n\1", _COMMENT.sub("", text))


def _seen(process: Process) -> Process:
    """Whose a process is: what a look that finds nothing to do goes by."""
    service = process.unit if process.unit and process.unit.endswith(".service") else None
    return process._replace(
        pid=0, ppid=0, executable=None, command="", command_line=(), unit=service, user_unit=None, cgroup=None,
        network_namespace=None,
    )  # fmt: skip


def _digest(answer: Any) -> str:
    found = hashlib.sha256()
    for part in _parts(answer):
        found.update(part)
    return found.hexdigest()


def _parts(answer: Any) -> Iterator[bytes]:
    """The bytes of an answer, of no two the same."""
    if isinstance(answer, (list, tuple)):
        yield "{0} of {1} ".format(type(answer).__name__, len(answer)).encode("utf-8")
        for one in answer:
            yield from _parts(one)
        return
    if isinstance(answer, str) and len(answer) > _LONG:
        yield b"long " + _digest_of_long(answer)
        return
    data = (answer if isinstance(answer, str) else repr(answer)).encode("utf-8", "surrogatepass")
    yield "{0} {1} ".format(type(answer).__name__, len(data)).encode("utf-8")
    yield data


@lru_cache(maxsize=8)
def _digest_of_long(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _sealed(text: str) -> str:
    return "{0}\n{1}".format(hashlib.sha256(text.encode("utf-8")).hexdigest(), text)


def _unsealed(content: str) -> Dict[str, Any]:
    """What was sealed.

    :raises ValueError: it is damaged.
    """
    text = content.partition("\n")[2]
    if content != _sealed(text):
        raise ValueError("it is damaged")
    found = json.loads(text)  # type: Dict[str, Any]
    return found
