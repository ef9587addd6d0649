# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that the watch writes for Prometheus' node exporter."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.senet.firewall.plugins.module_utils._compile.prometheus import GAUGE, Metric, compile_metrics
from ansible_collections.senet.firewall.plugins.module_utils._decisions.measures import (
    Look,
    Refusals,
    enforced_flows,
    metrics,
)
from ansible_collections.senet.firewall.plugins.module_utils._host.follow import Follower
from ansible_collections.senet.firewall.plugins.module_utils._host.metrics import MetricsFile
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import parse_metrics_directory
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import DEFAULT_PACKET_TYPE, flow_set
from ansible_collections.senet.firewall.plugins.module_utils._values.intent import Intent
from ansible_collections.senet.firewall.plugins.module_utils._values.records import AUDITD, KERNEL, Line
from tests.collection_tree import ROOT
from tests.unit import records
from tests.unit.flows import flow
from tests.unit.records import auditd

FLOWS = flow_set([flow("cache", ports=[6379]), flow("seen", ports=[11211], mode="observe"), flow()])
INTENT = Intent(FLOWS, "iptables", metrics_directory="/var/lib/metrics")
LOOK = Look(INTENT, "enforcing", False, ("cache", "web_db"), 3, {"": 0, "web_db": 7}, 0, 1795219898.25)
RULES = ROOT / "extensions" / "prometheus" / "senet_firewall.rules.yml"


def samples(text: str) -> dict[str, Any]:
    """The values by name and labels, as Prometheus' own library for Python reads them."""
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_the_figures() -> None:
    text = compile_metrics(metrics(LOOK))
    assert samples(text) == {
        "senet_firewall_flows/enforce": 2,
        "senet_firewall_flows/observe": 1,
        "senet_firewall_flows_enforced": 2,
        "senet_firewall_selinux_mode/enforcing": 1,
        "senet_firewall_selinux_mode/permissive": 0,
        "senet_firewall_selinux_mode/disabled": 0,
        "senet_firewall_change_pending": 0,
        "senet_firewall_repairs_total": 3,
        "senet_firewall_refusals_total/": 0,
        "senet_firewall_refusals_total/web_db": 7,
        "senet_firewall_record_gaps_total": 0,
        "senet_firewall_last_look_timestamp_seconds": 1795219898.25,
    }
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert (family.type == "counter") == (f"\n{family.name}_total" in text), family.name
    assert text.count("# HELP") == text.count("# TYPE") == len(list(text_string_to_metric_families(text)))


def test_what_is_not_known_is_left_out() -> None:
    found = samples(compile_metrics(metrics(LOOK._replace(pending=True, enforced=None, refusals=None))))
    assert found["senet_firewall_change_pending"] == 1
    assert not [name for name in found if re.search("enforced|refusals|gaps", name)]


def test_labels_and_help_of_any_text_come_back() -> None:
    odd = 'a "b" \\ \n c'
    text = compile_metrics([Metric("x", GAUGE, odd, {(("flow", odd), ("b", "")): 1})])
    [family] = text_string_to_metric_families(text)
    assert family.documentation == odd
    assert family.samples[0].labels == {"flow": odd, "b": ""}


@pytest.mark.parametrize(
    ("layers", "selinux", "lacking", "foreign", "enforced"),
    [
        (["selinux"], "enforcing", (), False, ("cache", "web_db")),
        (["selinux"], "permissive", (), False, ()),
        (["selinux"], "disabled", (), False, ()),
        (["selinux"], "enforcing", ("senet_cache_client_packet_t",), False, ("web_db",)),
        (["selinux"], "enforcing", (DEFAULT_PACKET_TYPE,), False, ()),
        (["selinux"], "enforcing", (), True, ()),
        (["owner"], "disabled", (), False, ("cache", "web_db")),
        (["selinux", "owner"], "enforcing", (), False, ("cache", "web_db")),
        (["selinux", "owner"], "permissive", (), False, ()),
        (["selinux", "owner"], "enforcing", (), True, ()),
        (["selinux", "owner"], "enforcing", ("senet_cache_client_packet_t",), False, ("web_db",)),
    ],
)
def test_flows_count_as_enforced_while_each_layer_of_the_host_enforces_them(
    layers: list[str], selinux: str, lacking: tuple[str, ...], foreign: bool, enforced: tuple[str, ...]
) -> None:
    assert enforced_flows(INTENT._replace(layers=tuple(layers)), selinux, lacking, foreign) == enforced


