#!/usr/bin/env bash
# Build the images of the Dockerfile, start each and ask it for a prediction, where no Docker engine runs and no registry
# of images is reached: as root on Debian, with `apt-get install podman buildah debootstrap curl`.
#
#     deploy/build_without_docker.sh             # both
#     deploy/build_without_docker.sh web         # one
#
# In place of the image python:3.11-slim, which cannot be fetched there, a Debian with its own Python 3.11 is used. It is made
# once (`podman rmi python:3.11-slim` forgets it). Everything else is as the Dockerfile says. Where Docker is, use Docker.
#
#     MIRROR=…     Debian's mirror, if not debootstrap's own
#     PICTURE=…    a photograph to ask for
#     MOUNTS=…     more folders that pip needs, such as one of wheels, mounted read-only at their own places
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=docker.io/library/python:3.11-slim
picture=${PICTURE:-}
work=$(mktemp -d)
container='' server=''

finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$container" ] || buildah rm "$container" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

require_tools() {
    [ "$(id -u)" = 0 ] || { echo "This needs root. Received: user $(id -un)" >&2; exit 1; }
    for tool in podman buildah debootstrap curl; do
        command -v "$tool" >/dev/null || { echo "These are needed: podman buildah debootstrap curl. Missing: $tool" >&2; exit 1; }
    done
}

make_base() {
    podman image exists "$base" && return
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$work/root" ${MIRROR:+"$MIRROR"} >"$work/log" ||
        { tail "$work/log" >&2; exit 1; }
    ln -sf python3 "$work/root/usr/bin/python"  # as the real image has it
    # As the slim image: without packages' lists, documents and translations.
    rm -rf "$work/root"/var/cache/apt "$work/root"/var/lib/apt/lists "$work/root"/usr/share/{doc,info,locale,man}
    tar -C "$work/root" -c . | podman import - "$base" >/dev/null
    rm -rf "$work/root"
}

build() {  # target, name
    local options=(--isolation chroot --network host --format docker --target "$1" --tag "localhost/$2")
    # What this machine's pip is told, and its certificates.
    for path in /etc/ssl/certs /etc/pip.conf ${MOUNTS:-}; do
        [ ! -e "$path" ] || options+=(--volume "$path:$path:ro")
    done
    podman build "${options[@]}" . >"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
    local bytes base_bytes
    bytes=$(podman image inspect --format '{{.Size}}' "localhost/$2")
    base_bytes=$(podman image inspect --format '{{.Size}}' "$base")
    echo "$2: $((bytes / 1000000)) MB, of which $((base_bytes / 1000000)) MB are the base"
}

try() {  # name: serve from the image, on this machine's network, and ask
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    container=$(buildah from "localhost/$1")
    buildah run --isolation chroot --network host --env PORT="$port" --env CATDOG_HOST=127.0.0.1 --env WEB_CONCURRENCY=1 \
        "$container" -- catdog serve >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 120); do
        curl --silent --fail --output /dev/null "http://127.0.0.1:$port/readyz" && break
        kill -0 "$server" 2>/dev/null || { tail -30 "$work/log" >&2; exit 1; }
        sleep 0.5
    done
    echo "$1: runs as $(buildah run --isolation chroot "$container" -- id -un), $(buildah run --isolation chroot "$container" -- \
        python -c 'import importlib.util as u; print("with" if u.find_spec("tensorflow") else "without", "TensorFlow")')"
    [ -z "$picture" ] || { echo "$1: $(curl --silent --show-error --fail -F "image=@$picture" "http://127.0.0.1:$port/api/predict")"; }
    echo "$1: $(curl --silent --show-error --fail "http://127.0.0.1:$port/api/health")"
    kill "$server" && wait "$server" || true
    server=''
    buildah rm "$container" >/dev/null
    container=''
}

require_tools
make_base
[ $# -gt 0 ] || set -- web full
for target in "$@"; do
    case $target in
        web) name=catdog-web ;;
        full) name=catdog ;;
        *) echo "The targets are web and full. Received: $target" >&2; exit 2 ;;
    esac
    build "$target" "$name"
    try "$name"
done
