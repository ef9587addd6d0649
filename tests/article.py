# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the article that this collection answers."""

ARTICLE = """
iptables -A OUTPUT -p tcp --dport 5432 -m owner --uid-owner apache -m selinux --selinux-source httpd_t -j ACCEPT
iptables -A OUTPUT -p tcp --dport 5432 -m owner --uid-owner apache -m selinux --selinux-source httpd_t -j DROP
iptables -A OUTPUT -m state --state ESTABLISHED,RELATED -m owner --uid-owner apache -j ACCEPT
iptables -A OUTPUT -m owner --uid-owner apache -j DROP
iptables -A INPUT -p tcp --dport 5432 -m selinux --selinux-dest postgresql_t -m selinux --selinux-source httpd_t -j ACCEPT
iptables -A INPUT -p tcp --dport 5432 -j DROP
iptables -A OUTPUT -o eth0 -m selinux --selinux-source httpd_t -j ACCEPT
""".strip().splitlines()  # noqa: E501
