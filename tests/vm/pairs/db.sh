#!/bin/sh
# The host `db` of the pairs: the servers that are on another host than their clients, and mail.
set -eu

# Zabbix 6 makes a socket in /tmp, which the policy of Debian 12 does not let it: its server needs a module of the host.
cat > /root/zabbix_socket.cil <<'X'
(allow zabbix_t tmp_t (sock_file (create getattr setattr unlink write)))
(allow zabbix_t self (unix_stream_socket (connectto)))
X
semodule -i /root/zabbix_socket.cil 2>/root/semodule.log &
policy=$!

echo 'Listen 10.77.0.2:8080' > /etc/apache2/ports.conf

cat > /etc/bind/named.conf <<'X'
options {
    directory "/var/cache/bind";
    listen-on { 10.77.0.2; };
    listen-on-v6 { none; };
    recursion no;
    dnssec-validation no;
};
zone "pairs.test" { type primary; file "/etc/bind/pairs.test"; notify no; };
X
cat > /etc/bind/pairs.test <<'X'
$TTL 60
@ SOA ns root 1 3600 60 3600 60
@ NS ns
ns A 10.77.0.2
X
printf 'local stratum 1\nallow 10.77.0.0/24\n' > /etc/chrony/chrony.conf
cat > /etc/rsyslog.d/pairs.conf <<'X'
module(load="imtcp")
input(type="imtcp" port="514")
:inputname, isequal, "imtcp" /var/log/remote.log
X

useradd --create-home lab
install -o lab -g mail -m 660 /dev/null /var/mail/lab
cat > /etc/dovecot/conf.d/99-pairs.conf <<'X'
service lmtp {
    inet_listener lmtp {
        address = 127.0.0.1
        port = 24
    }
}
auth_username_format = %n
ssl = no
X
printf 'lmtp.test lmtp:inet:127.0.0.1:24\nspam.test spamcheck:\n' > /etc/postfix/transport
postmap /etc/postfix/transport
postconf -e mydestination=localhost transport_maps=hash:/etc/postfix/transport 'relay_domains=lmtp.test spam.test'
printf 'spamcheck unix - n n - - pipe\n  flags=Rq user=nobody argv=/usr/bin/spamc -x -d 127.0.0.1\n' \
    >> /etc/postfix/master.cf
# Without its rules it is up in no time.
echo 'OPTIONS="--local --max-children 1 --configpath=/etc/spamassassin"' > /etc/default/spamd

mkdir -p /etc/systemd/system/zabbix-server.service.d
# The policy lets the server change no limit; where this one is 0 it has none to change.
printf '[Service]\nLimitCORE=0\n' > /etc/systemd/system/zabbix-server.service.d/pairs.conf
# An emulated host with others beside it takes its time.
mkdir -p /etc/systemd/system/service.d
printf '[Service]\nTimeoutStartSec=900\n' > /etc/systemd/system/service.d/pairs.conf
ln -s /lib/systemd/system/rsyslog.service /etc/systemd/system/syslog.service
systemctl daemon-reload
systemctl restart apache2 chrony dovecot named postfix rsyslog spamd

cat > /etc/zabbix/zabbix_server.conf.d/pairs.conf <<'X'
DBHost=
LogType=console
SourceIP=10.77.0.2
StartPollers=1
StartPollersUnreachable=1
StartTrappers=1
StartDiscoverers=0
StartHTTPPollers=0
StartPingers=0
StartReportWriters=0
StartHistoryPollers=0
X
cd /
runuser -u postgres -- createuser zabbix
runuser -u postgres -- createdb -O zabbix zabbix
{
    echo 'begin;'
    zcat /usr/share/zabbix-server-pgsql/schema.sql.gz
    cat <<'X'
insert into hstgrp (groupid, name, internal, uuid) values (1, 'Lab', 1, '7df96b18c230490a9a0a9e2307226338');
insert into config (configid, discovery_groupid) values (1, 1);
insert into role (roleid, name, type, readonly) values (3, 'Super admin role', 3, 1);
insert into users (userid, username, roleid) values (1, 'Admin', 3);
insert into hosts (hostid, host, name, status) values (1, 'web', 'web', 0);
insert into hosts_groups (hostgroupid, hostid, groupid) values (1, 1, 1);
insert into interface (interfaceid, hostid, main, type, useip, ip, port) values (1, 1, 1, 1, 1, '10.77.0.1', '10050');
insert into items (itemid, hostid, name, key_, type, value_type, delay, interfaceid, params, description, posts, headers)
    values (1, 1, 'from the agent', 'agent.hostname', 7, 1, '1s', null, '', '', '', ''),
    (2, 1, 'from the server', 'agent.version', 0, 1, '1s', 1, '', '', '', '');
insert into item_rtdata (itemid) values (1), (2);
commit;
X
} | runuser -u zabbix -- psql --quiet --set=ON_ERROR_STOP=1 zabbix
wait $policy
systemctl start zabbix-server
systemctl is-active --quiet postfix@-
