// Package policy is access control: it parses policies, compiles those that a
// caller holds, and decides. It knows nothing of tokens, mounts or storage.
//
// Invariants:
//
//   - What no rule allows is denied. Of the rules that match a path, the most
//     specific one alone decides; rules of several policies for one pattern are
//     merged first, and in a merge a deny wins.
//   - A path is matched in its canonical form (package paths); a listing is of
//     a folder, so its path ends in a slash. A deny of what is in a folder also
//     denies listing it, unless a rule names the folder itself.
//   - What a template is filled with is one literal piece of a segment: no
//     character in it acts as a wildcard or begins a new segment.
//   - A decision comes with its reasons, made by the code that decides.
package policy
