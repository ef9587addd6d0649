#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: interface_context
short_description: Give a network interface a SELinux context
version_added: 0.1.0
description:
  - Does what C(semanage interface) does, and nothing where the interface has the context already.
  - The kernel checks the class C(netif) only while peer labels are in use, by NetLabel or labelled IPsec. Without them
    the context of an interface has no effect at all.
  - A change commits to the policy store, which rebuilds the host's policy and takes some seconds.
requirements:
  - The Python module C(seobject) on the target, in any of its Python interpreters. It is in the package
    policycoreutils-python-utils.
  - Root on the target
extends_documentation_fragment:
  - senet.firewall.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  interface:
    description: The name of the interface, in full. It need not be there yet.
    type: str
    required: true
  type:
    description:
      - The type of the interface's context, such as V(netif_t). Required with O(state=present).
      - It must be in the loaded policy, unless O(create_type=true). With the attribute C(netif_type), the domains may
        use it that may use every interface; without it, those alone that are granted it.
    type: str
  create_type:
    description:
      - Whether a O(type) that the loaded policy does not have is declared, in the collection's own policy module, which
        M(senet.firewall.flows) leaves in place. Its name is of lower-case letters, digits and C(_), with C(_t) at the
        end.
      - Every domain may use such an interface, as any other, and packets without a label may come by it.
      - With this option a type that was created and that no interface and no peer label has any longer is removed,
        whatever O(state) is.
    type: bool
    default: false
  level:
    description: The MLS or MCS range. It is left out where the policy has no levels.
    type: str
    default: s0
    aliases: [serange]
  state:
    description:
      - Whether the interface shall have a context of its own.
      - With V(absent), the context that was given on this host goes. What the policy itself says of the interface
        stays. Where SELinux is disabled there is nothing to be done.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: senet.firewall.flows
author:
  - senet.firewall contributors (@senet)
"""

EXAMPLES = r"""
- name: The interface to the internet has a type of its own
  senet.firewall.interface_context:
    interface: eth0
    type: public_iface_t

- name: Its type is in no policy yet
  senet.firewall.interface_context:
    interface: eth0
    type: public_iface_t
    create_type: true

- name: The interface has the context of every other again
  senet.firewall.interface_context:
    interface: eth0
    state: absent
    create_type: true
"""

RETURN = r"""
interface:
  description: The interface.
  returned: success
  type: str
  sample: eth0
context:
  description: The context that the policy store has for it, now or after the real run in check mode. Null where it has
    that of every other.
  returned: success
  type: str
  sample: system_u:object_r:public_iface_t:s0
previous:
  description: The context before, or null.
  returned: success
  type: str
  sample: null
created_types:
  description: The types that the collection's policy module declares for interfaces, now or after the real run in check
    mode. Null without O(create_type=true).
  returned: success
  type: list
  elements: str
  sample: [public_iface_t]
