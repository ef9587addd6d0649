# shellcheck shell=bash
# Addresses, links, translations and tunnels of the host, before there are any flows. Run once, as root.
set -e
# A kernel that has them built in knows no such modules; what is missing fails below, where it is used.
modprobe -a sctp esp4 esp6 ip_gre vxlan wireguard tun 2>/dev/null || true
sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.tcp_fastopen=3 net.mptcp.enabled=1 \
    net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.lo.rp_filter=0 \
    net.ipv4.conf.lo.disable_xfrm=0 net.ipv4.conf.lo.disable_policy=0
mkdir -p /run/bypass
setsebool httpd_enable_cgi on
ip link set lo mtu 1500
for n in 9 10 11 14 16 17 20 21; do
    ip address add 10.99.1.$n/32 dev lo
    ip address add fd99:1::$n/128 dev lo nodad
done

# Another network namespace, by a link and by tunnels over it
ip netns add near
ip link add to-near type veth peer name eth0 netns near
ip address add 10.99.2.1/24 dev to-near
ip address add fd99:2::1/64 dev to-near nodad
ip link set to-near up
ip -n near address add 10.99.2.2/24 dev eth0
ip -n near address add fd99:2::2/64 dev eth0 nodad
ip -n near link set eth0 up
ip -n near link set lo up
ip -n near route add default via 10.99.2.1
ip -n near route add default via fd99:2::1
ip link add gre-near type gre local 10.99.2.1 remote 10.99.2.2
ip -n near link add gre-near type gre local 10.99.2.2 remote 10.99.2.1
ip link add vxlan-near type vxlan id 7 local 10.99.2.1 remote 10.99.2.2 dstport 4789
ip -n near link add vxlan-near type vxlan id 7 local 10.99.2.2 remote 10.99.2.1 dstport 4789
keys=("" "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=" \
    "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI= zo060cy2M+x7cMF4FKXHbs0CloUFDTRHRboFhw5YfVk=")
for end in 1:2 2:1; do
    mine=${end%:*} other=${end#*:}
    ip link add wg"$mine" type wireguard
    bypass-guest wireguard wg"$mine" 5182"$mine" "${keys[mine]% *}" 5182"$other" "${keys[other]#* }"
done
ip link set wg2 netns near
number=3
for link in gre-near:gre-near vxlan-near:vxlan-near wg1:wg2; do
    ip address add 10.99.$number.1/24 dev ${link%:*}
    ip address add fd99:$number::1/64 dev ${link%:*} nodad
    ip link set ${link%:*} up
    ip -n near address add 10.99.$number.2/24 dev ${link#*:}
    ip -n near address add fd99:$number::2/64 dev ${link#*:} nodad
    ip -n near link set ${link#*:} up
    number=$((number + 1))
done

# IPsec, ESP in transport mode, as it is and in UDP
for address in 10.99.1.20/32 fd99:1::20/128 10.99.1.21/32 fd99:1::21/128; do
    host=${address%/*} encap=()
    case $address in *21/*) encap=(encap espinudp 4500 4500 0.0.0.0) ;; esac
    ip xfrm state add src "$host" dst "$host" proto esp spi 0x99 mode transport \
        auth 'hmac(sha1)' 0x0123456789abcdef0123456789abcdef01234567 enc 'cbc(aes)' 0x0123456789abcdef0123456789abcdef "${encap[@]}"
    ip xfrm policy add src $address dst $address dir out tmpl src "$host" dst "$host" proto esp mode transport
done

# Translations to a service's port, away from a flow's port, and of the port that a client has; a pair of ports untracked
for tool in iptables ip6tables; do
    run="$tool -w"
    case $tool in iptables) net=10.99.1. at=10.99.1.9 pair=10.99.1.16/31 ;; *) net=fd99:1:: at="[fd99:1::9]" pair=fd99:1::16/127 ;; esac
    for kind in tcp:15432:5432 tcp:15911:60911 udp:15098:60998 udp:15911:60911; do
        IFS=: read -r protocol from to <<<$kind
        $run -t nat -A OUTPUT -p "$protocol" -d ${net}9 --dport "$from" -j DNAT --to-destination "$at":"$to"
    done
    $run -t nat -A OUTPUT -p tcp -d ${net}10 --dport 5432 -j DNAT --to-destination "$at":60911
    $run -t nat -A OUTPUT -p udp -d ${net}10 --dport 60998 -j DNAT --to-destination "$at":60911
    $run -t nat -A OUTPUT -p tcp -d ${net}10 --dport 15911 -j REDIRECT --to-ports 60911
    $run -t nat -A POSTROUTING -p tcp -d ${net}9 --sport 46080 --dport 60911 -j SNAT --to-source "$at":80
    for hook in OUTPUT PREROUTING; do
        $run -t raw -A $hook -p tcp -d ${net}9 --sport 8080 --dport 60911 -j NOTRACK
        $run -t raw -A $hook -p tcp -s ${net}9 --sport 60911 --dport 8080 -j NOTRACK
    done
    # Two sockets that call each other: no answer before the other one calls
    $run -A OUTPUT -p tcp --tcp-flags RST RST -s $pair -j DROP
done
