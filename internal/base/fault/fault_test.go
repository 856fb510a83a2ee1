package fault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"parsec/internal/base/fault"
)

func TestEveryKindHasEveryMeaning(t *testing.T) {
	for _, k := range fault.Kinds() {
		if k.String() == "" || k.Exit() == 0 || k.HTTP() == 0 || k.RPC() == 0 {
			t.Errorf("kind %d: name %q, exit %d, http %d, rpc %d", k, k, k.Exit(), k.HTTP(), k.RPC())
		}
	}
	if fault.Kind(200).Valid() {
		t.Error("kind 200 is valid")
	}
}

func TestTheKindOfAnErrorIsFoundThroughItsChain(t *testing.T) {
	base := fault.Errorf(fault.NotFound, "no such file")
	for _, c := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"plain", errors.New("x"), fault.Failed},
		{"typed", base, fault.NotFound},
		{"wrapped", fmt.Errorf("read: %w", base), fault.NotFound},
		{"with a hint", fault.WithHint(base, "look elsewhere"), fault.NotFound},
		{"retyped", fault.Errorf(fault.Denied, "hide: %w", base), fault.Denied},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), fault.Canceled},
		{"late", fmt.Errorf("x: %w", context.DeadlineExceeded), fault.Unreachable},
	} {
		if got := fault.KindOf(c.err); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTheHintNearestToTheFailureStays(t *testing.T) {
	err := fault.WithHint(errors.New("x"), "first")
	err = fault.WithHint(fmt.Errorf("y: %w", err), "second")
	if got := fault.HintOf(err); got != "first" {
		t.Errorf("got %q", got)
	}
}

func TestABrokenPromiseIsNamed(t *testing.T) {
	err := fmt.Errorf("pull: %w", fault.WithHint(fault.Broken("no rollback", "head differs"), "ask"))
	if fault.PromiseOf(err) != "no rollback" || fault.Exit(err) != fault.ExitIntegrity {
		t.Errorf("promise %q, exit %d", fault.PromiseOf(err), fault.Exit(err))
	}
	if want := "pull: broken promise (no rollback): head differs"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestTheTableOfRefusalsIsTheOneInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range fault.Kinds() {
		if row := fmt.Sprintf("| %s | %d | %d | %d |\n", k, k.HTTP(), k.RPC(), k.Exit()); !strings.Contains(string(text), row) {
			t.Errorf("docs/api.md lacks the row %s", row)
		}
	}
}
