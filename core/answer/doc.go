// Package answer has the one form of an answer's body, field by field as
// Vault's clients decode it.
package answer
