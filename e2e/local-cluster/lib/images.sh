# shellcheck shell=bash
# Images come from archives: there is no registry that a node could pull from.

# Imports archives into every node that runs; nodes that start later do it themselves.
load_images() { # ARCHIVE...
    local archive node imports import
    (($# > 0)) || die "load-image: name at least one archive"
    need_cluster
    for archive in "$@"; do
        [[ -f $archive ]] || die "load-image: there is no file $archive"
        keep_archive "$archive"
        archive=$STATE/images/${archive##*/}
        imports=()
        for node in $(nodes); do
            node_init "$node" >/dev/null || continue
            import_image "$node" "$archive" &
            imports+=($!)
        done
        for import in "${imports[@]}"; do
            wait "$import" || die "load-image: ${archive##*/} was refused, see above"
        done
        say "${archive##*/}: on ${#imports[@]} nodes"
    done
}

# A copy, not a link: the next build may write into the file.
keep_archive() { # ARCHIVE
    mkdir -p "$STATE/images"
    cp --reflink=auto "$1" "$STATE/images/.new"
    mv "$STATE/images/.new" "$STATE/images/${1##*/}"
}

import_image() { # NODE ARCHIVE
    in_node "$1" ctr --namespace k8s.io images import "$2" >/dev/null
}

# A docker archive with one layer, out of a folder.
write_image() { # NAME:TAG ARCHIVE ROOTFS ENTRYPOINT
    local work diff config
    work=$(mktemp -d)
    tar --create --file "$work/layer.tar" --directory "$3" --sort=name --mtime=@0 \
        --owner=0 --group=0 --numeric-owner .
    diff=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    cat >"$work/config.json" <<JSON
{"architecture": "$(go env GOARCH)", "os": "linux", "config": {"Entrypoint": ["$4"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$diff"]}}
JSON
    config=$(sha256sum "$work/config.json" | cut -d' ' -f1).json
    mv "$work/config.json" "$work/$config"
    echo "[{\"Config\": \"$config\", \"RepoTags\": [\"$1\"], \"Layers\": [\"layer.tar\"]}]" >"$work/manifest.json"
    tar --create --file "$2" --directory "$work" --mtime=@0 --owner=0 --group=0 --numeric-owner \
        manifest.json "$config" layer.tar
    rm -r "$work"
}
