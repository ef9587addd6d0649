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
      - It must be in the loaded policy. With the attribute C(netif_type), the domains may use it that may use every
        interface; without it, those alone that are granted it.
    type: str
  level:
    description: The MLS or MCS range. It is left out where the policy has no levels.
    type: str
    default: s0
    aliases: [serange]
  state:
    description:
      - Whether the interface shall have a context of its own.
      - With V(absent), the context that was given on this host goes. What the policy itself says of the interface
        stays.
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

- name: The interface has the context of every other again
  senet.firewall.interface_context:
    interface: eth0
    state: absent
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
  description: The context before.
  returned: success
  type: str
  sample: null
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ansible_collections.senet.firewall.plugins.module_utils import _interface
from ansible_collections.senet.firewall.plugins.module_utils._fields import parse_interface_name
from ansible_collections.senet.firewall.plugins.module_utils._host.interfaces import Interfaces
from ansible_collections.senet.firewall.plugins.module_utils._host.selinuxfs import SELinuxFS
from ansible_collections.senet.firewall.plugins.module_utils._model import SenetError

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


def _run(params: Dict[str, Any], selinux: SELinuxFS, check_mode: bool) -> Dict[str, Any]:
    if selinux.status() == "disabled":
        raise SenetError("SELinux is disabled on this host, so its interfaces have no contexts; enable it and reboot.")
    mls = selinux.mls()
    wanted = None  # type: Optional[_interface.IfContext]
    if params["state"] == "present":
        wanted = _interface.parse_context(params["interface"], params["type"], params["level"] if mls else "")
        if selinux.canonical(str(wanted)) is None:
            raise SenetError(
                "The context '{0}' of the interface '{1}' is not valid in the loaded policy; name a type and a level "
                "that it has.".format(wanted, params["interface"])
            )
    name = parse_interface_name(params["interface"])
    interfaces = Interfaces(seobject)
    before, local = interfaces.context(name)
    change = _interface.plan(before, local, wanted)
    after = wanted if wanted is not None else (None if change else before)  # type: Optional[_interface.IfContext]
    if change and not check_mode:
        interfaces.change(change, name, wanted)
        after = interfaces.context(name)[0]
        if wanted is not None and after != wanted:
            raise SenetError(
                "The change did not hold: the interface '{0}' has the context '{1}'; see 'semanage interface "
                "-l'.".format(name, after)
            )
    return {
        "changed": bool(change),
        "interface": name,
        "context": None if after is None else str(after),
        "previous": None if before is None else str(before),
        "diff": _diff(name, before, after),
    }


def _diff(name: str, before: Optional[_interface.IfContext], after: Optional[_interface.IfContext]) -> Dict[str, str]:
    header = "interface {0}".format(name)
    return {"before_header": header, "after_header": header, "before": _text(before), "after": _text(after)}


def _text(context: Optional[_interface.IfContext]) -> str:
    return "" if context is None else "{0}\n".format(context)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "type": {"type": "str"},
            "level": {"type": "str", "default": "s0", "aliases": ["serange"]},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["type"])],
        supports_check_mode=True,
    )
    if seobject is None:
        _respawn(module)
    try:
        result = _run(module.params, SELinuxFS(), module.check_mode)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
