// Package archtest reads the sources of Coffer and says where they leave the
// design: imports against the arrows, budgets of size, and what is not done
// anywhere, as sleeping in a test. Its tests hold the tree to that, with the
// exceptions of waivers.txt, each of which has a reason; one that is no longer
// needed, or wider than needed, fails too, so that the list can only shrink.
//
// It parses and does not type-check, so that it is fast and reports also on a
// tree that does not build.
package archtest
