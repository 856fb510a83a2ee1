package meta

import "parsec/internal/base/id"

// Deletions take the rows of organizations whose row says that they are being
// deleted out of the store, a few at a time.
type Deletions interface {
	// Begun returns the organizations that are being deleted and whose keys
	// follow after, in ascending order, at most limit of them. It costs as
	// much as there are.
	Begun(after OrganizationKey, limit int) ([]Organization, error)
	// Workspaces returns the ids of an organization's workspaces that follow
	// after, in ascending order, at most limit of them.
	Workspaces(o OrganizationKey, after id.Workspace, limit int) ([]id.Workspace, error)
	// Remove removes rows of an organization, about limit of them at most, and
	// reports whether any are left beside the organization's own. Those of
	// placements, repairs and the audit trail are not the organization's. It
	// fails with not found unless the organization is being deleted.
	Remove(o OrganizationKey, limit int) (more bool, err error)
	// End removes the row of an organization of which nothing else is left,
	// whose name is free from then on. The caller has locked it exclusively.
	// Its key is never given again.
	End(o OrganizationKey) error
}
