# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A look that is kept: told again only to who asks the same of a host that answers the same."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.senet.firewall.plugins.module_utils._agent import module_call, unchanged
from ansible_collections.senet.firewall.plugins.module_utils._agent.unchanged import Look
from ansible_collections.senet.firewall.plugins.module_utils._host.decisions import Decisions
from ansible_collections.senet.firewall.plugins.module_utils._host.guard import Pending
from ansible_collections.senet.firewall.plugins.module_utils._values import options
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from tests.unit.labels import Labels
from tests.unit.netlabel_kernel import NetLabelKernel
from tests.unit.owner import pretend_owner
from tests.unit.scripted_host import ScriptedHost, before_call, process

WEB_DB = {"name": "web_db", "source": ["httpd_t"], "destination": ["postgresql_t"], "ports": ["5432", "7000-7005"]}
CACHE = {"name": "cache", "source": ["httpd_t"], "destination": ["redis_t"], "ports": ["6379"], "mode": "observe"}
OWNED = {**WEB_DB, "users": ["www-data"], "units": ["apache2.service"]}
VERIFIED = {**WEB_DB, "verify_source": "loopback"}
OTHERS = "table inet filter {\n\tchain input {\n\t\ttcp dport 22 accept\n\t}\n}\n"
SCENES: dict[str, dict[str, Any]] = {
    "iptables": {"flows": [WEB_DB, CACHE], "backend": "iptables", "confine": ["redis_t"]},
    "nftables": {"flows": [WEB_DB, CACHE], "backend": "nftables"},
    "owner": {"flows": [OWNED], "layers": ["selinux", "owner"]},
    "peers": {"flows": [VERIFIED]},
}


class Host(ScriptedHost):
    """A host whose kernel counts the policies that it has loaded, and whose tools and processes never say quite the
    same twice."""

    load: int | None = 7
    left_out = False

    def policy_load(self) -> int | None:
        return self.load

    def install(self, text: str) -> None:
        super().install(text)
        self.load = (self.load or 0) + 1

    def host(self) -> Any:
        selinux: Any = self
        return super().host()._replace(decisions=Decisions(selinux, "/proc/none/decisions.json"))

    def save(self, family: str) -> str:
        text = super().save(family)
        packets = len(self.reads)
        if not text or family not in ("ipv4", "ipv6"):
            return text
        said = "# Table `security' contains incompatible base-chains, use 'nft' tool to list them.\n"
        said = (said if self.left_out else "") + f"# Generated at {packets}\n"
        return said + text.replace("[0:0]", f"[{packets}:{packets * 60}]")

    def processes(self, sockets: bool) -> list[Any]:
        shift = len(self.reads)
        return [each._replace(pid=each.pid + shift) for each in super().processes(sockets)][:: 1 if shift % 2 else -1]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asked(given: dict[str, Any]) -> dict[str, Any]:
    """The options as a module gets them."""
    checked = ArgumentSpecValidator(**options.MODULES["flows"]).validate({"confirm_timeout": 0, **given})
    assert not checked.error_messages
    found: dict[str, Any] = checked.validated_parameters
    return found


def in_place(scene: str) -> Host:
    """A host that has what a scene asks for."""
    host = Host()
    host.listed = OTHERS
    run = {"name": "flows", "params": asked(SCENES[scene]), "check_mode": False}
    done = module_call._result(run, host.host)
    assert done["changed"], done
    host.service.running = True
    return host


def call(scene: str, **more: Any) -> dict[str, Any]:
    return {"name": "flows", "params": asked({**SCENES[scene], **more}), "check_mode": True, "keep": True}


def recalled(host: Host, directory: Path, params: dict[str, Any], digest: str = "of this code") -> Any:
    return Look(host.host(), digest, "flows", params, str(directory)).recall()


def kept(host: Host, directory: Path, scene: str) -> dict[str, Any]:
    """Look once; what that found."""
    look = Look(host.host(), "of this code", "flows", asked(SCENES[scene]), str(directory))
    found = module_call._result(call(scene), look.watched)
    look.keep(found)
    return found


