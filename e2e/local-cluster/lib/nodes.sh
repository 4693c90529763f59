# shellcheck shell=bash
# shellcheck disable=SC2016  # what is in single quotes is for jq
# Nodes, seen from outside. A node is a process in network, mount, PID, UTS and IPC namespaces of
# its own; when its PID 1 is killed, all that runs there, its mounts and its network go with it.

start_node() { # NODE
    local node=$1 number folder=$STATE/nodes/$1 init
    number=$(number_of "$node")
    ! pid_of "$node" >/dev/null || return 0
    mkdir -p "$folder"
    rm -f "$folder/started"
    make_cgroup "$node"
    certificate "$node" "/O=system:nodes/CN=system:node:$node"
    kubeconfig "$node" "$folder/kubelet.kubeconfig"
    kubeconfig proxy "$folder/proxy.kubeconfig"
    echo "nameserver $API_IP" >"$folder/resolv.conf"
    daemon "$node" unshare --net --mount --uts --ipc --pid --fork --kill-child bash "$HERE/lib/node" "$node"
    wait_for 10 "$node" node_init "$node"
    init=$(node_init "$node")
    plug_in "$node" "$init"
    ip route replace "$(pods_of "$number")" via "$(ip_of "$number")"
}

# A cable from the node to the bridge. Where it is cut, a boot mends it.
plug_in() { # NODE PID
    local cable
    cable=$(cable_of "$1")
    ip link del "$cable" 2>/dev/null || true
    ip link add "$cable" type veth peer name eth0 netns "$2"
    ip link set "$cable" master "$BRIDGE" up
}

# As a power cut does.
stop_nodes() { # NODE...
    local node
    stop "$@"
    for node in "$@"; do
        ip link del "$(cable_of "$node")" 2>/dev/null || true
        clean_cgroups "$CLUSTER/$node"
    done
}

wait_for_nodes() { # NODE...
    (($# == 0)) || wait_for 180 "nodes that are Ready: $*" are_ready "$@"
}

# Ready, and said so by the kubelets that run now: for as long as its lease holds, the API
# server takes a node for Ready that has lost power and is starting again.
are_ready() { # NODE...
    local node names=() since='{}'
    for node in "$@"; do
        since=$(jq -n --argjson all "$since" --arg node "$node" --rawfile at "$STATE/nodes/$node/started" \
            '$all + {($node): ($at | tonumber)}') || return 1
        names+=("node/$node" "lease/$node")
    done
    kubectl get "${names[@]}" --namespace kube-node-lease --output json | jq -e --argjson since "$since" '
        [.items[] | select(.kind == "Node") | .status.conditions[] | select(.type == "Ready") | .status == "True"]
        + [.items[] | select(.kind == "Lease")
            | (.spec.renewTime | sub("\\.[0-9]+Z"; "Z") | fromdateiso8601) >= $since[.metadata.name]]
        | length == 2 * ($since | length) and all'
}

# The pid that a node's PID 1 has outside.
node_init() { # NODE
    local pid
    pid=$(pid_of "$1") || return 1
    tr -d ' ' <"/proc/$pid/task/$pid/children" 2>/dev/null | grep .
}

in_node() { # NODE COMMAND...
    local init
    init=$(node_init "$1") || die "$1 does not run"
    shift
    nsenter --target "$init" --mount --uts --ipc --net --pid -- "$@"
}

fault() { # KIND NODE
    local cable
    cable=$(cable_of "$2")
    case $1 in
    crash) stop_nodes "$2" ;;
    boot)
        start_node "$2"
        wait_for_nodes "$2"
        ;;
    # The kubelet hangs; pods go on.
    freeze) in_node "$2" kill -STOP "$(in_node "$2" cat /run/kubelet.pid)" ;;
    thaw) in_node "$2" kill -CONT "$(in_node "$2" cat /run/kubelet.pid)" ;;
    cut) ip link set "$cable" down ;;
    mend) ip link set "$cable" up ;;
    *) die "there is no fault $1: crash, boot, freeze, thaw, cut or mend" ;;
    esac
    say "$2: $1"
}
