#!/bin/sh
mariadb --protocol=tcp -h "$1" -u web -pweb -Ne "SELECT CONCAT('answer ', 6 * 7)"
