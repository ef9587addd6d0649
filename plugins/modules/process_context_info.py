#!/usr/bin/python
# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: process_context_info
short_description: Return running processes with their SELinux contexts and sockets
version_added: 0.1.0
description:
  - Returns as data what C(ps auxZ) and C(ss -tunapZ) show, for each domain and for each process. It reads C(/proc).
  - Runs on hosts with and without SELinux. Where SELinux is off, contexts are null.
  - The options select processes. A process is returned when it satisfies every option that is set, and always
    with all of its sockets.
author:
  - senet.firewall contributors (@senet)
extends_documentation_fragment:
  - senet.firewall.attributes
  - senet.firewall.info
options:
  domains:
    description:
      - Only processes in one of these domains, for example V(httpd_t). The domain is the type of the process's
        context.
    type: list
    elements: str
    default: []
  users:
    description:
      - Only processes whose effective user is one of these. An item of digits is a user id, any other is a user name.
    type: list
    elements: str
    default: []
  commands:
    description:
      - Only processes whose name matches one of these shell patterns (V(*), V(?), V([seq]), V([!seq])), case-sensitive.
      - A pattern must match the whole of the command name or the whole of the executable's file name, without
        its directories.
      - The kernel cuts command names to 15 bytes, so a longer program name is found by its executable.
    type: list
    elements: str
    default: []
  ports:
    description:
      - Only processes with a socket that has one of these ports, at its local or its remote end.
      - With O(listening=true), only processes that listen on one of these ports.
    type: list
    elements: int
    default: []
  listening:
    description:
      - If V(true), only processes with a listening socket.
      - If V(false), whether a process listens makes no difference.
    type: bool
    default: false
  details:
    description:
      - Whether RV(processes) is returned, with an item for each process.
      - If it is not given, RV(processes) is returned if another option selects processes, or if SELinux is off.
        Otherwise only RV(domains) is returned, which is much smaller. That matters where results are stored.
    type: bool
  command_lines:
    description: Whether RV(processes[].command_line) is returned. Command lines are long, and may hold secrets.
    type: bool
    default: false
notes:
  - To see the executables and sockets of other users' processes, the module needs root with the capability
    C(CAP_SYS_PTRACE) and all capabilities that those processes have. A warning says if some of them could not be read.
  - Use C(no_log) with O(command_lines) where the hosts run programs that take passwords as arguments.
  - Only TCP and UDP sockets are shown. A TCP socket that is bound but does not listen is in none of the kernel's
    tables, and a closed connection in the state TIME_WAIT belongs to no process.
  - A byte that is not UTF-8 is shown as the four characters C(\xNN).
seealso:
  - plugin: senet.firewall.process_query
    plugin_type: filter
    description: Ask questions of the result with a JMESPath expression.
"""

EXAMPLES = r"""
- name: See which processes run as httpd_t and what they talk to
  senet.firewall.process_context_info:
    domains: [httpd_t]
  register: web

- name: Stop if a process of the web server is not in its domain
  senet.firewall.process_context_info:
    commands: [httpd, apache2]
  register: web
  failed_when: web.processes | map(attribute='context.type') | reject('equalto', 'httpd_t') | list

- name: Find out who listens on the port of PostgreSQL
  senet.firewall.process_context_info:
    ports: [5432]
    listening: true
  register: database

- name: Ask what each domain of the host does
  senet.firewall.process_context_info:
  register: host

- name: Read all processes with their arguments
  senet.firewall.process_context_info:
    details: true
    command_lines: true
  register: every

- name: Show the ports on which each domain listens
  ansible.builtin.debug:
    msg: "{{ host.domains | dict2items | senet.firewall.process_query(ports_by_domain) }}"
  vars:
    ports_by_domain: "[].{domain: key, ports: unique(value.listening[].port)}"
"""

RETURN = r"""
selinux:
  description:
    - Whether SELinux runs on the host, so that processes have contexts. It is taken from the mounted C(selinuxfs).
    - It is true in permissive mode too.
  returned: success
  type: bool
  sample: true
