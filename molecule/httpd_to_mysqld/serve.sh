#!/bin/sh
set -e
printf '[mariadbd]\nbind-address = 127.0.0.1,::1\n' >/etc/mysql/mariadb.conf.d/99-both-families.cnf
systemctl restart mariadb
mariadb -e "CREATE USER web@'%' IDENTIFIED BY 'web'"
