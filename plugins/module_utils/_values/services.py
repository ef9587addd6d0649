# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services of the catalogue: their domains, units, users and packages per distribution. Data alone.

Domains: Debian 12's ``selinux-policy-default`` (refpolicy 2.20221101), looked at with ``ps -eZ`` after the start of
each service on a stock host; Fedora's and RHEL's ``selinux-policy-targeted``, read in the modules named. Units and
users: the packages named.
"""

from typing import Mapping, NamedTuple, Tuple

DEBIAN = "Debian"
REDHAT = "RedHat"
# As Ansible's os_family has them
DISTRIBUTIONS = (DEBIAN, REDHAT)


class Service(NamedTuple):
    """A service on one distribution.

    ``units`` are those whose control groups hold its processes, of which a host may have only some; ``users`` are the
    login names its sockets are opened by.
    """

    domains: Tuple[str, ...]
    units: Tuple[str, ...] = ()
    users: Tuple[str, ...] = ()
    packages: Tuple[str, ...] = ()


Services = Mapping[str, Service]


def _alike(domains: Tuple[str, ...], debian: Service, redhat: Service) -> Services:
    """A service whose domains are the same on both distributions."""
    return {DEBIAN: debian._replace(domains=domains), REDHAT: redhat._replace(domains=domains)}


def _service(units: Tuple[str, ...] = (), users: Tuple[str, ...] = (), packages: Tuple[str, ...] = ()) -> Service:
    return Service((), units, users, packages)


# The attribute of all process domains
EVERY_SERVICE = _alike(("domain",), _service(), _service())

# apache.fc: httpd_exec_t on httpd, apache2, nginx and php-fpm alike; phpfpm_t is an alias of httpd_t (apache.te).
# PHP runs in units of its own: php-fpm.service, on Debian one per version (12: 8.2, 13: 8.4).
_PHP_DEBIAN = ("php8.2-fpm.service", "php8.4-fpm.service")
HTTPD = _alike(
    ("httpd_t",),
    _service(("apache2.service",) + _PHP_DEBIAN, ("www-data",), ("apache2",)),
    _service(("httpd.service", "php-fpm.service"), ("apache",), ("httpd",)),
)
NGINX = _alike(
    ("httpd_t",),
    _service(("nginx.service",), ("www-data",), ("nginx",)),
    _service(("nginx.service",), ("nginx",), ("nginx",)),
)
PHP_FPM = _alike(
    ("httpd_t",),
    _service(_PHP_DEBIAN, ("www-data",), ("php-fpm",)),
    _service(("php-fpm.service",), ("apache",), ("php-fpm",)),
)
# haproxy_t is of Fedora's rhcs.te. refpolicy has none: haproxy is bin_t there, and init leaves such in initrc_t.
HAPROXY = {
    DEBIAN: Service(("initrc_t",), ("haproxy.service",), ("haproxy",), ("haproxy",)),
    REDHAT: Service(("haproxy_t",), ("haproxy.service",), ("haproxy",), ("haproxy",)),
}
# squid.te
SQUID = _alike(
    ("squid_t",),
    _service(("squid.service",), ("proxy",), ("squid",)),
    _service(("squid.service",), ("squid",), ("squid",)),
)

# postgresql.te
POSTGRESQL = _alike(
    ("postgresql_t",),
    _service(("postgresql.service",), ("postgres",), ("postgresql",)),
    _service(("postgresql.service",), ("postgres",), ("postgresql-server",)),
)
# mysql.te, mysql.fc: also mariadbd
MYSQLD = _alike(
    ("mysqld_t",),
    _service(("mariadb.service",), ("mysql",), ("mariadb-server",)),
    _service(("mariadb.service",), ("mysql",), ("mariadb-server",)),
)
# redis.te; Debian's redis-server is a link to redis-check-rdb, which has the label.
REDIS = _alike(
    ("redis_t",),
    _service(("redis-server.service",), ("redis",), ("redis-server",)),
    _service(("redis.service",), ("redis",), ("redis",)),
)
# memcached.te
MEMCACHED = _alike(
    ("memcached_t",),
    _service(("memcached.service",), ("memcache",), ("memcached",)),
    _service(("memcached.service",), ("memcached",), ("memcached",)),
)
# ldap.te. Debian's slapd is one file with ten other names, which file_contexts wants bin_t: it runs in initrc_t, or in
# slapd_t where somebody has relabelled it.
SLAPD = {
    DEBIAN: Service(("initrc_t", "slapd_t"), ("slapd.service",), ("openldap",), ("slapd",)),
    REDHAT: Service(("slapd_t",), ("slapd.service",), ("ldap",), ("openldap-servers",)),
}

# postfix.te. The listening socket is postfix_master_t's, and sockets accepted from it keep its label
# (security/selinux/hooks.c, selinux_socket_accept and selinux_inet_conn_request); smtpd goes on with it.
# Debian 12 runs an instance: postfix@-.service.
_POSTFIX_DEBIAN = _service(("postfix.service", "postfix@-.service"), ("postfix",), ("postfix",))
_POSTFIX_REDHAT = _service(("postfix.service",), ("postfix",), ("postfix",))
POSTFIX = _alike(("postfix_master_t", "postfix_smtpd_t"), _POSTFIX_DEBIAN, _POSTFIX_REDHAT)
# postfix.fc: lmtp is postfix_smtp_exec_t; smtpd asks for authentication
POSTFIX_CLIENT = _alike(("postfix_smtp_t", "postfix_smtpd_t"), _POSTFIX_DEBIAN, _POSTFIX_REDHAT)
# spamassassin.te: whoever runs spamc, pipe(8) or spamass-milter, it runs in spamc_t. Its user is master.cf's.
SPAMC = {distribution: service._replace(domains=("spamc_t",), users=()) for distribution, service in POSTFIX.items()}
SPAMD = _alike(
    ("spamd_t",),
    _service(("spamd.service",), (), ("spamd",)),
    _service(("spamassassin.service",), (), ("spamassassin",)),
)
# dovecot.te. As with Postfix, the listening socket is the master's; auth answers on it.
DOVECOT = _alike(
    ("dovecot_auth_t", "dovecot_t"),
    _service(("dovecot.service",), (), ("dovecot-lmtpd",)),
    _service(("dovecot.service",), (), ("dovecot",)),
)

# bind.te, and bind.fc for unbound
NAMED = _alike(
    ("named_t",),
    _service(("named.service",), ("bind",), ("bind9",)),
    _service(("named.service", "named-chroot.service"), ("named",), ("bind",)),
)
UNBOUND = _alike(
    ("named_t",),
    _service(("unbound.service",), ("unbound",), ("unbound",)),
    _service(("unbound.service",), ("unbound",), ("unbound",)),
)
# chronyd.te
CHRONYD = _alike(
    ("chronyd_t",),
    _service(("chrony.service",), ("_chrony",), ("chrony",)),
    _service(("chronyd.service",), ("chrony",), ("chrony",)),
)
# logging.te. Ubuntu's rsyslogd gives up root for syslog.
RSYSLOGD = _alike(
    ("syslogd_t",),
    _service(("rsyslog.service",), ("root", "syslog"), ("rsyslog",)),
    _service(("rsyslog.service",), ("root",), ("rsyslog",)),
)
# ssh.te
SSHD = _alike(
    ("sshd_t",),
    _service(("ssh.service",), ("root",), ("openssh-server",)),
    _service(("sshd.service",), ("root",), ("openssh-server",)),
)
# snmp.te
SNMPD = _alike(
    ("snmpd_t",),
    _service(("snmpd.service",), ("Debian-snmp",), ("snmpd",)),
    _service(("snmpd.service",), ("root",), ("net-snmp",)),
)
# zabbix.te. Fedora's and EPEL's server runs as zabbixsrv, in a unit named after its database.
ZABBIX_AGENT = _alike(
    ("zabbix_agent_t",),
    _service(("zabbix-agent.service",), ("zabbix",), ("zabbix-agent",)),
    _service(("zabbix-agent.service",), ("zabbix",), ("zabbix-agent",)),
)
ZABBIX_SERVER = _alike(
    ("zabbix_t",),
    _service(("zabbix-server.service",), ("zabbix",), ("zabbix-server-pgsql",)),
    _service(
        ("zabbix-server.service", "zabbix-server-mysql.service", "zabbix-server-pgsql.service"),
        ("zabbix", "zabbixsrv"),
        ("zabbix-server-pgsql",),
    ),
)
# No policy has a domain for it: init leaves it where it leaves all such services. RHEL has no package of it.
NODE_EXPORTER = {
    DEBIAN: Service(
        ("initrc_t",), ("prometheus-node-exporter.service",), ("prometheus",), ("prometheus-node-exporter",)
    ),
    REDHAT: Service(("unconfined_service_t",), ("node_exporter.service",), (), ()),
}
# container.te of container-selinux, which Debian 12 does not have: selinux-policy-default lacks the type there.
CONTAINER = _alike(("container_t",), _service((), (), ("podman",)), _service((), (), ("podman", "container-selinux")))
