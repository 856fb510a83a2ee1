package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
)

// spellings returns how a word may stand somewhere: as it is, in hexadecimal, in
// UTF-16, and in base64, whatever stands before and behind it.
func spellings(word string) map[string][]byte {
	lower := hex.EncodeToString([]byte(word))
	all := map[string][]byte{"itself": []byte(word), "hexadecimal": []byte(lower), "capital hexadecimal": []byte(strings.ToUpper(lower))}
	var wide []byte
	for _, unit := range utf16.Encode([]rune(word)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	all["UTF-16"] = wide
	for shift := range 3 {
		text := base64.RawURLEncoding.EncodeToString(append(make([]byte, shift), word...))
		from := (shift*8 + 5) / 6 // the first character that depends on nothing else
		to := (shift + len(word)) * 8 / 6
		all["base64 at "+string(rune('0'+shift))] = []byte(text[from:to])
	}
	return all
}

// sealed fails if a word is found anywhere below a folder: in what it holds, in
// a name, or where a link points. Negated, it fails unless each is.
func sealed(ts *testscript.TestScript, negated bool, args []string) {
	root, found, files := ts.MkAbs(args[0]), map[string]string{}, 0
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		text := []byte(strings.TrimPrefix(path, root))
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text, files = append(text, content...), files+1
		}
		for _, word := range args[1:] {
			for how, spelling := range spellings(word) {
				if bytes.Contains(text, spelling) {
					found[word] = path + " as " + how
				}
			}
		}
		return nil
	}))
	if files == 0 {
		ts.Fatalf("there is no file below %s", root)
	}
	for _, word := range args[1:] {
		if where, is := found[word]; is != negated {
			ts.Fatalf("%q is in clear in %q", word, where)
		}
	}
}
