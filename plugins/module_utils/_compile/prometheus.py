# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures in Prometheus' text format, as its node exporter reads them from files. No I/O.

Source: the exposition format 0.0.4 of Prometheus.
"""

from typing import Iterable, Mapping, NamedTuple, Tuple, Union

GAUGE = "gauge"
COUNTER = "counter"
Labels = Tuple[Tuple[str, str], ...]


class Metric(NamedTuple):
    """One metric with a value for each set of labels; a counter's name ends in ``_total``."""

    name: str
    kind: str
    help: str
    values: Mapping[Labels, Union[int, float]]


def compile_metrics(metrics: Iterable[Metric]) -> str:
    """The text of a file (the same bytes for the same figures)."""
    lines = []
    for metric in metrics:
        lines.append("# HELP {0} {1}".format(metric.name, _escaped(metric.help)))
        lines.append("# TYPE {0} {1}".format(metric.name, metric.kind))
        for labels, value in sorted(metric.values.items()):
            lines.append("{0}{1} {2!r}".format(metric.name, _label_text(labels), value))
    return "".join(line + "\n" for line in lines)


def _label_text(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join('{0}="{1}"'.format(name, _escaped(value).replace('"', '\\"')) for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
