#!/bin/sh
# wire.sh CLIENT NET4 NET6: a wire from the container of a host to that of the host db, with addresses .1 and ::1, .2 and ::2
set -e
client=$(docker inspect --format '{{.State.Pid}}' "senet-$1")
server=$(docker inspect --format '{{.State.Pid}}' senet-db)

plug() { # PID INTERFACE NUMBER
  nsenter --target "$1" --net ip address add "$net4.$3/24" dev "$2"
  nsenter --target "$1" --net ip address add "$net6::$3/64" dev "$2" nodad
  nsenter --target "$1" --net ip link set "$2" up
}

net4=$2
net6=$3
ip link add name eth0 netns "$client" type veth peer name "$1" netns "$server"
plug "$client" eth0 1
plug "$server" "$1" 2
