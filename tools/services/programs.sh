#!/bin/bash
# Programs that tests run over a mounted folder, from Debian.
#   programs.sh install PROGRAM...    installs those that are not there; as root
# A program that is there already, from wherever, is used as it is.
set -euo pipefail
self=$(realpath "$0")
here=$(dirname "$self")
. "$here/common.sh"

# package PROGRAM: what Debian calls the package that has it.
package() {
    case $1 in
    fusermount3) echo fuse3 ;;
    setfattr | getfattr) echo attr ;;
    inotifywait) echo inotify-tools ;;
    mount.davfs) echo davfs2 ;;
    systemd-analyze) echo systemd ;;
    createuser | createdb) echo postgresql-client ;;
    *) echo "$1" ;;
    esac
}

install() {
    local program missing=()
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$(package "$program")")
    done
    [ ${#missing[@]} = 0 ] || debian_install "${missing[@]}"
}

case ${1:-} in
install) shift; alone "$self" install-alone "$@" ;;
install-alone) shift; install "$@" ;;
*) echo "usage: programs.sh install PROGRAM..." >&2; exit 2 ;;
esac
