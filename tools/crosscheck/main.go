// Crosscheck type-checks the packages of a module, tests included, for other
// systems than the one it runs on. It reads the dependencies' declarations
// only, so it takes seconds where building them for a second and a third
// system takes minutes of a machine whose build cache is empty.
//
//	crosscheck DIR GOOS/GOARCH...
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: crosscheck DIR GOOS/GOARCH...")
		os.Exit(2)
	}
	failed := false
	for _, system := range os.Args[2:] {
		if err := check(os.Args[1], system); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", system, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// check type-checks every package of the module in dir for system, which is
// GOOS/GOARCH, and prints what is wrong.
func check(dir, system string) error {
	goos, goarch, ok := strings.Cut(system, "/")
	if !ok {
		return fmt.Errorf("not of the form GOOS/GOARCH")
	}
	found, err := packages.Load(&packages.Config{
		Mode: packages.LoadAllSyntax, Dir: dir, Tests: true,
		Env: append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0"),
	}, "./...")
	if err != nil {
		return fmt.Errorf("load packages: %w", err)
	}
	if n := packages.PrintErrors(found); n > 0 {
		return fmt.Errorf("%d errors", n)
	}
	if len(found) == 0 {
		return fmt.Errorf("no packages in %s", dir)
	}
	fmt.Printf("%s: %d packages\n", system, len(found))
	return nil
}
