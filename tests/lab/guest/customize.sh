#!/bin/sh
# Runs once, as root, in a chroot of the new image. The policy keeps all its modules: one boolean is all that is set.
set -eu

a2enmod -q proxy proxy_http
a2enconf -q senet-lab

systemctl enable --quiet systemd-networkd.service
# Neighbours that rewrite tables: installed, and quiet until a test starts them.
systemctl disable --quiet containerd.service docker.service docker.socket firewalld.service ufw.service
# The services of pairs: installed, and quiet until a scenario starts them.
php=$(basename --suffix=.service /lib/systemd/system/php*-fpm.service)
for unit in chrony dovecot haproxy mariadb memcached named nginx "$php" podman podman-auto-update podman-restart \
    postfix prometheus-node-exporter rsyslog slapd snmpd spamd spamassassin squid unbound unbound-resolvconf \
    zabbix-agent zabbix-server; do
    systemctl disable --quiet "$unit.service" 2>/dev/null || true
done
systemctl disable --quiet podman.socket podman-auto-update.timer
systemctl mask --quiet \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer logrotate.timer man-db.timer phpsessionclean.timer systemd-networkd-wait-online.service \
    systemd-tmpfiles-clean.timer
# Nothing is on the kernel's command line for it, and Debian 13's policy does not let it start.
systemctl mask --quiet systemd-network-generator.service
systemd-machine-id-setup
mkdir -p /var/log/journal
chown root:systemd-journal /var/log/journal
chmod 2755 /var/log/journal

# setsebool -P needs a loaded policy; semanage writes the store.
semanage boolean -N --modify --on httpd_can_network_connect

update-initramfs -u -k all

# Or the first boot of each host does what follows an update: users, caches, catalogues.
touch /etc/.updated /var/.updated
