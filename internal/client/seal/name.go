package seal

import (
	"strings"

	"parsec/internal/base/fault"
	"parsec/internal/format/label"
	"parsec/internal/format/manifest"
	"parsec/internal/format/padding"
	"parsec/internal/format/record"
)

// CheckWorkspaceName refuses what cannot be the name of a workspace: what
// cannot be a file's name, does not print, or holds the colon that ends the
// name in `workspace:/path`.
func CheckWorkspaceName(name string) error {
	if err := manifest.CheckName(name); err != nil {
		return err
	}
	if strings.Contains(name, ":") {
		return fault.Errorf(fault.Invalid, "a workspace's name with a colon")
	}
	return record.CheckText("the workspace's name", name, manifest.MaxName)
}

// SealName seals the workspace's name, padded so that the server does not
// learn its length.
func (k WorkspaceKey) SealName(name string) ([]byte, error) {
	if err := CheckWorkspaceName(name); err != nil {
		return nil, fault.Errorf(fault.Usage, "name workspace: %w", err)
	}
	return randomNonce(derive(k.Key, label.WorkspaceName)).Seal(nil, nil, padding.Frame([]byte(name)), k.nameData()), nil
}

func (k WorkspaceKey) nameData() []byte {
	return label.WorkspaceName.Join(k.Organization[:], k.Workspace[:], label.Uint(k.Generation))
}

// OpenName opens the name in a verified record of this generation. A name
// that does not open, or cannot be one, is [fault.Invalid], and the fault of
// the record's author.
func (k WorkspaceKey) OpenName(sealed []byte) (string, error) {
	plain, err := randomNonce(derive(k.Key, label.WorkspaceName)).Open(nil, nil, sealed, k.nameData())
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "open name of workspace %s: it was sealed under another key or place", k.Workspace)
	}
	content, err := padding.Unframe(plain)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "open name of workspace %s: %w", k.Workspace, err)
	}
	if err := CheckWorkspaceName(string(content)); err != nil {
		return "", fault.Errorf(fault.Invalid, "open name of workspace %s: %w", k.Workspace, err)
	}
	return string(content), nil
}
