#!/usr/bin/env bash
# Runs one part of the tests and writes down how long it took: timed.sh NAME COMMAND...
# A line of build/times is NAME, seconds, exit code.
name=$1
shift
mkdir -p build
"$@"
code=$?
echo "$name $SECONDS $code" >>build/times
exit "$code"
