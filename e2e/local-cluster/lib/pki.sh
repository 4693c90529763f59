# shellcheck shell=bash
# Keys and certificates for 30 days, and kubeconfigs. P-256, which is quick to make.

certificate_authority() {
    [[ ! -s $PKI/ca.crt ]] || return 0
    mkdir -p "$PKI"
    chmod 700 "$PKI"
    openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/ca.key"
    openssl req -x509 -new -key "$PKI/ca.key" -subj "/CN=$CLUSTER" -days 30 -out "$PKI/ca.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature
}

# Signs the tokens of service accounts. RSA, which every client knows.
service_account_key() {
    [[ ! -s $PKI/sa.pub ]] || return 0
    openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null
}

certificate() { # NAME SUBJECT [ALTERNATIVE_NAMES]
    local file=$PKI/$1
    [[ ! -s $file.crt ]] || return 0
    openssl ecparam -name prime256v1 -genkey -noout -out "$file.key"
    openssl req -new -key "$file.key" -subj "$2" -out "$file.csr"
    openssl x509 -req -in "$file.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -days 30 -sha256 \
        -set_serial "0x$(openssl rand -hex 16)" -out "$file.crt" 2>/dev/null -extfile <(
            echo extendedKeyUsage=clientAuth,serverAuth
            [[ -z ${3:-} ]] || echo "subjectAltName=$3"
        )
}

# In its place as a whole: whoever runs `up` on a cluster that is up must not leave others a half.
kubeconfig() { # NAME FILE
    install -m 600 /dev/null "$2.new"
    cat >"$2.new" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: $CLUSTER
    cluster: {server: "https://$API_IP:$API_PORT", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}
users:
  - name: $1
    user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}
contexts:
  - {name: $CLUSTER, context: {cluster: $CLUSTER, user: $1}}
current-context: $CLUSTER
YAML
    mv "$2.new" "$2"
}
