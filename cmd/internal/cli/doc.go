// Package cli is Coffer's command line, with the words, flags and exit codes of
// Vault's: one file per group of commands.
//
// Run is the whole of it. Long flags take one dash or two, before or after the
// arguments; args.go brings them to the one form that the flag library knows.
// Commands get a client and return an error; exit.go alone turns errors into
// exit codes and messages: 0 done, 1 wrong use, 2 refused by the server. The exit
// code of status is another matter, as its file says.
//
// Answers go to standard output, all else to standard error. No command takes a
// key or a token from its arguments alone: each asks on the terminal, without
// echo, or reads standard input.
package cli