def test_a_flow_whose_peers_have_no_types_does_not_count() -> None:
    verified = INTENT._replace(flows=flow_set([flow("cache", ports=[6379]), flow(verify_source="loopback")]))
    assert enforced_flows(verified, "enforcing", ("senet_loopback_peer_t",), False) == ("cache",)


def counted(*texts: str) -> dict[str, int]:
    refusals = Refusals()
    refusals.follow(INTENT)
    for text in texts:
        refusals.take(Line(AUDITD, auditd(text)))
    assert not refusals.gaps
    return {name: count for name, count in refusals.counts.items() if count}


def test_refusals_count_by_flow() -> None:
    confined = records.SEND.replace("senet_web_db_client_packet_t", DEFAULT_PACKET_TYPE)
    assert counted(records.SEND, records.SEND, records.CONNECT) == {"web_db": 3}
    assert counted(confined, records.PEER) == {"": 2}


def test_other_records_do_not_count() -> None:
    assert counted(
        records.GRANTED,
        records.SEND.replace("permissive=0", "permissive=1"),
        records.SEND.replace("senet_web_db_client_packet_t", "http_packet_t"),
        records.SEND.replace("senet_web_db_", "senet_gone_"),
        records.CONNECT.replace("6E67696E783A20776F726B6572", '"senet-ask"'),
        records.SYSCALL,
    ) == {}  # fmt: skip


def test_records_that_are_lost_count_as_gaps() -> None:
    refusals = Refusals()
    refusals.follow(INTENT)
    refusals.take(Line(AUDITD, auditd(records.SEND[:-60])))
    refusals.take(Line(KERNEL, "audit: audit_lost=7 audit_rate_limit=0 audit_backlog_limit=64"))
    assert refusals.gaps == 2


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_text("avc: of before\n")
    return path


@pytest.fixture
def follower(log: Path) -> Iterator[Follower]:
    with closing(Follower(str(log), "/nonexistent/kmsg")) as made:
        yield made


def new(follower: Follower) -> list[str]:
    return [line.text.removeprefix("avc: ") for line in follower.lines()]


def append(log: Path, text: str) -> None:
    with log.open("a") as opened:
        opened.write(text)


def test_only_what_comes_after_the_start_is_followed(log: Path, follower: Follower) -> None:
    assert new(follower) == []
    append(log, "avc: 1\ntype=USER_START\navc: 2\navc: 3 of")
    assert new(follower) == ["1", "2"]
    append(log, " three\n")
    assert new(follower) == ["3 of three"]
    assert new(follower) == []


def test_a_log_is_followed_when_it_is_rotated_cut_or_comes_late(log: Path, follower: Follower) -> None:
    append(log, "avc: 1\n")
    log.rename(log.with_suffix(".1"))
    assert new(follower) == ["1"]
    append(log.with_suffix(".1"), "avc: 2\n")
    log.write_text("avc: 3\n")
    assert new(follower) == ["2", "3"]
    log.write_text("")
    assert new(follower) == []
    append(log, "avc: 4\n")
    assert new(follower) == ["4"]
    log.unlink()
    with closing(Follower(str(log), "/nonexistent/kmsg")) as late:
        assert not late.readable
        assert new(late) == []
        append(log, "avc: 6\n")
        assert new(late) == ["6"]
        assert late.readable


