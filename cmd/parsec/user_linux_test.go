package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"parsec/internal/server/servertest"
	"parsec/internal/services"
)

// asNobody runs the rest of its arguments as an ordinary user. Where only root may
// open /dev/fuse, that user has one of its own, in a mount namespace that ends with
// the last process in it.
const asNobody = `
program=$1 dir=$2; shift 2
mknod "$dir/fuse" c 10 229
chmod 666 "$dir/fuse"
mount --bind "$dir/fuse" /dev/fuse
touch "$dir/parsec"
mount --bind "$program" "$dir/parsec"
chown 65534:65534 "$dir/user"
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"`

// ofUser is what that user does. Without a privilege, only fusermount3 can mount.
const ofUser = `
cd "$1/user"; PATH="$1:$PATH"; export TEST_KEYRING="$PWD/keys" PARSEC_HOME="$PWD/home"
mkdir keys drive
trap 'parsec umount drive || true; parsec agent stop || true' EXIT
parsec org bootstrap "$2" --name Alice --email alice@example.com --device-label laptop
parsec workspace create plans
parsec mount drive --background
me=$(id -u)
grep " $PWD/drive fuse.parsec .*user_id=$me," /proc/self/mounts
mkdir drive/plans/folder; echo Tiles >drive/plans/folder/roof.txt
for path in drive drive/plans drive/plans/folder drive/plans/folder/roof.txt; do test "$(stat -c %u "$path")" = "$me"; done
test "$(cat drive/plans/folder/roof.txt)" = Tiles
parsec umount drive
test -z "$(ls drive)"
parsec cat plans:/folder/roof.txt | grep Tiles
trap - EXIT
parsec agent stop`

func TestAnOrdinaryUserMounts(t *testing.T) {
	services.Programs(t, "fusermount3")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, link := t.TempDir(), servertest.Start(t, servertest.Config{}).CreateOrganization("Acme")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(filepath.Join(dir, "user"), 0o700)); err != nil {
		t.Fatal(err)
	}
	args := []string{"sh", "-ec", ofUser, "sh", dir, link}
	if os.Geteuid() == 0 {
		args = append([]string{"unshare", "-m", "sh", "-ec", asNobody, "sh", program, dir}, args...)
	} else if err := os.Symlink(program, filepath.Join(dir, "parsec")); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.Env = append(os.Environ(), "PARSEC_KEYRING=true", noRaceSleep)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
