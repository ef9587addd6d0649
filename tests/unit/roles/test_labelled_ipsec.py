# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role labelled_ipsec writes, what it asks the kernel, and how it reads libreswan's list of connections."""

import os
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collection_tree import ROOT
from tests.unit.golden_files import assert_golden
from tests.unit.roles.stubbed import Stubbed

ROLE = ROOT / "roles" / "labelled_ipsec"
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())
FLOW = {
    "name": "web_db", "pair": "httpd_to_postgresql", "clients": ["web"], "servers": ["db"], "verify_source": "ipsec",
}  # fmt: skip
HOSTVARS = {
    "web": {"ips": ["10.77.0.1", "fd77::1"]},
    "db": {"ips": ["10.77.0.2", "fd77::2"]},
    "web2": {"ips": ["10.77.0.3"]},
}
GROUPS = {"all": ["web", "db", "web2"]}
KEY = "k" * 32
# A flow of the machine that the tests run on
HERE = {**FLOW, "clients": ["localhost"], "servers": ["192.0.2.20"]}


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> Stubbed:
    return Stubbed(tmp_path_factory.mktemp("roles"))


def written(stubbed: Stubbed, place: Path, template: str, host: str, **variables: Any) -> str:
    """A template of the role as Ansible writes it for a host."""
    made = (
        "{{ [given_flow] | senet.firewall.ipsec_connections(given_host, given_groups, given_hostvars, variable='ips',"
        " certificate=labelled_ipsec_certificate | default(none)) }}"
    )
    given = {"given_flow": FLOW, "given_host": host, "given_groups": GROUPS, "given_hostvars": HOSTVARS}
    done = stubbed.play(
        {
            "vars": {**given, "__labelled_ipsec_connections": made, **variables},
            "tasks": [
                {"ansible.builtin.include_vars": str(ROLE / "vars/main.yml")},
                {"ansible.builtin.template": {"src": str(ROLE / "templates" / template), "dest": str(place / "out")}},
            ],
        }
    )
    assert done.rc == 0, done.output
    return (place / "out").read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("golden", "host", "variables"),
    [
        ("ipsec_client.conf", "web", {}),
        ("ipsec_server.conf", "db", {"given_flow": {**FLOW, "clients": ["web", "web2"], "ports": [5432, 5433]}}),
        ("ipsec_certificate.conf", "web", {"labelled_ipsec_certificate": "web of the lab"}),
    ],
)
def test_the_connections_of_a_host(
    stubbed: Stubbed, tmp_path: Path, golden: str, host: str, variables: dict[str, Any]
) -> None:
    assert_golden(golden, written(stubbed, tmp_path, "senet-labelled-ipsec.conf.j2", host, **variables))


@pytest.mark.long
def test_the_key_is_that_of_each_pair_of_addresses(stubbed: Stubbed, tmp_path: Path) -> None:
    several = {"given_flow": {**FLOW, "clients": ["web", "web2"], "ports": [5432, 5433]}, "labelled_ipsec_psk": KEY}
    assert_golden("ipsec.secrets", written(stubbed, tmp_path, "senet-labelled-ipsec.secrets.j2", "db", **several))


@pytest.mark.long
def test_the_policy_module(stubbed: Stubbed, tmp_path: Path) -> None:
    text = written(stubbed, tmp_path, "senet_labelled_ipsec.cil.j2", "web")
    assert_golden("ipsec_daemon.cil", text)
    # A policy without one of the types takes the rest
    outside = re.sub(r"^\(optional .*\n( .*\n)*", "", text, flags=re.MULTILINE)
    assert [line for line in outside.splitlines() if line and not line.startswith(";")] == []


@pytest.mark.long
def test_what_is_asked_of_the_kernel_is_what_the_module_grants(stubbed: Stubbed, tmp_path: Path) -> None:
    text = written(stubbed, tmp_path, "senet_labelled_ipsec.cil.j2", "web")
    granted = re.findall(r"\(allow (\S+) (\S+) \((\S+) \(([^)]*)\)\)\)", text)
    (tmp_path / "rules.j2").write_text("{{ __labelled_ipsec_rules }}")
    asked = written(stubbed, tmp_path, str(tmp_path / "rules.j2"), "web")
    assert asked.splitlines() == [" ".join(rule) for rule in granted]


