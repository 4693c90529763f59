# shellcheck shell=bash
# etcd, the API server, controllers, scheduler, volumes and DNS: processes of the machine itself.

# shellcheck disable=SC2034  # the command stops them
readonly CONTROL_PLANE=(etcd kube-apiserver kube-controller-manager kube-scheduler provisioner coredns)

start_control_plane() {
    make_credentials
    start_etcd
    start_apiserver
    wait_for 120 "the API server" kubectl get --raw=/readyz
    start_controllers
    start_volumes
    start_dns
    wait_for 60 "the default service account" kubectl get serviceaccount default
    wait_for 60 "DNS" is_listening "$API_IP" 53
}

make_credentials() {
    local own=kubernetes.default.svc
    certificate_authority
    service_account_key
    certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:$own,DNS:$own.cluster.local,IP:$SERVICE_NET.0.1,IP:$API_IP"
    certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
    certificate admin /O=system:masters/CN=admin
    certificate controllers /CN=system:kube-controller-manager
    certificate scheduler /CN=system:kube-scheduler
    certificate proxy /CN=system:kube-proxy
    kubeconfig admin "$ADMIN"
    kubeconfig controllers "$STATE/controllers.kubeconfig"
    kubeconfig scheduler "$STATE/scheduler.kubeconfig"
}

start_etcd() {
    local client=http://$LOCAL_IP:$ETCD_PORT peer=http://$LOCAL_IP:$((ETCD_PORT + 1))
    mkdir -p "$STATE/etcd"
    chmod 700 "$STATE/etcd"
    # No fsync: nothing here has to outlive the machine.
    daemon etcd "$BIN/k8s" etcd --name=local --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn \
        --listen-client-urls="$client" --advertise-client-urls="$client" \
        --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="local=$peer"
}

start_apiserver() {
    local more
    read -ra more <<<"$APISERVER_FLAGS"
    daemon kube-apiserver "$BIN/k8s" kube-apiserver --etcd-servers="http://$LOCAL_IP:$ETCD_PORT" \
        --bind-address="$API_IP" --advertise-address="$API_IP" --secure-port="$API_PORT" \
        --service-cluster-ip-range="$SERVICE_NET.0.0/16" --allow-privileged=true \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
        --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
        --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
        --default-not-ready-toleration-seconds="$TOLERATE" --default-unreachable-toleration-seconds="$TOLERATE" \
        --enable-aggregator-routing=true --profiling=false "${more[@]}"
}

start_controllers() {
    local controllers=$STATE/controllers.kubeconfig scheduler=$STATE/scheduler.kubeconfig
    # Its usual folder for plugins is the machine's.
    daemon kube-controller-manager "$BIN/k8s" kube-controller-manager --kubeconfig="$controllers" \
        --authentication-kubeconfig="$controllers" --authorization-kubeconfig="$controllers" \
        --bind-address="$LOCAL_IP" --use-service-account-credentials=true --leader-elect=false \
        --root-ca-file="$PKI/ca.crt" --service-account-private-key-file="$PKI/sa.key" \
        --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
        --flex-volume-plugin-dir="$STATE/volume-plugins" \
        --node-monitor-period=1s --node-monitor-grace-period="${NODE_GRACE}s" --profiling=false
    daemon kube-scheduler "$BIN/k8s" kube-scheduler --kubeconfig="$scheduler" \
        --authentication-kubeconfig="$scheduler" --authorization-kubeconfig="$scheduler" \
        --bind-address="$LOCAL_IP" --leader-elect=false --profiling=false
}

start_volumes() {
    daemon provisioner "$BIN/k8s" provisioner --kubeconfig="$ADMIN" --nodes="$STATE/nodes"
    kubectl apply --filename=- >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: e2e.local/volumes
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
YAML
}

# CoreDNS runs outside, and stands behind the Service that charts look for. It knows the
# cluster's names; of all others it says that there are none.
start_dns() {
    kubectl apply --filename=- >/dev/null <<YAML
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: $DNS_IP
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-outside, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: ["$API_IP"], conditions: {ready: true}}]
YAML
    cat >"$STATE/Corefile" <<CONF
cluster.local:53 in-addr.arpa:53 {
    bind $API_IP
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $ADMIN $CLUSTER
        pods insecure
        ttl 1
    }
}
.:53 {
    bind $API_IP
    template ANY ANY {
        rcode NXDOMAIN
    }
}
CONF
    daemon coredns "$BIN/coredns" -conf "$STATE/Corefile"
}

is_listening() { (: </dev/tcp/"$1"/"$2"); }     # ADDRESS PORT
