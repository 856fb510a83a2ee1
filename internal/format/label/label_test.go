package label_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"parsec/internal/format/label"
)

func TestEveryPurposeHasALabelOfItsOwn(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "label.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	purposes := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil || !strings.HasPrefix(text, "parsec/v1/") {
			t.Errorf("%s is %q, want it to begin with parsec/v1/", spec.Names[0], text)
		}
		if other := purposes[text]; other != "" {
			t.Errorf("%s and %s are both %q", other, spec.Names[0], text)
		}
		purposes[text] = spec.Names[0].Name
		return true
	})
	if len(purposes) < 20 {
		t.Errorf("found %d labels", len(purposes))
	}
}

func TestNoTwoListsOfFieldsJoinToTheSameBytes(t *testing.T) {
	lists := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1}), 0, 3), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := lists.Draw(t, "a"), lists.Draw(t, "b")
		same := len(a) == len(b)
		for i := range min(len(a), len(b)) {
			same = same && bytes.Equal(a[i], b[i])
		}
		if got := bytes.Equal(label.Record.Join(a...), label.Record.Join(b...)); got != same {
			t.Fatalf("%x and %x: same bytes %v, want %v", a, b, got, same)
		}
	})
}

func TestALabelIsPartOfWhatGoesIn(t *testing.T) {
	if label.Record.Hash([]byte("x")) == label.Request.Hash([]byte("x")) {
		t.Error("two purposes give the same hash")
	}
	want := append([]byte{0, 0, 0, 0, 0, 0, 0, 13}, "parsec/v1/log\x00\x00\x00\x00\x00\x00\x00\x02ab"...)
	if got := label.Log.Join([]byte("ab")); !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
