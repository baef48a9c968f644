// Package usernames makes names of users by templates: texts of fields and
// functions, as operators write them in username_template. A template is tried
// when it is parsed, so that one that gives names that are too long, or that are
// not unique, is refused when it is written and not when it is used.
//
// There are no loops, variables and definitions, and every function bounds what
// it gives: a template is written by who may configure a mount, and runs on the
// leader.
package usernames
