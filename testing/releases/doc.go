// Package releases keeps a data folder of each release and opens all of them, so
// that no release loses what an earlier one has kept.
//
// testdata holds a folder per release: an archive of the data for each kind of log,
// and in keys.json what unseals it. These keys are for this test and nothing else;
// what they open is made up. Before a release is made, this adds its folder:
//
//	go test ./testing/releases -make NAME
//
// A folder that is there is never made again: it is what that release has written.
// Only the folder "unreleased" is, which comes before the next release and holds all
// parts that there are.
package releases
