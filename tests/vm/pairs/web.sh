#!/bin/sh
# The host `web` of the pairs: every client, and the servers that Apache has on its own host.
set -eu

# In place of the one that permits every connect, which the image has on, those for each service.
setsebool httpd_can_network_connect=off httpd_can_network_connect_db=on httpd_can_network_connect_ldap=on \
    httpd_can_network_connect_memcache=on httpd_can_network_relay=on httpd_can_sendmail=on

cat > /etc/apache2/ports.conf <<'X'
Listen 127.0.0.1:80
Listen 127.0.0.3:8080
Listen 127.0.0.4:80
X
# After the image's own senet-lab.conf, which gives up early.
cat > /etc/apache2/conf-available/zz-pairs.conf <<'X'
ProxyTimeout 60
<FilesMatch "\.php$">
    SetHandler "proxy:fcgi://127.0.0.1:8009"
</FilesMatch>
X
a2enmod -q proxy_fcgi
a2enconf -q zz-pairs
# The policy lets Apache neither reach nor offer 9000, which is cslistener_port_t on Debian; 8009 is http_port_t.
sed -i 's|^listen = .*|listen = 127.0.0.1:8009|' /etc/php/8.2/fpm/pool.d/www.conf

# Each request is a connection of its own.
cat >> /etc/haproxy/haproxy.cfg <<'X'
frontend pairs
    bind 127.0.0.1:8443
    default_backend apache
backend apache
    option httpclose
    server db 10.77.0.2:8080
X
echo 'server_persistent_connections off' > /etc/squid/conf.d/pairs.conf
rm /etc/nginx/sites-enabled/default
echo 'server { listen 127.0.0.1:8008; location / { proxy_pass http://127.0.0.3:8080; } }' > /etc/nginx/conf.d/pairs.conf

cat > /etc/bind/named.conf <<'X'
options {
    directory "/var/cache/bind";
    listen-on { 127.0.0.1; };
    listen-on-v6 { none; };
    recursion no;
    dnssec-validation no;
};
zone "pairs.test" { type secondary; primaries { 10.77.0.2; }; file "pairs.test"; };
X
rm /etc/unbound/unbound.conf.d/root-auto-trust-anchor-file.conf
cat > /etc/unbound/unbound.conf.d/pairs.conf <<'X'
server:
    interface: 127.0.0.54
    local-data: "www.unbound.test. A 192.0.2.81"
X

echo 'server 10.77.0.2 iburst minpoll 0 maxpoll 0' > /etc/chrony/chrony.conf
echo '*.* action(type="omfwd" target="10.77.0.2" port="514" protocol="tcp")' > /etc/rsyslog.d/pairs.conf
sed -i 's/^agentaddress.*/agentaddress udp:161/' /etc/snmp/snmpd.conf
# The policy lets the agent write neither its own log nor to the system's.
sed -i 's/^LogFile=.*/LogType=console/; s/^Server=.*/Server=10.77.0.2/; s/^ServerActive=.*/ServerActive=10.77.0.2/' \
    /etc/zabbix/zabbix_agentd.conf
printf 'Hostname=web\nBufferSend=1\n' > /etc/zabbix/zabbix_agentd.conf.d/pairs.conf

# An emulated host with others beside it takes its time.
mkdir -p /etc/systemd/system/service.d
printf '[Service]\nTimeoutStartSec=900\n' > /etc/systemd/system/service.d/pairs.conf
ln -s /lib/systemd/system/rsyslog.service /etc/systemd/system/syslog.service
systemctl daemon-reload
systemctl restart apache2 chrony haproxy mariadb memcached named nginx php8.2-fpm prometheus-node-exporter rsyslog \
    slapd snmpd squid unbound
