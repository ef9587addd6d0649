# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's main() in this process, on a host in memory, and its result held against its documentation."""

import json
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.unit.module_arguments import patch_module_args
from tests.unit.scripted_host import ScriptedHost

_KINDS = {"str": str, "bool": bool, "int": int, "dict": dict, "list": list}
# What Ansible itself adds or documents: common return values
_COMMON = {"changed", "diff", "failed", "invocation", "msg", "warnings"}


def _is_a(value: Any, kind: str) -> bool:
    """Whether a value is of a documented type; to Python True is an int as well."""
    return isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))


def run_module(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plugin: ModuleType,
    host: ScriptedHost,
    arguments: dict[str, Any],
    check_mode: bool = False,
) -> dict[str, Any]:
    """What the module prints before it exits, failed or not."""
    warnings: list[str] = []
    # Beside other tests Ansible takes this process for the controller, and shows warnings instead of returning them.
    monkeypatch.setattr(plugin.AnsibleModule, "warn", lambda self, warning: warnings.append(warning))
    monkeypatch.setattr(plugin, "this_host", host.host)
    capsys.readouterr()
    with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit) as ended:
        plugin.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert bool(ended.value.code) == bool(result.get("failed"))
    return {**result, "warnings": warnings}


def assert_documented(plugin: ModuleType, result: dict[str, Any]) -> None:
    """Hold a successful result against RETURN: nothing undocumented in it, nothing lacking, all of the right type."""
    own = {key: value for key, value in result.items() if key not in _COMMON}
    _compare("result", own, _documented(plugin.RETURN))


@cache
def _documented(text: str) -> dict[str, Any]:
    documented: dict[str, Any] = yaml.safe_load(text)
    return documented


def _compare(place: str, value: dict[str, Any], documented: dict[str, Any]) -> None:
    always = {key for key, about in documented.items() if about["returned"] in ("always", "success")}
    assert always <= set(value) <= set(documented), f"{place}: {sorted(set(value) ^ always)}"
    for key, part in value.items():
        about = documented[key]
        if part is None:
            assert "null" in str(about["description"]).lower(), f"{place}.{key} is null"
            continue
        assert _is_a(part, about["type"]), f"{place}.{key}"
        items: list[Any] = part if isinstance(part, list) else [part]
        for item in items:
            if isinstance(part, list):
                assert _is_a(item, about["elements"]), f"{place}.{key}"
            if "contains" in about:
                _compare(f"{place}.{key}", item, about["contains"])
