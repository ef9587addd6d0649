# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked of a host, as the text of /etc/senet/flows.json, and back. No I/O."""

import json
from functools import lru_cache
from typing import Any, Dict, NamedTuple, Optional, Tuple

from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.fields import parse_metrics_directory
from ansible_collections.senet.firewall.plugins.module_utils._values.flows import FlowSet
from ansible_collections.senet.firewall.plugins.module_utils._values.layers import LAYERS, OWNER, SELINUX, labelled
from ansible_collections.senet.firewall.plugins.module_utils._values.parsing import parse_flow_set

IPTABLES = "iptables"
NFTABLES = "nftables"
BACKENDS = (IPTABLES, NFTABLES)
_FORMAT = 1


class Intent(NamedTuple):
    """The flows, the backend of their rules, the layers that enforce them, and where the watch writes its figures."""

    flows: FlowSet
    backend: str
    layers: Tuple[str, ...] = (SELINUX,)
    metrics_directory: Optional[str] = None

    @property
    def labelled(self) -> FlowSet:
        """What SELinux enforces of it."""
        return labelled(self.flows, self.layers)

    @property
    def units(self) -> Tuple[str, ...]:
        """The units whose control groups the rules go by."""
        return tuple(sorted({unit for flow in self.flows.flows for unit in flow.units})) if OWNER in self.layers else ()


def compile_intent(intent: Intent) -> str:
    """The file's text (ASCII, the same bytes for the same intent)."""
    return json.dumps(intent_content(intent), sort_keys=True, indent=1) + "\n"


def intent_content(intent: Intent) -> Dict[str, Any]:
    """The intent as plain data, for :func:`parse_content`."""
    content = dict(intent.flows.as_dict(), format=_FORMAT, backend=intent.backend, layers=list(intent.layers))
    if intent.metrics_directory is not None:
        content["metrics_directory"] = intent.metrics_directory
    return content


# A run asks again and again of the few texts that there are
@lru_cache(maxsize=4)
def parse_intent(text: str, path: str) -> Intent:
    """The intent in a file's text; the path is for the error.

    :raises SenetError: the text is not what :func:`compile_intent` writes.
    """
    try:
        return parse_content(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, SenetError) as exc:
        raise SenetError(
            "The file {0} is damaged ({1}: {2}), so it does not say what is to be enforced after a reboot; remove it "
            "and run the play again.".format(path, type(exc).__name__, exc)
        ) from exc


def parse_content(content: Any) -> Intent:
    """The intent out of plain data.

    :raises SenetError: a part is malformed, or two flows claim one packet.
    :raises ValueError, TypeError, KeyError, AttributeError: it is not what :func:`intent_content` makes.
    """
    if content["format"] != _FORMAT:
        raise ValueError("format {0}".format(content["format"]))
    if content["backend"] not in BACKENDS:
        raise ValueError("backend {0}".format(content["backend"]))
    layers = tuple(content["layers"])
    if not layers or not set(layers) <= set(LAYERS):
        raise ValueError("layers {0}".format(content["layers"]))
    directory = content.get("metrics_directory")
    metrics = None if directory is None else parse_metrics_directory(directory)
    return Intent(parse_flow_set(content), content["backend"], layers, metrics)
