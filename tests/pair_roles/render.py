# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the roles as text."""

from __future__ import annotations

import textwrap
from itertools import pairwise
from typing import Any

import yaml

from ansible_collections.senet.firewall.plugins.module_utils._values.fields import EVERY_DOMAIN
from ansible_collections.senet.firewall.plugins.module_utils._values.pairs import PAIRS
from ansible_collections.senet.firewall.plugins.module_utils._values.services import (
    DEBIAN,
    DISTRIBUTIONS,
    REDHAT,
    Service,
    Services,
)

from .options import Option, options
from .words import Told, boolean, markdown, place

_MADE = "Made from the catalogue by 'make roles'"
# PyYAML ends a line with the word that goes beyond this.
_WIDTH = 88
# A Jinja expression in quotes is no text to wrap.
_EXAMPLE_WIDTH = 160


class _Dumper(yaml.SafeDumper):
    """Double quotes, lists of scalars in one line, and others indented, as the linters want them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def choose_scalar_style(self) -> str:
        return super().choose_scalar_style().replace("'", '"')

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        short = all(isinstance(part, str) and len(part) < 40 for part in sequence)
        return super().represent_sequence(tag, sequence, short)


def role(told: Told) -> dict[str, str]:
    """The files of a pair's role, by path below it."""
    return {
        "README.md": _readme(told),
        "defaults/main.yml": _yaml(_defaults(told)),
        "meta/argument_specs.yml": _yaml(_argument_specs(told)),
        "meta/main.yml": _yaml(_meta(told)),
        "tasks/main.yml": _yaml(_tasks(told)),
    }


def known() -> str:
    """What the role service_pair knows of each pair, to set what its options ask for."""
    pairs = {
        name: {
            "protocols": list(pair.protocols),
            "ports": list(pair.ports),
            "port_type": pair.port_type,
            "booleans": {family: list(pair.booleans.get(family, ())) for family in DISTRIBUTIONS},
        }
        for name, pair in PAIRS.items()
    }
    return _yaml({"__service_pair_known": pairs})


def table(every: list[Told]) -> str:
    """The pairs as a table, for docs/pairs.md."""
    rows = ["| pair | client | server | port | promise |", "|---|---|---|---|---|"]
    for told in every:
        link = f"[`{told.name}`](../roles/{told.name}/README.md)"
        client = f"{told.client}<br>{_by_family(told.pair.client)}"
        server = f"{told.server}<br>{_by_family(told.pair.server)}"
        rows.append(f"| {link} | {client} | {server} | {place(told.pair)} | {markdown(told.promise)} |")
    return "\n".join(rows) + "\n"


def _yaml(data: Any) -> str:
    return f"---\n# {_MADE}\n" + yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)


def _argument_specs(told: Told) -> dict[str, Any]:
    units = {
        each: dict.fromkeys([*told.pair.client[each].units, *told.pair.server[each].units]) for each in DISTRIBUTIONS
    }
    works = f"RHEL family ({', '.join(units[REDHAT])}) and Debian family ({', '.join(units[DEBIAN])})."
    spec = {
        "short_description": _short(told),
        "description": [told.promise, *([works] if all(units.values()) else []), *told.limits],
        "author": "senet.firewall contributors",
        "options": {f"{told.name}_{option.name}": option.spec() for option in options(told)},
    }
    return {"argument_specs": {"main": spec}}


def _meta(told: Told) -> dict[str, Any]:
    galaxy = {
        "author": "senet.firewall contributors",
        "description": f"{_short(told)}, and nobody else",
        "license": "GPL-3.0-or-later",
        "min_ansible_version": "2.16",
        # Those it was run on
        "platforms": [{"name": "Debian", "versions": ["bookworm", "trixie"]}],
        "galaxy_tags": ["security", "selinux", "firewall", "networking"],
    }
    return {"galaxy_info": galaxy, "dependencies": []}


def _defaults(told: Told) -> dict[str, Any]:
    every = {option.name: _shared(option) if option.shared else option.default for option in options(told)}
    return {f"{told.name}_{name}": default for name, default in every.items() if default is not None}


def _shared(option: Option) -> str:
    """The default of a variable that the whole collection has."""
    value = option.otherwise if option.type == "int" else f"'{option.otherwise}'"
    otherwise = f"[{value}]" if option.type == "list" else value
    # A variable that is omitted passes for a list alone when ansible-core 2.16 validates it.
    return f"{{{{ senet_firewall_{option.name} | default({otherwise if option.otherwise else 'omit'}) }}}}"


