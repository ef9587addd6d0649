#!/bin/sh
PGPASSWORD=web psql -h "$1" -U web -d postgres -Atc "SELECT 'answer ' || 6 * 7"
