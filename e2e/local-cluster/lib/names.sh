# shellcheck shell=bash
# shellcheck disable=SC2034  # the files beside this one use these
# Every name, address and path of a cluster, and how the command speaks.

readonly BIN=${DEFS_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/defs-e2e}/bin
readonly CLUSTERS=${DEFS_E2E_STATE:-/var/tmp/defs-e2e}

# Names links and cgroups. A link's name has at most 15 letters: CLUSTER-n200.
readonly CLUSTER=${DEFS_E2E_CLUSTER:-defs-e2e}
readonly STATE=$CLUSTERS/$CLUSTER               # all that a cluster keeps, volumes included
readonly LOGS=$STATE/log
readonly PKI=$STATE/pki
readonly BRIDGE=${CLUSTER}0
readonly ADMIN=$STATE/admin.kubeconfig
readonly PAUSE_IMAGE=e2e.local/pause:1

# Seconds of silence before a node is NotReady, and then until its pods are evicted.
readonly NODE_GRACE=${DEFS_E2E_NODE_GRACE:-12}
readonly TOLERATE=${DEFS_E2E_TOLERATE:-5}
readonly NODE_LEASE=${DEFS_E2E_NODE_LEASE:-8}   # the kubelet renews it four times as often
readonly SNAPSHOTTER=${DEFS_E2E_SNAPSHOTTER:-overlayfs}
readonly PROXY_MODE=${DEFS_E2E_PROXY_MODE:-nftables}
readonly APISERVER_FLAGS=${DEFS_E2E_APISERVER_FLAGS:-}

readonly API_PORT=6443
readonly ETCD_PORT=2379
readonly ZONES=(a b c)
readonly NODES_MAX=200                          # node N's address ends in 10 + N

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

check_name() {
    [[ $CLUSTER =~ ^[a-z][a-z0-9-]{0,9}$ ]] ||
        die "DEFS_E2E_CLUSTER is '$CLUSTER': at most 10 of a-z, 0-9 and -, beginning with a letter"
}

# The networks 10.x.0.0/16 of nodes, pods and services have numbers in a row; what the control
# plane keeps to itself listens at an address of loopback that is the cluster's own.
use_networks() { # FIRST, the number of the nodes' network
    readonly NODE_NET=10.$1.0 POD_NET=10.$(($1 + 1)) SERVICE_NET=10.$(($1 + 2))
    readonly API_IP=$NODE_NET.1 DNS_IP=$SERVICE_NET.0.10 LOCAL_IP=127.$1.0.1
}

is_up() { [[ -s $STATE/networks ]]; }
need_cluster() {
    is_up || die "there is no cluster $CLUSTER: start it with $HERE/cluster up"
    use_networks "$(cat "$STATE/networks")"
}

# Two checkouts on one machine: neither takes the other's cluster for its own, nor ends it.
need_own_cluster() {
    local from
    from=$(cat "$STATE/started-from" 2>/dev/null) || return 0
    [[ $from == "$HERE" || ! -d $from ]] ||
        die "the cluster $CLUSTER was started from $from; DEFS_E2E_CLUSTER gives yours another name"
}

need_node() { # NODE
    [[ $1 =~ ^node[1-9][0-9]*$ ]] || die "'$1' is no node: they are called node1, node2 …"
    [[ -d $STATE/nodes/$1 ]] || die "there is no $1; $HERE/cluster up $(number_of "$1") makes it"
}

number_of() { echo "${1#node}"; }               # NODE
ip_of() { echo "$NODE_NET.$((10 + $1))"; }      # NUMBER
pods_of() { echo "$POD_NET.$1.0/24"; }          # NUMBER
zone_of() { echo "${ZONES[($1 - 1) % ${#ZONES[@]}]}"; } # NUMBER
cable_of() { echo "$CLUSTER-n$(number_of "$1")"; }      # NODE: its end at the bridge

# The nodes that were ever started, in order.
nodes() { find "$STATE/nodes" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -V; }

kubectl() { KUBECONFIG=$ADMIN "$BIN/kubectl" "$@"; }

# What it keeps goes with the cluster.
run_helm() {
    [[ -x $BIN/helm ]] || die "helm is not there: $HERE/cluster build helm"
    KUBECONFIG=$ADMIN HELM_CACHE_HOME=$STATE/helm HELM_CONFIG_HOME=$STATE/helm HELM_DATA_HOME=$STATE/helm \
        "$BIN/helm" "$@"
}
