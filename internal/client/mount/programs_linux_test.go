package mount_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"parsec/internal/format/record"
	"parsec/internal/services"
)

// busy keeps a device in sync until the test ends, as an agent does.
func (d *desk) busy() {
	ctx, cancel := context.WithCancel(d.t.Context())
	var running errgroup.Group
	running.Go(func() error { return d.all.Run(ctx) })
	d.t.Cleanup(func() {
		cancel()
		_ = running.Wait() // it only ends with its context
	})
}

// sh runs a script in a new folder of the workspace, which is also $PWD, with an
// empty folder of the bare disk as $OUT.
func (d *desk) sh(t *testing.T, name, script string) {
	t.Helper()
	dir := d.path(name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	c.Dir = dir
	c.Env = append(os.Environ(),
		"OUT="+out, "HOME="+out, "LC_ALL=C", "GOFLAGS=-mod=mod", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com", "GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@example.com",
	)
	if said, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, said)
	}
}

// scripts are what real programs do in a drive.
func scripts() map[string]string {
	return map[string]string{
		"an archive is unpacked, and read again": `
			cd "$(go env GOROOT)/src"; tar -cf "$OUT/a.tar" encoding os; cd - >/dev/null
			tar -xf "$OUT/a.tar"
			diff -r encoding "$(go env GOROOT)/src/encoding"
			cp -a encoding copy; diff -r encoding copy
			tar -cf "$OUT/b.tar" encoding os; tar -tf "$OUT/a.tar" | sort >"$OUT/a"; tar -tf "$OUT/b.tar" | sort >"$OUT/b"; cmp "$OUT/a" "$OUT/b"
			rm -rf encoding os copy; test -z "$(ls -A)"`,
		"git clones, commits and packs": `
			git init -q --bare "$OUT/origin.git"; git clone -q "$OUT/origin.git" work 2>/dev/null; cd work
			for i in 1 2 3 4 5 6 7 8; do seq $((i*1000)) >"file$i"; mkdir -p "d$i"; echo $i >"d$i/f"; git add .; git commit -qm "commit $i"; done
			git push -q origin HEAD; git branch other HEAD~3; git checkout -q other; echo x >new; git add new; git commit -qm other
			git merge -q -m merge - ; git gc -q --prune=now; git fsck --strict; test -z "$(git status --porcelain)"
			git clone -q . ../again; diff -r --exclude .git . ../again`,
		"a database keeps its journal in files of its own": `
			for mode in wal delete truncate persist; do
				sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a integer primary key, b blob);" >/dev/null
				for i in 1 2 3; do sqlite3 $mode.db "begin; with recursive c(x) as (select 1 union all select x+1 from c where x<500) insert into t(b) select randomblob(200) from c; commit;"; done
				sqlite3 $mode.db "begin; delete from t where a%3=0; rollback; update t set b=zeroblob(300) where a%5=0; vacuum;"
				test "$(sqlite3 $mode.db 'pragma integrity_check; select count(*) from t;' | tr '\n' ' ')" = "ok 1500 "
			done`,
		"a database survives that its program is killed": `
			for mode in wal delete; do
				sqlite3 $mode.db "pragma journal_mode=$mode; create table t(a integer primary key, b blob);" >/dev/null
				(while :; do echo "insert into t(b) values(randomblob(3000)); select 'done';"; done) | sqlite3 $mode.db >"$OUT/$mode.log" 2>/dev/null & writer=$!
				until [ "$(grep -c done "$OUT/$mode.log" 2>/dev/null)" -ge 20 ]; do read -rt 0.01 <> <(:) || :; done
				kill -9 $writer; wait $writer 2>/dev/null || :
				acknowledged=$(grep -c done "$OUT/$mode.log")
				test "$(sqlite3 $mode.db 'pragma integrity_check')" = ok
				test "$(sqlite3 $mode.db 'select count(*) from t')" -ge "$acknowledged"
			done`,
		"rsync transfers nothing the second time": `
			mkdir "$OUT/from"; for i in 1 2 3 4 5; do mkdir "$OUT/from/d$i"; seq $((i*10000)) >"$OUT/from/d$i/f"; ln -s "../d$i/f" "$OUT/from/d$i/link"; done
			chmod 700 "$OUT/from/d1/f"; touch -d '2001-02-03 04:05:06.789' "$OUT/from/d2/f"
			rsync -rlpt --chmod=D700,F600,F-x "$OUT/from/" to/; rsync -a --no-o --no-g "$OUT/from/d1/f" to/d1/
			test -z "$(rsync -rlt --itemize-changes "$OUT/from/" to/ | grep '^[<>c]')" || { rsync -rlt -i "$OUT/from/" to/; exit 1; }
			seq 20000 >"$OUT/from/d2/f"; rsync -rlt --inplace "$OUT/from/" to/; diff -r "$OUT/from" to; rsync -rlt --delete "$OUT/from/d1/" to/; diff -r --no-dereference "$OUT/from/d1" to`,
		"an office program saves": `
			echo first >report.odt
			for i in 1 2 3 4 5 6; do
				echo lock >.~lock.report.odt#; echo "version $i" >lu1.tmp; sync lu1.tmp; cp -p report.odt report.bak; mv lu1.tmp report.odt; rm .~lock.report.odt#
				test "$(cat report.odt)" = "version $i"
			done
			test "$(ls)" = "$(printf 'report.bak\nreport.odt')"`,
		"go builds a project": `
			mkdir -p m/sub; cd m; printf 'module example.com/m\ngo 1.26\n' >go.mod
			printf 'package sub\nfunc Hello() string { return "hello" }\n' >sub/sub.go
			printf 'package main\nimport "example.com/m/sub"\nfunc main() { println(sub.Hello()) }\n' >main.go
			GOCACHE="$(cd /; go env GOCACHE)" go build -o prog . ; test "$(./prog 2>&1)" = hello`,
		"others are told of what programs do": `
			inotifywait -q -m -r --format '%e %f' . >"$OUT/log" 2>"$OUT/err" & watcher=$!
			until [ -s "$OUT/err" ] || kill -0 $watcher && grep -q inotify /proc/$watcher/fdinfo/* 2>/dev/null && [ "$(grep -c '^inotify wd' /proc/$watcher/fdinfo/* | awk -F: '{s+=$2} END {print s}')" -ge 1 ]; do :; done
			echo x >a; mv a b; rm b
			until grep -q 'DELETE b' "$OUT/log"; do :; done; kill $watcher
			grep -q 'CREATE a' "$OUT/log"; grep -q 'MOVED_TO b' "$OUT/log"`,
	}
}

