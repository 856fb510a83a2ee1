#!/bin/bash
# A throwaway S3 server (versitygw, over a folder) on loopback, for tests.
#   s3.sh install     builds it into the user's cache where it is not there; takes minutes
#   s3.sh start DIR   starts it over DIR/data; DIR/env names it
#   s3.sh resume DIR  starts it again, at the same port
#   s3.sh stop DIR    stops it
#   s3.sh hold DIR    start, and stop at the end of standard input
# DIR needs a file system with extended attributes.
set -euo pipefail
self=$(realpath "$0")
here=$(dirname "$self")
. "$here/common.sh"

version=v1.8.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/parsec-services
program=$cache/versitygw-$version

install() {
    [ ! -x "$program" ] || return 0
    mkdir -p "$cache"
    local new
    new=$(mktemp -d "$cache/new.XXXXXX")
    GOBIN=$new GOFLAGS=-mod=mod timeout 900 go install "github.com/versity/versitygw/cmd/versitygw@$version" 2>"$new/log" ||
        { cat "$new/log" >&2; rm -rf "$new"; return 1; }
    mv "$new/versitygw" "$program"
    rm -rf "$new"
}

start() {
    mkdir -p "$1/data"
    local dir port
    dir=$(realpath "$1")
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        echo "$port" >"$dir/port"
        echo "export PARSEC_TEST_S3_URL='s3://testkey:testsecret@127.0.0.1:$port/?insecure=true'" >"$dir/env"
        ! resume "$dir" || return 0
    done
    cat "$dir/log" >&2
    return 1
}

resume() {
    local port
    port=$(cat "$1/port")
    ROOT_ACCESS_KEY=testkey ROOT_SECRET_KEY=testsecret setsid "$program" \
        --port "127.0.0.1:$port" --virtual-domain "s3.example.com:$port" --health /health --keep-alive --quiet \
        posix "$1/data" </dev/null >"$1/log" 2>&1 9>&- &
    echo $! >"$1/pid"
    for _ in $(seq 200); do
        kill -0 "$(cat "$1/pid")" 2>/dev/null || return 1
        ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
        sleep .05
    done
    stop "$1"
    return 1
}

stop() { kill -9 "$(cat "$1/pid")" 2>/dev/null; }

case ${1:-} in
install) alone "$self" install-alone ;;
install-alone) install ;;
start) start "${2:?}" ;;
resume) resume "$(realpath "${2:?}")" ;;
stop) stop "$(realpath "${2:?}")" ;;
hold) hold "$self" "${2:?}" ;;
*) echo "usage: s3.sh install | start DIR | resume DIR | stop DIR | hold DIR" >&2; exit 2 ;;
esac