"""

from typing import Any, Dict, Iterable, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ansible_collections.senet.firewall.plugins.module_utils import _engine, _interface, _survey
from ansible_collections.senet.firewall.plugins.module_utils._fields import parse_interface_name, parse_new_type
from ansible_collections.senet.firewall.plugins.module_utils._host.host import Host, open_module_host
from ansible_collections.senet.firewall.plugins.module_utils._host.interfaces import Interfaces
from ansible_collections.senet.firewall.plugins.module_utils._model import FlowSet, SenetError, parse_token

try:
    import seobject  # type: ignore[import-not-found]
except ImportError:
    seobject = None

_INTERPRETERS = ["/usr/libexec/platform-python", "/usr/bin/python3"]


def _respawn(module: AnsibleModule) -> None:
    interpreter = None if has_respawned() else probe_interpreters_for_module(_INTERPRETERS, "seobject")
    if interpreter is None:
        module.fail_json(
            msg="No Python interpreter of this host has the module seobject; install the package "
            "policycoreutils-python-utils."
        )
    respawn_module(interpreter)


def _run(params: Dict[str, Any], host: Host, check_mode: bool) -> Dict[str, Any]:
    if host.selinux.status() == "disabled":
        if params["state"] == "absent":
            return _no_context(params)
        raise SenetError("SELinux is disabled on this host, so its interfaces have no contexts; enable it and reboot.")
    name = parse_interface_name(params["interface"])
    wanted, missing = None, []  # type: Optional[_interface.IfContext], List[str]
    if params["state"] == "present":
        wanted, missing = _wanted(params, host, host.selinux.mls())
    interfaces = Interfaces(seobject)
    before, local = interfaces.context(name)
    change = _interface.plan(before, local, wanted)
    after = wanted if wanted is not None else (None if change else before)  # type: Optional[_interface.IfContext]
    present = _survey.installed(host) if params["create_type"] else FlowSet(())
    types_before = types = present.interface_types
    if missing:
        types = _alter_types(host, missing, (), check_mode)
    if change and not check_mode:
        try:
            interfaces.change(change, name, wanted)
        except SenetError as exc:
            if missing:
                _alter_types(host, (), missing, False)
            raise SenetError("{0} Nothing was changed.".format(exc)) from exc
        after = interfaces.context(name)[0]
        if wanted is not None and after != wanted:
            raise SenetError(
                "The change did not hold: the interface '{0}' has the context '{1}'; see 'semanage interface "
                "-l'.".format(name, after)
            )
    used = _interface.types_after(interfaces.types(), name, after)
    unused = sorted(set(types).difference(used, (label.interface_type for label in present.peers)))
    if unused:
        # In check mode the missing type is not there to be taken along
        types = _alter_types(host, missing if check_mode else (), unused, check_mode)
    return {
        "changed": bool(change or missing or unused),
        "interface": name,
        "context": None if after is None else str(after),
        "previous": None if before is None else str(before),
        "created_types": list(types) if params["create_type"] else None,
        "diff": _diffs(name, (before, after), (types_before, types)),
    }


def _no_context(params: Dict[str, Any]) -> Dict[str, Any]:
    """What is told where no interface has a context."""
    name = parse_interface_name(params["interface"])
    types = [] if params["create_type"] else None  # type: Optional[List[str]]
    return {
        "changed": False, "interface": name, "context": None, "previous": None, "created_types": types, "diff": [],
    }


def _wanted(params: Dict[str, Any], host: Host, mls: bool) -> Tuple[_interface.IfContext, List[str]]:
    """The context, and its type in a list if that is to be created."""
    wanted = _interface.parse_context(params["interface"], params["type"], params["level"] if mls else "")
    if host.selinux.canonical(str(wanted)) is not None:
        return wanted, []
    known = host.selinux.initial("netif").split(":")[2]
    if host.selinux.canonical(str(wanted._replace(type=known))) is not None:
        if params["create_type"]:
            return wanted, [parse_new_type("the interface '{0}'".format(params["interface"]), wanted.type)]
        raise SenetError(
            "The context '{0}' of the interface '{1}' is not valid in the loaded policy, which has no type '{2}'; name "
            "a type that it has, or have it created with create_type=true.".format(
                wanted, params["interface"], wanted.type
            )
        )
    raise SenetError(
        "The context '{0}' of the interface '{1}' is not valid in the loaded policy, which has no level '{2}'; name a "
        "level that it has.".format(wanted, params["interface"], wanted.level)
    )


def _alter_types(host: Host, new: Iterable[str], gone: Iterable[str], check_mode: bool) -> Tuple[str, ...]:
    """Declare types for interfaces, and take others away; returns all there are then. It needs no guard: a type that
    no interface has is nobody's matter."""
    request = _survey.Alter(lambda current: current.with_interface_types(new, gone))
    return _engine.run(host, request, _engine.Options(0, parse_token(None)), check_mode).flows.interface_types


def _diffs(
    name: str,
    contexts: Tuple[Optional[_interface.IfContext], Optional[_interface.IfContext]],
    types: Tuple[Tuple[str, ...], Tuple[str, ...]],
) -> List[Dict[str, str]]:
    lines = [[str(context)] if context is not None else [] for context in contexts]
    texts = (("interface {0}".format(name), lines[0], lines[1]), ("created types of interfaces",) + types)
    return [
        {
            "before_header": header,
            "after_header": header,
            "before": "".join(line + "\n" for line in before),
            "after": "".join(line + "\n" for line in after),
        }
        for header, before, after in texts
        if list(before) != list(after)
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "type": {"type": "str"},
            "create_type": {"type": "bool", "default": False},
            "level": {"type": "str", "default": "s0", "aliases": ["serange"]},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["type"])],
        supports_check_mode=True,
    )
    host = open_module_host(module)
    if seobject is None and host.selinux.status() != "disabled":
        _respawn(module)
    try:
        result = _run(module.params, host, module.check_mode)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
