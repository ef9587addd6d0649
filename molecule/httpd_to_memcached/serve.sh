#!/bin/sh
set -e
echo '-l ::1' >>/etc/memcached.conf
systemctl restart memcached