def test_a_look_is_told_as_without_being_kept(scene: str, directory: Path) -> None:
    host = in_place(scene)
    host.unlabelled_mptcp = True
    host.guard.repaired("a rule was missing")
    plain = module_call._result(call(scene), host.host)
    assert plain["warnings"]
    assert not plain["changed"]
    assert recalled(host, directory, asked(SCENES[scene])) is None
    assert kept(host, directory, scene) == plain
    assert recalled(host, directory, asked(SCENES[scene])) == json.loads(json.dumps(plain))
    (path,) = directory.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def change_rules(host: Host) -> None:
    for chains in host.families["ipv6"].tables.values():
        for name in chains:
            if name.startswith("SENET_") and chains[name]:
                chains[name].pop()
    host.families["inet"].text = host.families["inet"].text.replace("5432", "5433")


CHANGES: dict[str, Callable[[Host], Any]] = {
    "mode": lambda host: setattr(host, "mode", "permissive"),
    "policy": lambda host: setattr(host, "policy", str(host.policy) + "; more\n"),
    "policy_load": lambda host: setattr(host, "load", 77),
    "no_policy_load": lambda host: setattr(host, "load", None),
    "levels": lambda host: setattr(host, "levels", False),
    "rules": change_rules,
    "legacy": lambda host: host.legacy.update(ipv6="*security\n-A OUTPUT -j SECMARK --selctx x\nCOMMIT\n"),
    "nft": lambda host: setattr(host, "listed", OTHERS.replace("accept", "meta secmark set \"ssh\"")),
    "intent": lambda host: setattr(host.service, "text", str(host.service.text) + " "),
    "watch": lambda host: setattr(host.service, "running", False),
    "no_systemd": lambda host: setattr(host.service, "systemd", False),
    "pending": lambda host: setattr(
        host.guard, "record", Pending("abc", "boot", False, "", 0.0, {}, {}, reverts=False)
    ),
    "repairs": lambda host: host.guard.repaired("a rule was missing"),
    "domain": lambda host: host.running.append(process(77, "redis_t")),
    "closed_port": lambda host: host.no_name_connect.add(("httpd_t", 5432)),
    "saved_rules": lambda host: host.saved_rules.update({"/etc/nftables.conf": "x"}),
    "mptcp": lambda host: setattr(host, "unlabelled_mptcp", True),
    "addresses": lambda host: setattr(host, "ip", [4]),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_host_that_answers_otherwise_is_looked_at(change: str, scene: str, directory: Path) -> None:
    host = in_place(scene)
    kept(host, directory, scene)
    assert recalled(host, directory, asked(SCENES[scene])) is not None
    CHANGES[change](host)
    look = Look(host.host(), "of this code", "flows", asked(SCENES[scene]), str(directory))
    assert look.recall() is None
    # The answers of a moment ago are not asked for again
    assert module_call._result(call(scene), look.watched) == module_call._result(call(scene), host.host)


@pytest.mark.parametrize("change", ["user", "unit", "netlabel", "nft", "left_out"])
def test_so_is_one_whose_answers_only_some_flows_need(change: str, directory: Path) -> None:
    scene = "peers" if change == "netlabel" else "owner"
    host = in_place(scene)
    kept(host, directory, scene)
    if change == "user":
        host.accounts.uids["www-data"] = 34
    elif change == "unit":
        host.accounts.groups["apache2.service"] = 4712
    elif change == "netlabel":
        host.netlabel.kernel = NetLabelKernel()
    elif change == "left_out":
        host.left_out = True
    else:
        del host.tools["nft"]
    assert recalled(host, directory, asked(SCENES[scene])) is None


def but_for(other: int, answer: Callable[[Look, Any], Any]) -> Callable[[Look, Any], Any]:
    """The answers, with something else in place of one of them."""
    numbers = itertools.count()
    return lambda look, question: "something else" if next(numbers) == other else answer(look, question)


def test_each_answer_counts(scene: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = in_place(scene)
    kept(host, directory, scene)
    (path,) = directory.iterdir()
    answer = Look._answer
    count = len(json.loads(path.read_text().partition("\n")[2])["asked"])
    assert count > 15
    for other in range(count):
        monkeypatch.setattr(Look, "_answer", but_for(other, answer))
        assert recalled(host, directory, asked(SCENES[scene])) is None


def test_other_options_or_other_code_are_another_look(scene: str, directory: Path) -> None:
    host = in_place(scene)
    kept(host, directory, scene)
    (path,) = directory.iterdir()
    for given in ({"purge": True}, {"confirm_timeout": 60}, {"flows": [CACHE]}, {"mode": "observe"}):
        params = asked({**SCENES[scene], **given})
        for digit in "0123456789abcdef":
            (directory / f"unchanged-{digit}.json").write_bytes(path.read_bytes())
        assert recalled(host, directory, params) is None
    assert recalled(host, directory, asked(SCENES[scene]), "of other code") is None
    assert recalled(host, directory, asked(SCENES[scene])) is not None


def test_another_boot_is_another_look(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = in_place("iptables")
    kept(host, directory, "iptables")
    (path,) = directory.iterdir()
    monkeypatch.setattr(unchanged, "boot_id", lambda: "another")
    for digit in "0123456789abcdef":
        (directory / f"unchanged-{digit}.json").write_bytes(path.read_bytes())
    assert recalled(host, directory, asked(SCENES["iptables"])) is None


def test_only_what_finds_nothing_to_do_is_kept(directory: Path) -> None:
    host = in_place("iptables")
    host.mode = "permissive"
    change_rules(host)
    assert kept(host, directory, "iptables")["changed"]
    host.legacy["ipv4"] = "*security\n-A OUTPUT -j SECMARK --selctx x\nCOMMIT\n"
    assert kept(host, directory, "iptables")["failed"]
    # These did nothing but ask
    for told in ({"failed": True, "msg": "no"}, {"changed": True}):
        Look(host.host(), "of this code", "flows", {}, str(directory)).keep(told)
    assert not directory.exists()


def test_nothing_is_kept_while_policies_are_not_counted_or_change(directory: Path) -> None:
    host = in_place("iptables")
    host.load = None
    assert not kept(host, directory, "iptables")["changed"]
    host.load = 7
    look = Look(host.host(), "of this code", "flows", asked(SCENES["iptables"]), str(directory))
    found = module_call._result(call("iptables"), look.watched)
    host.load = 8
    look.keep(found)
    assert not directory.exists()


def test_nothing_is_recalled_while_a_policy_is_loaded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = in_place("iptables")
    kept(host, directory, "iptables")
    before_call(monkeypatch, host, "interfaces", lambda: setattr(host, "load", 77))
    assert recalled(host, directory, asked(SCENES["iptables"])) is None


def test_a_look_gets_all_that_nft_lists_where_it_asks_for_all(directory: Path) -> None:
    """Labels in a table that iptables tells of, and has no word for."""
    host = in_place("owner")
    host.listed = 'table ip security {\n\tsecmark s {\n\t\t"system_u:object_r:ssh_server_packet_t:s0"\n\t}\n}\n'
    assert not kept(host, directory, "owner")["changed"]
    away = call("owner", state="absent")
    found = module_call._result(away, host.host)
    assert "Labels would stay on this host: 'nft ip security: secmark s'" in found["msg"]
    look = Look(host.host(), "of this code", "flows", away["params"], str(directory))
    assert module_call._result(away, look.watched) == found


@pytest.mark.parametrize("name", ["saves", "ruleset"])
def test_a_look_that_asks_for_all_is_not_kept(name: str, directory: Path) -> None:
    look = Look(in_place("iptables").host(), "of this code", "flows", {}, str(directory))
    getattr(look.watched().netfilter, name)()
    look.keep({"changed": False})
    assert not directory.exists()


@pytest.mark.parametrize("place", ["", "*raw\nCOMMIT\n# Completed on\n"])
def test_only_comments_that_tell_nothing_are_left_out(place: str) -> None:
    said = "# Table `{0}' contains incompatible base-chains, use 'nft' tool to list them.\n"
    table = "# Generated by\n*nat\n:INPUT ACCEPT [1:2]\nCOMMIT\n# Completed\n"
    text = f"# Generated by\n{place}{said.format('nat')}{table}"
    assert unchanged._still(text) == text.replace("# Generated by\n", "").replace("# Completed on\n", "").replace(
        "# Completed\n", ""
    ).replace(" [1:2]", "")
    assert unchanged._still(said + text).startswith(said)


def test_nothing_is_kept_of_a_look_that_did_more_than_ask(directory: Path) -> None:
    host = in_place("iptables")
    look = Look(host.host(), "of this code", "flows", asked(SCENES["iptables"]), str(directory))
    found = module_call._result(call("iptables"), look.watched)
    assert look.watched().history.numbers() == host.history.numbers()
    look.keep(found)
    assert not directory.exists()


def test_what_a_confined_service_may_have_written_is_ignored_and_kept_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = Labels(monkeypatch)
    directory = tmp_path / "senet-firewall"
    directory.mkdir(mode=0o700)
    labels.give(directory, "httpd_var_run_t")
    host = in_place("iptables")
    kept(host, directory, "iptables")
    (path,) = directory.iterdir()
    assert (labels.type(directory), labels.type(path)) == ("var_lib_t", "var_lib_t")
    assert recalled(host, directory, asked(SCENES["iptables"])) is not None
    labels.give(path, "httpd_var_run_t")
    assert recalled(host, directory, asked(SCENES["iptables"])) is None
    kept(host, directory, "iptables")
    assert recalled(host, directory, asked(SCENES["iptables"])) is not None


def spoil(path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = path.read_text()
    if how == "cut short":
        path.write_text(content[:-30])
    elif how == "one letter":
        path.write_text(content.replace("web_db", "web_dc", 1))
    elif how == "empty":
        path.write_text("")
    elif how == "sealed and not ours":
        path.write_text(unchanged._sealed("[1, 2]"))
    elif how == "writable by the group":
        path.chmod(0o620)
    elif how == "in a directory of others":
        path.parent.chmod(0o777)
    else:
        pretend_owner(monkeypatch, 1000)


@pytest.mark.parametrize(
    "how",
    ["cut short", "one letter", "empty", "sealed and not ours", "writable by the group", "in a directory of others",
     "of somebody else"],
)  # fmt: skip
def test_what_is_damaged_or_not_of_root_is_ignored(how: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = in_place("iptables")
    kept(host, directory, "iptables")
    assert recalled(host, directory, asked(SCENES["iptables"])) is not None
    (path,) = directory.iterdir()
    spoil(path, how, monkeypatch)
    assert recalled(host, directory, asked(SCENES["iptables"])) is None


def test_only_questions_are_asked_again(directory: Path) -> None:
    host = in_place("iptables")
    kept(host, directory, "iptables")
    (path,) = directory.iterdir()
    content = json.loads(path.read_text().partition("\n")[2])
    content["asked"].insert(0, ["store", "remove", [], ""])
    path.write_text(unchanged._sealed(json.dumps(content)))
    before = list(host.writes)
    assert recalled(host, directory, asked(SCENES["iptables"])) is None
    assert host.writes == before


def test_without_a_place_to_keep_it_the_next_look_does_all_its_work(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = in_place("iptables")

    def full(path: str, content: str) -> None:
        raise SenetError(f"{path} cannot be written.")

    monkeypatch.setattr(unchanged, "write_owned", full)
    found = kept(host, directory, "iptables")
    assert recalled(host, directory, asked(SCENES["iptables"])) is None
    assert kept(host, directory, "iptables") == found


@pytest.mark.parametrize("keep", [True, False])
def test_a_task_in_check_mode_keeps_nothing(keep: bool, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And yet is told what another task kept."""
    host = in_place("iptables")
    monkeypatch.setattr(module_call, "this_host", host.host)
    monkeypatch.setattr(unchanged.Look.__init__, "__defaults__", (str(directory),))
    one = {**call("iptables"), "keep": keep, "facility": None}
    found = json.loads(module_call.run(one, "of this code"))
    assert directory.exists() == keep
    again = json.loads(module_call.run({**one, "keep": False}, "of this code"))
    assert again == found
    assert again["invocation"] == {"module_args": json.loads(json.dumps(one["params"]))}


def test_no_more_than_sixteen_are_kept(directory: Path) -> None:
    host = in_place("iptables")
    for number in range(100):
        Look(host.host(), str(number), "flows", {}, str(directory)).keep({"changed": False})
    assert len(os.listdir(directory)) <= 16