class Kernel:
    """A directory in place of selinuxfs. In its file `access` the answer stands where the question ends."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "class/security/perms").mkdir(parents=True)
        (place / "class/security/index").write_text("1")
        for bit, name in enumerate(("compute_av", "compute_create"), 1):
            (place / "class/security/perms" / name).write_text(str(bit))

    def lacks(self, rule: str, question: str, answer: str) -> str:
        (self.place / "access").write_text("." * len(question) + answer)
        script = (ROLE / "files/policy-lacks").read_text().replace("/sys/fs/selinux", str(self.place))
        done = subprocess.run(["sh", "-c", script], input=rule + "\n", text=True, capture_output=True, check=True)
        assert (self.place / "access").read_text() == question + answer, done.stderr
        return done.stdout


@pytest.mark.parametrize(
    ("allowed", "lacking"),
    [("3", []), ("1", ["compute_create"]), ("2", ["compute_av"]), ("0", ["compute_av", "compute_create"])],
)
@pytest.mark.parametrize("target", ["security_t", "self"])
def test_what_the_policy_lacks_is_what_the_kernel_does_not_allow(
    tmp_path: Path, target: str, allowed: str, lacking: list[str]
) -> None:
    thing = "system_u:system_r:ipsec_t:s0" if target == "self" else "system_u:object_r:security_t:s0"
    answer = f"{allowed} ffffffff 0 ffffffff 7 0"
    rule = f"ipsec_t {target} security compute_av compute_create"
    said = Kernel(tmp_path).lacks(rule, f"system_u:system_r:ipsec_t:s0 {thing} 1", answer)
    assert said.splitlines() == [f"ipsec_t {target} security {name}" for name in lacking]


def test_a_class_that_the_kernel_does_not_have_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "access").touch()
    script = (ROLE / "files/policy-lacks").read_text().replace("/sys/fs/selinux", str(tmp_path))
    done = subprocess.run(["sh", "-c", script], input="a_t b_t none read\n", text=True, check=False)
    assert done.returncode != 0


class Database:
    """libreswan's database of certificates: a file for each nickname, in place of NSS, with tools like its."""

    CERTUTIL = """\
        place=${3#sql:}
        case $1 in
        -N) mkdir "$place/certificates" ;;
        -L)
            printf '\\nCertificate Nickname  Trust Attributes\\n  SSL,S/MIME,JAR/XPI\\n\\n'
            for file in "$place"/certificates/*; do [ ! -e "$file" ] || printf '%-60s u,u,u\\n' "${file##*/}"; done
            ;;
        *) rm "$place/certificates/$5" ;;
        esac
        """
    PK12UTIL = """\
        [ -s "$6" ] || { echo 'password file contains no data' >&2; exit 1; }
        [ "$(cat "$6")" = "$(head -n 1 "$2")" ] || { echo SEC_ERROR_BAD_PASSWORD; echo invalid; exit 18; } >&2
        sed 1d "$2" | while read -r name; do cp "$2" "${4#sql:}/certificates/$name"; done
        """

    def __init__(self, place: Path) -> None:
        self._place = place
        self.record = place / "etc/senet-labelled-ipsec.imported"
        for directory in ("bin", "etc", "nss/certificates"):
            (place / directory).mkdir(parents=True)
        self.tool("certutil", self.CERTUTIL)
        self.tool("pk12util", self.PK12UTIL)
        self.tool("ipsec", ":")

    def tool(self, name: str, text: str) -> None:
        path = self._place / "bin" / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def run(self, *lines: str) -> tuple[int, str, str]:
        """The exit code of the script, what it said, and the last line of what it complained of."""
        script = (ROLE / "files/certificate").read_text().replace("/var/lib/ipsec/nss", str(self._place / "nss"))
        done = subprocess.run(
            ["sh", "-c", script.replace("/etc/ipsec.d", str(self._place / "etc"))],
            input="".join(line + "\n" for line in lines), text=True, capture_output=True, check=False,
            env={**os.environ, "PATH": f"{self._place / 'bin'}:{os.environ['PATH']}"},
        )  # fmt: skip
        return done.returncode, done.stdout.strip(), "".join(done.stderr.splitlines()[-1:])

    def imported(
        self, digest: str, *nicknames: str, password: str = "", given: str = "", action: str = "import"
    ) -> tuple[int, str, str]:
        """The script's import of a file with these nicknames, the first one the host's."""
        text = "".join(line + "\n" for line in (password, *nicknames))
        return self.run(f"{action} {digest} {nicknames[0]}", given or password, b64encode(text.encode()).decode())

    def nicknames(self) -> list[str]:
        return sorted(path.name for path in (self._place / "nss/certificates").iterdir())

    def put(self, nickname: str) -> None:
        (self._place / "nss/certificates" / nickname).write_text("of the administrator")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


@pytest.mark.parametrize("password", ["", "of the lab", " with blanks\\ "])
def test_a_certificate_is_imported_once_and_removed_with_what_it_brought(database: Database, password: str) -> None:
    database.put("lab authority")
    assert database.imported("d1", "web of the lab", "second authority", password=password) == (0, "changed", "")
    assert database.nicknames() == ["lab authority", "second authority", "web of the lab"]
    for action in ("import", "compare"):
        assert database.imported("d1", "web of the lab", password=password, action=action) == (0, "", "")
        assert database.imported("d2", "web of the lab", action="compare") == (0, "changed", "")
    # The one in use stays where the file is not given any more
    assert database.run("remove web of the lab") == (0, "", "")
    assert database.run("find") == (0, "changed", "")
    assert database.run("remove other") == (0, "changed", "")
    assert database.nicknames() == ["lab authority"]
    assert database.run("remove") == (0, "", "")


