// Package report writes down what a benchmark measured: as a table, as JSON,
// and as plots.
package report