def _tasks(told: Told) -> list[dict[str, Any]]:
    return [
        {
            "name": "Put the pair in place, or take it away",
            # This role's own variables have been validated.
            "ansible.builtin.include_role": {"name": "senet.firewall.service_pair", "rolespec_validate": False},
            "vars": {"__service_pair_role": told.name},
        }
    ]


def _short(told: Told) -> str:
    return f"{told.client[0].upper()}{told.client[1:]} to {told.server} on {place(told.pair)}"


def _readme(told: Told) -> str:
    parts = [
        f"# {told.name}",
        f"{_short(told)}. {told.promise}",
        f"```yaml\n{_example(told)}```",
        _services(told),
        "If client and server run on different hosts, run the role on both: each host enforces its own half.",
        *(f"- {limit}" for limit in told.limits),
        _variables(told),
        _beside(told),
        f"A variable that begins with C({told.name}_) and is not in this table is an error, and so is one that is "
        "empty.",
        "In trouble, see [docs/operation.md](../../docs/operation.md#in-trouble). All pairs: "
        "[docs/pairs.md](../../docs/pairs.md).",
    ]
    blocks = [markdown(part) if part.startswith(("#", "`", "|")) else _wrapped(part) for part in parts]
    text = f"<!-- {_MADE} -->\n{blocks[0]}\n"
    for before, block in pairwise(blocks):
        text += ("" if before.startswith("- ") and block.startswith("- ") else "\n") + block + "\n"
    return text


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(markdown(text), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _example(told: Told) -> str:
    role: dict[str, Any] = {"role": f"senet.firewall.{told.name}"}
    if told.example:
        role["vars"] = {f"{told.name}_{key}": value for key, value in told.example.items()}
    play = [{"hosts": "all", "become": True, "roles": [role]}]
    return yaml.dump(play, Dumper=_Dumper, sort_keys=False, width=_EXAMPLE_WIDTH)


def _services(told: Told) -> str:
    pair = told.pair
    rows = ["| | client | server |", "|---|---|---|"]
    for family, title in ((REDHAT, "RHEL family"), (DEBIAN, "Debian family")):
        rows.append(f"| {title} | {_service(pair.client[family])} | {_service(pair.server[family])} |")
    return "\n".join(rows)


def _service(service: Service) -> str:
    """Domains; units; users; package."""
    if EVERY_DOMAIN in service.domains:
        return "every domain"
    parts = {"domain": service.domains, "unit": service.units, "user": service.users, "package": service.packages}
    told = (f"{title} {', '.join(f'`{word}`' for word in words)}" for title, words in parts.items() if words)
    return "<br>".join(told)


def _variables(told: Told) -> str:
    rows = ["| variable | without it | |", "|---|---|---|"]
    for option in options(told):
        rows.append(f"| `{told.name}_{option.name}` | {_otherwise(option)} | {option.told} |")
    return "\n".join(rows)


def _otherwise(option: Option) -> str:
    """What a variable is if it is not set, in a cell of a table."""
    if option.shared:
        return f"`senet_firewall_{option.name}`" + (f", else `{option.otherwise}`" if option.otherwise else "")
    if option.default is None:
        return f"`{option.otherwise}`" if option.otherwise else option.without
    default = yaml.dump(option.default, Dumper=_Dumper, default_flow_style=True).removesuffix("\n...\n").strip()
    return f"`{default}`"


def _beside(told: Told) -> str:
    """What the policy checks beside packets, and how the role helps."""
    name, pair = told.name, told.pair
    words = ["In addition to packets, SELinux checks whether a domain may connect to a port, and listen on it."]
    wanted = boolean(pair)
    words.append(
        f"The client needs the boolean {wanted}; C({name}_booleans: true) turns it on, by C(ansible.posix.seboolean)."
        if wanted
        else "This pair needs no boolean."
    )
    if pair.port_type:
        words.append(
            f"If the policy has no type for the ports, C({name}_port_contexts: true) gives them the type "
            f"C({pair.port_type}), by C(community.general.seport)."
        )
    if wanted or pair.port_type:
        words.append("This needs the collections of these modules, and what they set stays when the flow is removed.")
    return " ".join(words)


def _by_family(services: Services) -> str:
    """The domains in a cell of a table."""
    domains = {family: ", ".join(f"`{domain}`" for domain in services[family].domains) for family in DISTRIBUTIONS}
    if domains[DEBIAN] == domains[REDHAT]:
        return domains[DEBIAN]
    return f"{domains[REDHAT]}; Debian: {domains[DEBIAN]}"