processes:
  description: The selected processes, by rising process id. Threads are not listed.
  returned: with O(details), or if that is left out and an option selects processes or SELinux is off
  type: list
  elements: dict
  contains:
    pid:
      description: Process id.
      returned: always
      type: int
      sample: 5678
    ppid:
      description: Process id of the parent, V(0) where it has none.
      returned: always
      type: int
      sample: 1
    context:
      description: The security context; null where SELinux is off or the context may not be read.
      returned: always
      type: dict
      contains:
        raw:
          description: The context as the kernel gives it.
          returned: always
          type: str
          sample: system_u:system_r:postgresql_t:s0
        user:
          description: The SELinux user; null where the kernel gives a bare name such as V(kernel), before a
            policy is loaded.
          returned: always
          type: str
          sample: system_u
        role:
          description: The role; null in the same case.
          returned: always
          type: str
          sample: system_r
        type:
          description: The type, called domain for a process; null in the same case.
          returned: always
          type: str
          sample: postgresql_t
        level:
          description: The level or range of levels, which may hold colons; null where the policy has none.
          returned: always
          type: str
          sample: s0
    user:
      description: Name of the effective user; null where the host knows no name for the id.
      returned: always
      type: str
      sample: postgres
    uid:
      description: Id of the effective user.
      returned: always
      type: int
      sample: 26
    executable:
      description:
        - Path of the program's file, as the process itself sees it. The mark C( (deleted)) of a file that was
          replaced is left out.
        - Null for kernel threads, for processes that have ended but still have an entry, and where it may not
          be read.
      returned: always
      type: str
      sample: /usr/libexec/postgresql/postgres
    command:
      description: Name of the command. The program can change it. The kernel cuts it to 15 bytes.
      returned: always
      type: str
      sample: postgres
    command_line:
      description:
        - The program's arguments from the zeroth on. The program can change them.
        - Empty for kernel threads and for processes that have ended. Empty arguments at the end are left out.
      returned: with O(command_lines)
      type: list
      elements: str
      sample: [/usr/libexec/postgresql/postgres, -D, /var/lib/pgsql/data]
    kernel_thread:
      description: Whether this is a thread of the kernel.
      returned: always
      type: bool
      sample: false
    unit:
      description: The unit of the system manager to which the process belongs, as C(ps -o unit) shows it; null
        without systemd.
      returned: always
      type: str
      sample: postgresql.service
    user_unit:
      description: The unit of the user's own manager, as C(ps -o uunit) shows it; null outside of one.
        RV(processes[].unit) is then C(user@UID.service).
      returned: always
      type: str
      sample: null
    cgroup:
      description: Path of the process in the cgroup hierarchy that systemd manages; null where there is none.
      returned: always
      type: str
      sample: /system.slice/postgresql.service
    network_namespace:
      description:
        - Inode number of the process's network namespace. Processes with the same number share one.
        - Null for kernel threads, for processes that have ended, and where it may not be read.
      returned: always
      type: int
      sample: 4026531840
    listening:
      description:
        - Listening TCP sockets, and UDP sockets that are bound but not connected. Sorted, each once.
        - A socket that listens on V(::) may take IPv4 too. The kernel does not tell.
      returned: always
      type: list
      elements: dict
      sample: [{"protocol": "tcp", "family": "ipv4", "address": "127.0.0.1", "port": 5432,
                "context": "system_u:system_r:postgresql_t:s0"}]
      contains:
        protocol:
          description: V(tcp) or V(udp).
          returned: always
          type: str
          sample: tcp
        family:
          description: V(ipv4) or V(ipv6). An IPv4-mapped IPv6 address counts as V(ipv4) and is given as IPv4.
          returned: always
          type: str
          sample: ipv4
        address:
          description: Local address, V(0.0.0.0) or V(::) for all.
          returned: always
          type: str
          sample: 127.0.0.1
        port:
          description: Local port.
          returned: always
          type: int
          sample: 5432
        context:
          description:
            - The socket's own security context, which packets are checked against; null where SELinux is off or it may
              not be read.
            - It is the process's own unless the process got the socket from another one, as from sshd or systemd.
          returned: always
          type: str
          sample: system_u:system_r:postgresql_t:s0
    connected:
      description: TCP connections in any state but listening, and connected UDP sockets. Sorted, each once.
      returned: always
      type: list
      elements: dict
      sample:
        - {"protocol": "tcp", "family": "ipv4", "local_address": "127.0.0.1", "local_port": 5432,
           "remote_address": "127.0.0.1", "remote_port": 41870, "state": "established",
           "context": "system_u:system_r:postgresql_t:s0"}
      contains:
        protocol:
          description: V(tcp) or V(udp).
          returned: always
          type: str
          sample: tcp
        family:
          description: Family of the packets, V(ipv4) or V(ipv6). A connection between IPv4-mapped IPv6
            addresses is V(ipv4).
          returned: always
          type: str
          sample: ipv4
        local_address:
          description: Address at this end.
          returned: always
          type: str
          sample: 127.0.0.1
        local_port:
          description: Port at this end.
          returned: always
          type: int
          sample: 5432
        remote_address:
          description: Address at the other end.
          returned: always
          type: str
          sample: 127.0.0.1
        remote_port:
          description: Port at the other end.
          returned: always
          type: int
          sample: 41870
        state:
          description: State of the TCP connection, such as V(established), V(syn_sent) or V(close_wait).
            Connected UDP is V(established).
          returned: always
          type: str
          sample: established
        context:
          description: The socket's own security context, as in C(listening).
          returned: always
          type: str
          sample: system_u:system_r:postgresql_t:s0
    sockets_readable:
      description: Whether the sockets could be read. If V(false), the two lists are empty because the kernel
        refused the answer.
      returned: always
      type: bool
      sample: true
domains:
  description:
    - What the selected processes of each domain do together, by the name of the domain. Empty where SELinux is off.
    - A socket that several processes share is listed once. Items of C(listening) and C(connected) have the keys
      described above.
  returned: success
  type: dict
  sample:
    postgresql_t:
      processes: 2
      pids: [5678, 5680]
      users: [postgres]
      executables: [/usr/libexec/postgresql/postgres]
      listening: [{"protocol": "tcp", "family": "ipv4", "address": "127.0.0.1", "port": 5432,
                "context": "system_u:system_r:postgresql_t:s0"}]
      connected: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.senet.firewall.plugins.module_utils._host.procfs import read_processes, selinux_mounted
from ansible_collections.senet.firewall.plugins.module_utils._values.errors import SenetError
from ansible_collections.senet.firewall.plugins.module_utils._values.processes import (
    Selection,
    explain_gaps,
    parse_selection,
    process_as_dict,
    select,
    summarise_domains,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "domains": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "commands": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "listening": {"type": "bool", "default": False},
            "details": {"type": "bool"},
            "command_lines": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        selection = parse_selection(module.params)
        selinux = selinux_mounted()
        processes = read_processes(selinux)
    except SenetError as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg="The process list in /proc cannot be read ({}): mount proc there.".format(exc))
    for gap in explain_gaps(processes, selinux, selection):
        module.warn(gap)
    selected = select(processes, selection)
    result = {"changed": False, "selinux": selinux, "domains": summarise_domains(selected)}
    details = module.params["details"]
    if details or (details is None and (selection != Selection() or not selinux)):
        command_lines = module.params["command_lines"]
        result["processes"] = [process_as_dict(process, command_lines) for process in selected]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