def test_what_cannot_be_imported_leaves_the_certificate_that_is_there(database: Database) -> None:
    database.imported("d1", "web", password="old")
    rc, dummy, text = database.imported("d2", "web", password="new", given="wrong")
    assert (rc, text) == (1, "pk12util does not take it with this password: SEC_ERROR_BAD_PASSWORD")
    rc, dummy, text = database.run("import d2 web", "", b64encode(b"\nother\n").decode())
    assert (rc, text) == (1, "The certificate to import has no nickname 'web', but other.")
    assert database.nicknames() == ["web"]
    assert database.imported("d1", "web", password="old") == (0, "", "")


def test_a_certificate_of_somebody_else_is_not_replaced(database: Database) -> None:
    database.put("web")
    rc, dummy, text = database.imported("d1", "web")
    assert (rc, text.partition(";")[0]) == (1, "The database has a certificate 'web' that this role did not import")
    assert database.run("remove") == (0, "", "")
    assert database.nicknames() == ["web"]


@pytest.mark.parametrize("broken", ["ipsec", "pk12util"])
def test_an_import_that_did_not_come_to_its_end_is_made_anew(database: Database, broken: str) -> None:
    text = {"ipsec": "false", "pk12util": database.PK12UTIL + '\ncase $4 in *nss) kill "$PPID" ;; esac'}[broken]
    database.tool(broken, text)
    assert database.imported("d1", "web")[0] != 0
    assert database.nicknames() == ["web"]
    database.tool(broken, {"ipsec": ":", "pk12util": database.PK12UTIL}[broken])
    assert database.imported("d1", "web") == (0, "changed", "")
    assert database.imported("d1", "web") == (0, "", "")
    assert database.run("remove") == (0, "changed", "")
    assert database.nicknames() == []


def test_what_is_documented_is_what_there_is() -> None:
    (spec,) = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"].values()
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert {key: option["default"] for key, option in spec["options"].items() if "default" in option} == defaults
    readme = (ROLE / "README.md").read_text()
    assert set(spec["options"]) == set(re.findall(r"`(labelled_ipsec_[a-z0-9_]+)", readme))
    secrets = {key for key, option in spec["options"].items() if option.get("no_log")}
    assert secrets == {"labelled_ipsec_psk", "labelled_ipsec_pkcs12", "labelled_ipsec_pkcs12_password"}


# What is wrong with the variables is said before anything of a host is looked at
@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"labelled_ipsec_flows": None}, "The variable 'labelled_ipsec_flows' is not set; give the flows of the fleet"),
        ({"labelled_ipsec_psk": None}, "Labelled IPsec needs labelled_ipsec_psk, a key that the hosts share, or"),
        ({"labelled_ipsec_certificate": "web"}, "and not both; set one of them"),
        ({"labelled_ipsec_psk": 'a"b'}, "it has a double quote or a line break, which libreswan's file cannot hold"),
        ({"labelled_ipsec_psk": "a\nb"}, "it has a double quote or a line break, which libreswan's file cannot hold"),
        ({"labelled_ipsec_psk": ""}, "labelled_ipsec_psk is empty, or"),
        ({"labelled_ipsec_psk": "{{ vault | default(omit) }}"}, "Labelled IPsec needs labelled_ipsec_psk, a key that"),
        (
            {"labelled_ipsec_pkcs12": "AAAA", "labelled_ipsec_certificate": "{{ none_such | default(omit) }}"},
            "labelled_ipsec_pkcs12 is set without labelled_ipsec_certificate",
        ),
        ({"labelled_ipsec_psk": None, "labelled_ipsec_certificate": ""}, "labelled_ipsec_certificate is empty, or"),
        (
            {"labelled_ipsec_psk": None, "labelled_ipsec_certificate": 'a"b'},
            "it has a double quote or a line break, which",
        ),
        ({"labelled_ipsec_pkcs12": "AAAA"}, "labelled_ipsec_pkcs12 is set without labelled_ipsec_certificate"),
        ({"labelled_ipsec_keys": KEY}, "The variable 'labelled_ipsec_keys' is none of the role labelled_ipsec"),
        ({"labelled_ipsec_flows": [{**HERE, "ports": [22]}]}, "has port 22, on which this host is managed by SSH"),
    ],
)
def test_what_is_wrong_with_the_variables_is_said_first(stubbed: Stubbed, changes: dict[str, Any], text: str) -> None:
    given = {"labelled_ipsec_flows": [HERE], "labelled_ipsec_address_variable": "ips", "labelled_ipsec_psk": KEY}
    wanted = {key: value for key, value in {**given, **changes}.items() if value is not None}
    done = stubbed.play(
        {
            "pre_tasks": [{"ansible.builtin.set_fact": {"ips": ["192.0.2.10"]}}],
            "roles": [{"role": "senet.firewall.labelled_ipsec", "vars": wanted}],
        }
    )
    assert done.rc == 2, done.output
    assert text in " ".join(done.output.split())
    assert not any("Ask the kernel" in task for task in done.tasks)
    assert KEY not in done.output


