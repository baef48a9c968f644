// Package policies keeps the ACL policies, and their compiled form. What is
// compiled is cached by the index at which the table last changed, so a change
// of any policy holds for the very next request on every node.
package policies