func TestRealProgramsWork(t *testing.T) {
	services.Programs(t, "git", "sqlite3", "rsync", "tar", "inotifywait")
	d := alone(t)
	d.busy()
	for name, script := range scripts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d.sh(t, name, script)
		})
	}
}

// What one device writes, the other sees, with nothing but their agents between.
func TestTwoDevicesWorkTogether(t *testing.T) {
	services.Programs(t, "rsync")
	a, b := two(t, record.RoleContributor)
	a.busy()
	b.busy()
	a.sh(t, "from", `for i in $(seq 30); do mkdir d$i; seq $((i*300)) >d$i/f; ln -s d$i/f link$i; done; chmod 700 d1/f; mv d30 last; rm -r d29`)
	same := func() bool {
		out, err := exec.CommandContext(t.Context(), "rsync", "-rlptn", "--delete", "--checksum", "--itemize-changes",
			a.path("from")+"/", b.path("from")+"/").CombinedOutput()
		return err == nil && strings.TrimSpace(string(out)) == ""
	}
	b.eventually("Bob has what Alice wrote", same)
	b.ok(os.Rename(b.path("from/last"), b.path("from/first")))
	b.ok(os.RemoveAll(b.path("from/d3")))
	b.write("from/d1/f", "written by Bob")
	a.eventually("Alice has what Bob wrote", func() bool {
		got, err := os.ReadFile(a.path("from/d1/f"))
		return err == nil && string(got) == "written by Bob" && same()
	})
	if all, err := filepath.Glob(a.path("from/*conflict*")); err != nil || len(all) > 0 {
		t.Errorf("copies were made: %q, %v", all, err)
	}
}
