#!/bin/bash
# A throwaway PostgreSQL on loopback, for tests.
#   postgres.sh install           installs Debian's package where there is none; as root
#   postgres.sh start DIR [-c x=y...]  makes a cluster in DIR and starts it; DIR/env names it
#   postgres.sh resume DIR        starts it again, at the same port
#   postgres.sh stop DIR [MODE]   stops it: immediate (as a crash does; the default) or fast
#   postgres.sh hold DIR          start, and stop at the end of standard input
# It does not sync: for a test, what the kernel has is safe.
set -euo pipefail
self=$(realpath "$0")
here=$(dirname "$self")
. "$here/common.sh"

bin() { find /usr/lib/postgresql/*/bin /usr/bin /usr/local/bin /usr/local/pgsql/bin /opt/homebrew/bin -maxdepth 1 -name "$1" 2>/dev/null | sort -V | tail -1; }

# The programs of the server refuse to run as root.
as_server() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; else "$@"; fi; }

install() {
    [ -z "$(bin initdb)" ] || return 0
    # The package would make a cluster of its own, and start it.
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    debian_install postgresql
}

start() {
    local dir=$1
    shift
    mkdir -p "$dir"
    dir=$(realpath "$dir")
    [ "$(id -u)" != 0 ] || chown postgres: "$dir"
    cd "$dir"
    as_server "$(bin initdb)" -D "$dir/data" -U parsec -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log"
    local settings
    settings="-c listen_addresses=127.0.0.1 -c unix_socket_directories='$dir' -c max_connections=300 -c fsync=off -c full_page_writes=off -c synchronous_commit=off $*"
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        echo "-p $port $settings" >"$dir/options"
        echo "export PARSEC_TEST_POSTGRES_URL='postgres://parsec@127.0.0.1:$port/postgres?sslmode=disable'" >"$dir/env"
        ! resume "$dir" || return 0
    done
    cat "$dir/postgres.log" >&2
    return 1
}

resume() {
    cd "$1"
    as_server "$(bin pg_ctl)" -D "$1/data" -l "$1/postgres.log" -w -t 60 -o "$(cat "$1/options")" start >/dev/null
}

stop() {
    cd "$1"
    as_server "$(bin pg_ctl)" -D "$1/data" -m "${2:-immediate}" -w -t 60 stop >/dev/null
}

case ${1:-} in
install) alone "$self" install-alone ;;
install-alone) install ;;
start) shift; start "$@" ;;
resume) resume "$(realpath "${2:?}")" ;;
stop) stop "$(realpath "${2:?}")" "${3:-}" ;;
hold) hold "$self" "${2:?}" ;;
*) echo "usage: postgres.sh install | start DIR | resume DIR | stop DIR [MODE] | hold DIR" >&2; exit 2 ;;
esac
