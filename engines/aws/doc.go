// Package aws is the engine that makes credentials of Amazon Web Services: users
// of IAM with a key, and sessions of STS; and it keeps the keys of users that are
// there already, and changes them in time.
//
// A user is decided on and committed as a lease before it is made. Revoking takes
// the keys first, and then all that hangs on the user until IAM lets it go; what
// is gone already is no error. A session cannot be taken back: its lease says so,
// is not renewable, and ends when the session does.
//
// IAM chooses keys, so a key cannot be committed before it exists. What is committed
// before one is asked for are the keys there are, and when by AWS's own clock:
// whoever takes it on after a crash removes the key that nobody committed, which is
// none of those and was made in the time of the asking; and looks once more when
// nothing can come any more. A new key is committed
// beside the old one, takes its place once it answers, and only then does the old
// one go. So at each moment the stored key is one that works.
//
// # Layout
//
//	config/root      the credentials, where AWS is, and a rotation under way
//	config/lease     how long users live
//	roles/<name>     what credentials may do
//	static/<name>    a user whose key is kept, with that key
//	drop/<id>        a key that is to be removed
package aws
