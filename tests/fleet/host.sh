#!/bin/sh
# A host of the fleet, in namespaces of its own: host.sh NAME LOWER SCRATCH ADDRESS4 ADDRESS6
# Its files are those of LOWER with its own changes over them. It says `ready`, and boots once a line has come back, by
# which time it has eth0. It sees no device, kernel setting or control group of the machine's but its network's own.
set -eu
name=$1 lower=$2 scratch=$3
root=$scratch/root

echo ready
read -r dummy
ip link set lo up
ip address add "$4/16" dev eth0
ip address add "$5/64" dev eth0 nodad
ip link set eth0 up

mkdir -p "$scratch/upper" "$scratch/work" "$root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
cd "$root"
hostname "$name"
mount -t proc proc proc
for path in proc/sys proc/sysrq-trigger; do
  [ -e "$path" ] || continue
  mount --bind "$path" "$path"
  mount -o remount,bind,ro "$path"
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do
  touch "dev/$node"
  mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir run/machine
pivot_root . run/machine
# shellcheck disable=SC2016
exec env -i container=fleet PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  sh -c 'umount -l /run/machine && rmdir /run/machine && exec /sbin/init --show-status=false --log-target=journal' \
  </dev/null >/dev/null 2>&1
