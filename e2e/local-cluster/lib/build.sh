# shellcheck shell=bash
# Builds what a cluster runs, once: binaries lie in $BIN, each with the stamp of what it was
# made of. The first build compiles Kubernetes.

readonly BUILD_LIMIT=${DEFS_E2E_BUILD_LIMIT:-40m}
readonly HELM=helm.sh/helm/v4/cmd/helm@v4.3.1
readonly REPORT_EVERY=20                        # seconds between two lines of progress

export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-trimpath -mod=readonly -buildvcs=false"
# Less garbage collection: the compiler is a tenth faster, with memory that a build machine has.
export GOGC=${GOGC:-400}

build() { # [--only] [helm]
    local tool limit wanted=(k8s coredns)
    if [[ ${1:-} == --only ]]; then
        wanted=()
        shift
    fi
    for tool in "$@"; do
        [[ $tool == helm ]] || die "build: there is no $tool to build, only helm"
    done
    wanted+=("$@")
    if are_fresh "${wanted[@]}"; then return; fi
    command -v go >/dev/null || die "go is missing: install Go 1.26 or newer from https://go.dev/dl"
    limit=$(seconds "$BUILD_LIMIT")
    build_deadline=$((SECONDS + limit))
    mkdir -p "$BIN"
    exec 8<"$BIN"
    flock --nonblock 8 || {
        say "somebody else builds: waiting, at most $BUILD_LIMIT"
        flock --timeout "$limit" 8 || die "somebody else still builds after $BUILD_LIMIT"
    }
    for tool in "${wanted[@]}"; do is_fresh "$tool" || "build_$tool"; done
    exec 8<&-
}

are_fresh() { # BINARY...
    local binary
    for binary in "$@"; do is_fresh "$binary" || return 1; done
}

build_k8s() {
    local version minor package ldflags="-s -w" rootfs
    cd "$HERE/k8s" || exit
    go_step k8s "fetching modules" mod download
    version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
    minor=${version#v1.}
    minor=${minor%%.*}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        ldflags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
        ldflags+=" -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
    done
    go_step k8s "compiling Kubernetes $version, 12 minutes when cold on two idle cores" \
        build -v -ldflags "$ldflags" -o "$BIN/k8s.new" .
    rootfs=$(mktemp -d)
    go_step pause "compiling" build -ldflags "-s -w" -o "$rootfs/pause" ./pause
    write_image "$PAUSE_IMAGE" "$BIN/pause.tar" "$rootfs" /pause
    rm -r "$rootfs"
    ln -sf k8s "$BIN/kubectl"
    put_in_place k8s
}

build_coredns() {
    cd "$HERE/coredns" || exit
    go_step coredns "fetching modules" mod download
    go_step coredns "compiling, 2 minutes" build -v -ldflags "-s -w" -o "$BIN/coredns.new" .
    put_in_place coredns
}

build_helm() {
    cd /
    GOFLAGS="-trimpath -buildvcs=false" GOBIN=$BIN/new \
        go_step helm "fetching and compiling, 3 minutes" install -v -ldflags "-s -w" "$HELM"
    mv "$BIN/new/helm" "$BIN/helm.new"
    rmdir "$BIN/new"
    put_in_place helm
}

# Runs go within what is left of the limit, and tells how far it is.
go_step() { # WHAT DOING ARGUMENT...
    local what=$1 doing=$2 log=$BIN/$1.build.log left=$((build_deadline - SECONDS)) start=$SECONDS go code=0
    shift 2
    ((left > 0)) || limit_exceeded "$what"
    say "$what: $doing"
    timeout --foreground --kill-after=20 "$left" go "$@" >"$log" 2>&1 &
    go=$!
    # shellcheck disable=SC2064  # the pid that it has now
    trap "kill $go 2>/dev/null || true" EXIT
    while sleep 1 && kill -0 "$go" 2>/dev/null; do
        (((SECONDS - start) % REPORT_EVERY != 0)) ||
            say "$what: $((SECONDS - start)) s, $(wc -l <"$log") packages"
    done
    wait "$go" || code=$?
    trap - EXIT
    case $code in
    0) say "$what: done in $((SECONDS - start)) s" ;;
    124 | 137) limit_exceeded "$what" ;;
    *)
        tail -n 30 "$log" >&2
        die "$what: go $1 failed with exit code $code; all it said is in $log"
        ;;
    esac
}

limit_exceeded() { # WHAT
    die "$1: not built within $BUILD_LIMIT. What was compiled is kept, so the next call goes on from" \
        "here; DEFS_E2E_BUILD_LIMIT=80m gives it longer."
}

# What a binary is made of: its sources, the tools' versions and how this file builds them.
stamp() { # BINARY
    if [[ $1 == helm ]]; then
        echo "$HELM"
    else
        (cd "$HERE/$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    fi | sha256sum
}

is_fresh() { # BINARY
    [[ -x $BIN/$1 && $(stamp "$1") == "$(cat "$BIN/$1.stamp" 2>/dev/null)" ]]
}

# A running cluster goes on with the file that it opened.
put_in_place() { # BINARY
    mv "$BIN/$1.new" "$BIN/$1"
    stamp "$1" >"$BIN/$1.stamp"
}

seconds() { # 90 | 90s | 40m | 2h
    [[ $1 =~ ^([0-9]+)([smh]?)$ ]] || die "$1 is no duration: write 90s, 40m or 2h"
    case ${BASH_REMATCH[2]} in
    m) echo $((BASH_REMATCH[1] * 60)) ;;
    h) echo $((BASH_REMATCH[1] * 3600)) ;;
    *) echo "${BASH_REMATCH[1]}" ;;
    esac
}
