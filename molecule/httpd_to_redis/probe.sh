#!/bin/sh
redis-cli -h "$1" ping
