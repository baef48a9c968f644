// Package passwords makes passwords by rules that operators write: password
// policies, in HCL or JSON.
//
// A password is drawn whole, each character with the same chance from all
// charsets together, and drawn again until every rule holds. So all passwords
// that the rules allow are equally likely, which filling up the missing
// characters would not give. Rules that passwords hold too seldom are refused
// when they are written.
package passwords
