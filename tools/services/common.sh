# What the scripts of services share; they source it.

# debian_install PACKAGE...: installs packages, one process at a time, and
# starts none of the services in them.
debian_install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "these packages of Debian are missing, or what they are called elsewhere: $*" >&2
        return 1
    fi
    local log policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        trap "rm -f $policy" EXIT
    fi
    log=$(mktemp)
    if ! {
        apt-get -o DPkg::Lock::Timeout=300 update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@"
    } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# alone COMMAND...: runs it while no other process on this machine does.
alone() (
    exec 9>"${TMPDIR:-/tmp}/parsec-services-$(id -u).lock"
    flock 9
    "$@" 9>&-
)

# free_port: a port that nobody listened on a moment ago, below those that the
# system gives to outgoing connections.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

# hold SCRIPT DIR: starts a service, says "ready", and stops it and removes DIR
# at the end of standard input: so it ends with whoever started it, also when
# that one is killed.
hold() {
    trap '' INT TERM
    held_script=$1 held_dir=$2 # the trap runs outside of this function
    trap '"$held_script" stop "$held_dir" >/dev/null 2>&1 || true; rm -rf "$held_dir"' EXIT
    "$held_script" start "$held_dir"
    echo ready
    exec >/dev/null 2>&1
    cat || true
}
