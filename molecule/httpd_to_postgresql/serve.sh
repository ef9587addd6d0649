#!/bin/sh
set -e
runuser -u postgres -- psql -c "CREATE ROLE web LOGIN PASSWORD 'web'"
