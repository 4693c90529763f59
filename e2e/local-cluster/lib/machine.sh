# shellcheck shell=bash
# What a cluster takes from the machine, and gives back.

# What runs, and the Debian package that it comes from.
readonly COMMANDS=(
    containerd:containerd ctr:containerd containerd-shim-runc-v2:containerd runc:runc
    nft:nftables iptables:iptables conntrack:conntrack socat:socat openssl:openssl jq:jq ip:iproute2
    ptp:containernetworking-plugins
)
readonly NETWORK_PLUGINS=(/usr/lib/cni /opt/cni/bin)

# Folders that nodes mount their own over. They belong to the whole machine: those that were
# missing go with the last cluster.
readonly MOUNT_POINTS=(
    var/lib/kubelet var/lib/containerd var/lib/cni var/lib/volumes var/log/pods var/log/containers
    etc/cni/net.d
)
# The kubelet sets these.
readonly SYSCTLS=(
    vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
    kernel.keys.root_maxkeys kernel.keys.root_maxbytes
)

need_root() { [[ $(id -u) == 0 ]] || die "a cluster's nodes are namespaces, cgroups and mounts: this needs root"; }

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} > 0)) || return 0
    command -v apt-get >/dev/null || die "these are missing, and this is no Debian or Ubuntu: ${missing[*]}"
    [[ $(id -u) == 0 ]] || die "please run: sudo apt-get install --yes --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    # Their lists may be too old to be of use.
    apt_install "${missing[@]}" || { apt-get update -q && apt_install "${missing[@]}"; } >&2
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -q --yes --no-install-recommends "$@" >&2; }

missing_packages() {
    local pair path
    path=$(IFS=:; echo "$PATH:${NETWORK_PLUGINS[*]}")
    for pair in "${COMMANDS[@]}"; do
        PATH=$path type -P "${pair%:*}" >/dev/null || echo "${pair#*:}"
    done | sort -u
}

network_plugins() {
    local folder
    for folder in "${NETWORK_PLUGINS[@]}"; do
        [[ ! -x $folder/ptp ]] || { echo "$folder"; return; }
    done
}

take_machine() {
    local place
    lock_machine
    [[ -s $CLUSTERS/sysctls ]] || sysctl "${SYSCTLS[@]}" >"$CLUSTERS/sysctls" 2>/dev/null || true
    for place in "${MOUNT_POINTS[@]}"; do make_place "$place"; done
    take_networks
    unlock 7
}

# Makes a folder and those above it, and writes down which are new.
make_place() { # PATH
    [[ ! -d /$1 ]] || return 0
    [[ $1 != */* ]] || make_place "${1%/*}"
    mkdir "/$1"
    echo "/$1" >>"$CLUSTERS/made"
}

# Each cluster has networks of its own, which nobody on the machine uses.
take_networks() {
    local first
    if ! is_up; then
        ! ip link show "$BRIDGE" >/dev/null 2>&1 ||
            die "there is a link $BRIDGE already: a cluster $CLUSTER whose state is not in $CLUSTERS?"
        for ((first = 211; first <= 250; first += 3)); do
            ! are_free "$first" || break
        done
        ((first <= 250)) || die "all networks from 10.211.0.0/16 to 10.252.0.0/16 are taken"
        echo "$first" >"$STATE/networks"
    fi
    use_networks "$(cat "$STATE/networks")"
    ip link show "$BRIDGE" >/dev/null 2>&1 || ip link add "$BRIDGE" type bridge
    ip addr replace "$API_IP/24" dev "$BRIDGE"
    ip link set "$BRIDGE" up
    # What no node has must not leave by the machine's default route.
    ip route replace blackhole "$POD_NET.0.0/16"
    ip route replace blackhole "$SERVICE_NET.0.0/16"
}

are_free() { # FIRST
    local number
    for number in "$1" $(($1 + 1)) $(($1 + 2)); do
        [[ -z $(ip -4 route show root "10.$number.0.0/16") ]] || return 1
    done
}

give_machine_back() {
    local place
    if is_up; then                              # else nothing was taken yet
        use_networks "$(cat "$STATE/networks")"
        ip link del "$BRIDGE" 2>/dev/null || true # takes its routes along
        ip route del blackhole "$POD_NET.0.0/16" 2>/dev/null || true
        ip route del blackhole "$SERVICE_NET.0.0/16" 2>/dev/null || true
    fi
    clean_cgroups "$CLUSTER"
    # The nodes' mounts went with their namespaces.
    ! grep -q " $STATE/" /proc/self/mounts ||
        die "something is still mounted below $STATE: $(grep -m 3 " $STATE/" /proc/self/mounts)"
    lock_machine
    rm -rf --one-file-system "$STATE"
    if [[ -z $(find "$CLUSTERS" -mindepth 1 -maxdepth 1 -type d) ]]; then
        [[ ! -s $CLUSTERS/sysctls ]] || sysctl -qp "$CLUSTERS/sysctls"
        while read -r place; do rmdir "$place" 2>/dev/null || true; done < <(tac "$CLUSTERS/made" 2>/dev/null)
        rm -f "$CLUSTERS/sysctls" "$CLUSTERS/made"
        rmdir "$CLUSTERS"
    fi
    unlock 7
}

# A cgroup for a node, in each hierarchy that there is.
make_cgroup() { # NODE
    local root=/sys/fs/cgroup hierarchy file folder
    if [[ -e $root/cgroup.controllers ]]; then
        mkdir -p "$root/$CLUSTER/$1"
        for folder in "$root" "$root/$CLUSTER" "$root/$CLUSTER/$1"; do
            echo "+cpuset +cpu +io +memory +pids" >"$folder/cgroup.subtree_control"
        done
        return
    fi
    for hierarchy in "$root"/{cpuset,cpu,cpuacct,memory,pids,devices,freezer,blkio,hugetlb,systemd}; do
        [[ -d $hierarchy ]] || continue
        mkdir -p "$hierarchy/$CLUSTER/$1"
        [[ ${hierarchy##*/} == cpuset ]] || continue
        for file in cpuset.cpus cpuset.mems; do # a new one is empty, and takes no process
            cat "$hierarchy/$file" >"$hierarchy/$CLUSTER/$file"
            cat "$hierarchy/$file" >"$hierarchy/$CLUSTER/$1/$file"
        done
    done
}

# Processes that were killed take a moment to leave.
clean_cgroups() { # PATH
    local folder i
    for folder in "/sys/fs/cgroup/$1" /sys/fs/cgroup/*/"$1"; do
        [[ -d $folder ]] || continue
        for ((i = 0; i < 100; i++)); do
            ! find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || break
            sleep 0.05
        done
        [[ ! -d $folder ]] || die "$folder is still in use"
    done
}
