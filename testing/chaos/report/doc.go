// Package report tells what a run of the chaos harness did and found, as text, as
// JSON, and as a plot.
package report