def test_a_long_line_comes_in_parts_and_stalls_nothing(log: Path, follower: Follower) -> None:
    append(log, "avc: " + "x" * 200000 + "\navc: end\n")
    assert new(follower)[-1] == "end"


def test_the_kernels_own_log_is_followed(log: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "kmsg"
    os.mkfifo(kernel)
    with closing(Follower(str(log), str(kernel))) as follower, kernel.open("wb", buffering=0) as writer:
        writer.write(b"5,100,2000000,-;audit: type=1400 audit(1795219898.580:7): " + records.SEND.encode() + b"\n")
        [line] = follower.lines()
    refusals = Refusals()
    refusals.follow(INTENT)
    refusals.take(line)
    assert refusals.counts["web_db"] == 1


def test_the_file_is_replaced_at_once_and_readable_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    rename = os.rename

    def look(*args: Any, **options: Any) -> None:
        seen.append(sorted(os.listdir(tmp_path)))
        rename(*args, **options)

    monkeypatch.setattr(os, "rename", look)
    for text in ("a 1\n", "a 2\n"):
        MetricsFile().write(str(tmp_path), text)
        [path] = tmp_path.iterdir()
        assert path.name == "senet_firewall.prom"
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o644
    # What is half written is nothing that the node exporter reads
    assert all(len([name for name in names if name.endswith(".prom")]) == number for number, names in enumerate(seen))
    MetricsFile().remove(str(tmp_path))
    assert not list(tmp_path.iterdir())
    MetricsFile().remove(str(tmp_path))
    MetricsFile().remove(str(tmp_path / "gone"))


def test_what_waits_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    directory = tmp_path / "metrics"
    directory.mkdir()
    (directory / ".senet_firewall.prom.new").symlink_to(victim)
    MetricsFile().write(str(directory), "a 1\n")
    assert victim.read_text() == "precious"
    assert (directory / "senet_firewall.prom").read_text() == "a 1\n"


@pytest.mark.parametrize("what", ["missing", "file", "link", "open", "theirs"])
def test_a_directory_that_is_not_roots_alone_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "metrics"
    if what == "file":
        path.write_text("")
    elif what == "link":
        path.symlink_to(tmp_path)
    elif what != "missing":
        path.mkdir()
        path.chmod(0o777 if what == "open" else 0o755)
        os.chown(path, 65534 if what == "theirs" else 0, 0)
    for action in (MetricsFile().check, lambda directory: MetricsFile().write(directory, "a 1\n")):
        with pytest.raises(SenetError, match=re.escape(f"metrics_directory {path}")):
            action(str(path))
    assert not (tmp_path / "senet_firewall.prom").exists()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MetricsFile().write(str(tmp_path), "a 1\n")

    def full(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(SenetError, match="No space left"):
        MetricsFile().write(str(tmp_path), "a 2\n")
    [path] = tmp_path.iterdir()
    assert path.read_text() == "a 1\n"


@pytest.mark.parametrize("raw", ["metrics", "/", "/a/../b", "/a/./b", "/a//b", "/a b", "/a\nb", "None", "/é", 7])
def test_a_path_that_is_not_absolute_and_plain_is_named(raw: Any) -> None:
    with pytest.raises(SenetError, match=re.escape(repr(raw))):
        parse_metrics_directory(raw)


def test_a_slash_at_the_end_says_nothing() -> None:
    assert parse_metrics_directory("/var/lib/prometheus/node-exporter/") == "/var/lib/prometheus/node-exporter"


def test_the_sample_alerts_are_about_metrics_that_there_are() -> None:
    names = {metric.name for metric in metrics(LOOK)}
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    asked = {name for rule in alerts for name in re.findall(r"senet_firewall_\w+", rule["expr"])}
    assert asked == names
    for rule in alerts:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"SenetFirewall[A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert re.fullmatch(r"[0-9]+m", rule.get("for", "0m"))
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
