#!/bin/sh
printf 'version\r\nquit\r\n' | nc -v -w 10 "$1" 11211
