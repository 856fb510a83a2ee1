#!/bin/bash
# A throwaway OpenStack Swift (proxy, account, container and object server,
# one replica; tempauth and s3api) on loopback, for tests.
#   swift.sh install     installs Debian's packages where they are missing; as root
#   swift.sh start DIR   starts it in DIR; DIR/env names it, DIR/run has the processes
#   swift.sh resume DIR SERVER  starts one server again that was killed: account,
#                        container, object or proxy
#   swift.sh stop DIR    stops it
#   swift.sh hold DIR    start, and stop at the end of standard input
# DIR needs a file system with extended attributes. It runs as the caller and
# writes nothing elsewhere.
set -euo pipefail
self=$(realpath "$0")
here=$(dirname "$self")
. "$here/common.sh"

install() {
    ! dpkg -s swift-proxy swift-account swift-container swift-object memcached >/dev/null 2>&1 || return 0
    debian_install swift-proxy swift-account swift-container swift-object python3-swift memcached
}

# server_config NAME PORT: the configuration of a storage server.
server_config() {
    cat <<E
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $2
workers = 0
swift_dir = $dir/etc
devices = $dir/srv
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
[pipeline:main]
pipeline = healthcheck recon $1-server
[app:$1-server]
use = egg:swift#$1
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:recon]
use = egg:swift#recon
recon_cache_path = $dir/run
E
}

# proxy_config PORT MEMCACHED: the configuration of the proxy.
proxy_config() {
    cat <<E
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $1
workers = 0
swift_dir = $dir/etc
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats s3api tempauth copy container-quotas slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
check_bucket_owner = false
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$2
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
E
}

# configure: all files of a new Swift, at ports that are free.
configure() {
    local account container object
    account=$(free_port) container=$(free_port) object=$(free_port) proxy=$(free_port) memcached=$(free_port)
    mkdir -p "$dir"/{etc,srv/d1,log,run}
    cat >"$dir/etc/swift.conf" <<E
[swift-hash]
swift_hash_path_suffix = parsec
swift_hash_path_prefix = parsec
[storage-policy:0]
name = default
default = yes
E
    server_config account "$account" >"$dir/etc/account-server.conf"
    server_config container "$container" >"$dir/etc/container-server.conf"
    server_config object "$object" >"$dir/etc/object-server.conf"
    proxy_config "$proxy" "$memcached" >"$dir/etc/proxy-server.conf"
    echo "$memcached" >"$dir/etc/memcached.port"
    for server in "account $account" "container $container" "object $object" "proxy $proxy"; do
        echo "${server#* }" >"$dir/etc/${server% *}.port"
    done
    /usr/bin/python3 - "$dir/etc" "account:$account" "container:$container" "object:$object" <<'P'
import sys
from swift.common import utils
utils.SWIFT_CONF_FILE = sys.argv[1] + '/swift.conf'
from swift.common.ring import RingBuilder
for server in sys.argv[2:]:
    name, port = server.split(':')
    builder = RingBuilder(6, 1, 0)
    builder.add_dev(dict(region=1, zone=1, ip='127.0.0.1', port=int(port), device='d1', weight=1.0,
                         replication_ip='127.0.0.1', replication_port=int(port), meta=''))
    builder.rebalance(seed=1)
    builder.get_ring().save('%s/%s.ring.gz' % (sys.argv[1], name))
P
    cat >"$dir/serve.py" <<'P'
import sys
from swift.common import utils
utils.SWIFT_CONF_FILE = sys.argv[1] + '/swift.conf'  # before anything reads the system's
from swift.common.storage_policy import reload_storage_policies
reload_storage_policies()
from swift.common.wsgi import run_wsgi
name = sys.argv[2] + '-server'
more = {}
if name == 'object-server':
    from swift.obj import server
    more['global_conf_callback'] = server.global_conf_callback
sys.exit(run_wsgi('%s/%s.conf' % (sys.argv[1], name), name, verbose=True, **more))
P
    cat >"$dir/env" <<E
export PARSEC_TEST_SWIFT_URL='swift://test%3Atester:testing@127.0.0.1:$proxy/?auth=v1&insecure=true'
E
}

serve() {
    setsid /usr/bin/python3 "$dir/serve.py" "$dir/etc" "$1" </dev/null >"$dir/log/$1.log" 2>&1 9>&- &
    echo $! >"$dir/run/$1.pid"
}

# listening SERVER: waits until it is.
listening() {
    for _ in $(seq 600); do
        kill -0 "$(cat "$dir/run/$1.pid")" 2>/dev/null || return 1
        ! (: <>"/dev/tcp/127.0.0.1/$(cat "$dir/etc/$1.port")") 2>/dev/null || return 0
        sleep .05
    done
    return 1
}

start_once() {
    configure
    setsid memcached -u nobody -l 127.0.0.1 -p "$(cat "$dir/etc/memcached.port")" -U 0 -m 32 </dev/null >"$dir/log/memcached.log" 2>&1 9>&- &
    echo $! >"$dir/run/memcached.pid"
    for server in account container object proxy; do serve "$server"; done
    for server in memcached account container object proxy; do listening "$server" || return 1; done
}

start() {
    mkdir -p "$1"
    dir=$(realpath "$1")
    for _ in 1 2 3; do
        ! start_once || return 0
        stop
    done
    cat "$dir"/log/*.log >&2
    return 1
}

stop() { for pid in "$dir"/run/*.pid; do kill -9 "$(cat "$pid")" 2>/dev/null || true; done; }

case ${1:-} in
install) alone "$self" install-alone ;;
install-alone) install ;;
start) start "${2:?}" ;;
resume) dir=$(realpath "${2:?}"); serve "${3:?}"; listening "$3" ;;
stop) dir=$(realpath "${2:?}"); stop ;;
hold) hold "$self" "${2:?}" ;;
*) echo "usage: swift.sh install | start DIR | resume DIR SERVER | stop DIR | hold DIR" >&2; exit 2 ;;
esac