# As libreswan 4.10 lists them: a connection that is in use, with an instance; one that is not; one of somebody else
STATUS = """\
000 Connection list:
000 "senet-web_db-37bae1aa": 10.77.0.1/32:TCP/0-65535===10.77.0.1...10.77.0.2; prospective erouted
000 "senet-web_db-37bae1aa":     oriented; my_ip=unset; their_ip=unset; my_updown=ipsec _updown;
000 "senet-web_db-37bae1aa"[1]: 10.77.0.1/32:TCP/0-65535===10.77.0.1...10.77.0.2; unrouted; eroute owner: #0
000 "senet-web_db-fa486ef8": fd77::1/128:TCP/0-65535===fd77::1...fd77::2; unrouted; eroute owner: #0
000 "theirs": 10.77.0.1...10.77.0.9; unrouted; eroute owner: #0
000 Total IPsec connections: loaded 3, active 1
"""
# Libreswan 5 says it without the number, and in other words
STATUS_5 = re.sub("^000 ", "", STATUS.replace("prospective erouted", "routed-ondemand"), flags=re.MULTILINE)
LISTS = "".join(f"{{{{ __labelled_ipsec_{name} | sort | join(' ') }}}}\n" for name in ("loaded", "routed", "others"))


@pytest.mark.long
@pytest.mark.parametrize("status", [STATUS, STATUS_5])
def test_how_libreswans_list_is_read(stubbed: Stubbed, tmp_path: Path, status: str) -> None:
    (tmp_path / "lists.j2").write_text(LISTS)
    listed = {"__labelled_ipsec_status": {"stdout": status}}
    text = written(stubbed, tmp_path, str(tmp_path / "lists.j2"), "web", **listed)
    assert text.splitlines() == ["senet-web_db-37bae1aa senet-web_db-fa486ef8", "senet-web_db-37bae1aa", "theirs"]


def with_libreswan(place: Path, status: str) -> dict[str, Any]:
    """The environment of a play in which libreswan lists these connections, and takes no others."""
    (place / "bin").mkdir()
    (place / "status").write_text(status)
    tool = place / "bin/ipsec"
    tool.write_text(f'#!/bin/sh\n[ "$*" = "whack --status" ] && exec cat {place}/status\necho "$*" >>{place}/asked\n')
    tool.chmod(0o755)
    return {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}


WANTED = ["senet-web_db-37bae1aa", "senet-web_db-fa486ef8"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("status", "changed"),
    [("", 1), (STATUS, 1), (STATUS.replace("unrouted", "routed"), 0), (STATUS_5.replace("unrouted", "routed"), 0)],
)
def test_check_mode_says_what_libreswan_would_be_told(
    stubbed: Stubbed, tmp_path: Path, status: str, changed: int
) -> None:
    done = stubbed.play(
        {
            "environment": with_libreswan(tmp_path, status),
            "vars": {"__labelled_ipsec_connections": [{"name": name} for name in WANTED]},
            "tasks": [
                {"ansible.builtin.include_vars": str(ROLE / "vars/main.yml")},
                {"ansible.builtin.include_tasks": str(ROLE / "tasks/load.yml")},
            ],
        },
        flags=("--check",),
    )
    assert (done.rc, f"changed={changed} " in done.output) == (0, True), done.output
    assert not (tmp_path / "asked").exists()


@pytest.mark.long
@pytest.mark.parametrize("status", ["000 Connection list:\n", STATUS.replace("senet-", "theirs-")])
def test_a_libreswan_that_this_role_did_not_set_up_is_not_stopped(
    stubbed: Stubbed, tmp_path: Path, status: str
) -> None:
    done = stubbed.play(
        {
            "environment": with_libreswan(tmp_path, status),
            "roles": [{"role": "senet.firewall.labelled_ipsec", "vars": {"labelled_ipsec_state": "absent"}}],
        },
        flags=("--check",),
    )
    assert (done.rc, "changed=0 " in done.output) == (0, True), done.output
    said = done.output.partition("Stop libreswan")[2].splitlines()
    assert said[1:2] == ["skipping: [localhost]"]
