# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
name: report_page
short_description: Write the data of a report as one HTML page
version_added: 0.1.0
description:
  - The playbook C(senet.firewall.report) uses it. The page has a picture of the flows, what the kernel grants, where a
    host differs from its flows, and what was refused. It loads nothing, neither scripts nor fonts.
  - Names that come from a host are plain text on the page, even if a process has HTML in its name.
author:
  - senet.firewall contributors (@senet)
options:
  _input:
    description: What P(senet.firewall.report_data#filter) returned.
    type: dict
    required: true
seealso:
  - plugin: senet.firewall.report_data
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the page
  ansible.builtin.copy:
    content: "{{ data | senet.firewall.report_page }}"
    dest: report.html
    mode: "0600"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The page.
  type: str
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

# Denials of one kind on one host. The JSON file has all.
_MOST = 50
_TEMPLATES = Path(__file__).resolve().parents[2] / "playbooks" / "templates"


def report_page(data: Any) -> str:
    """The page of a report; AnsibleFilterError where the data is not of this format."""
    # Here, since Ansible imports every filter file of the collection to find one filter by its name
    from ansible_collections.senet.firewall.plugins.plugin_utils._report_model import FORMAT, visible
    from ansible_collections.senet.firewall.plugins.plugin_utils._report_picture import EVERY_DOMAIN, picture

    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise AnsibleFilterError("report_page: give what the filter report_data of this version returned.")
    plain = visible(data)
    confined = frozenset(one["domain"] for host in plain["hosts"] for one in host["confined"])
    drawn = picture(plain["flows"], confined)
    page: str = wrap_var(_template().render(data=plain, picture=drawn, most=_MOST, every=EVERY_DOMAIN) + "\n")
    return page


@lru_cache(maxsize=None)
def _template() -> Template:
    """The page's own, which escapes whatever is put into it; Ansible's templates do not."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2")


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"report_page": report_page}
