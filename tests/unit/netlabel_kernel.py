# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NetLabel of a kernel in memory: takes netlabelctl's words, refuses what the kernel refuses, lists as 0.21 does."""


class NetLabelKernel:
    """``static`` are the static labels by place, ``mappings`` the entries of each domain, ``dois`` CIPSO's."""

    def __init__(self) -> None:
        self.dois: list[str] = []
        self.mappings: dict[str, list[tuple[str, str]]] = {}
        self.static: dict[tuple[str, str], str] = {}

    @property
    def checks(self) -> bool:
        """Whether peers are checked at all."""
        return bool(self.dois or self.static)

    def command(self, line: str) -> None:
        part, verb, *words = line.split(" ")
        plain = [word for word in words if ":" not in word]
        options = dict(word.split(":", 1) for word in words if ":" in word)
        if part == "cipsov4":
            self._cipso(verb, plain, options["doi"])
        elif part == "map":
            self._map(verb, options)
        else:
            assert part == "unlbl"
            self._static(verb, plain, options)

    def _cipso(self, verb: str, plain: list[str], doi: str) -> None:
        if verb == "add":
            assert plain == ["local"]
            assert doi not in self.dois, "File exists"
            self.dois.append(doi)
            return
        assert (verb, plain) == ("del", [])
        used = [protocol for entries in self.mappings.values() for dummy, protocol in entries]
        assert f"cipsov4,{doi}" not in used, "the definition is in use"
        self.dois.remove(doi)

    def _map(self, verb: str, options: dict[str, str]) -> None:
        entries = self.mappings.setdefault(options["domain"], [])
        if verb == "del":
            assert set(options) == {"domain"}
            assert entries, "entry does not exist"
            del self.mappings[options["domain"]]
            return
        assert options["address"] not in dict(entries), "File exists"
        kind, dummy, doi = options["protocol"].partition(",")
        assert kind == "unlbl" or doi in self.dois, "no such definition"
        assert entries or options["address"] == "0.0.0.0/0", "other packets of the domain would not be sent"
        entries.append((options["address"], options["protocol"]))

    def _static(self, verb: str, plain: list[str], options: dict[str, str]) -> None:
        place = "DEFAULT" if plain == ["default"] else options["interface"]
        key = (place, options["address"])
        if verb == "del":
            assert "label" not in options
            del self.static[key]
            return
        assert key not in self.static, "File exists"
        self.static[key] = options["label"]

    def lists(self) -> str:
        """What ``_host.netlabel`` puts together of the three lists."""
        names = {"unlbl": "UNLABELED"}
        mappings = [
            f'domain:"{domain}"' + "".join(
                f",address:{address},protocol:{names.get(protocol, protocol.replace('cipso', 'CIPSO'))}"
                for address, protocol in reversed(entries)
            )
            for domain, entries in self.mappings.items()
        ]  # fmt: skip
        static = [
            f'interface:{place},address:{address},label:"{label}"' for (place, address), label in self.static.items()
        ]
        return "".join(
            f"# {name}\n{' '.join(items)}\n"
            for name, items in (
                ("cipsov4", [f"{doi},LOCAL" for doi in self.dois]),
                ("map", [*mappings, "domain:DEFAULT,UNLABELED"]),
                ("unlbl", ["accept:on", *static]),
            )
        )
