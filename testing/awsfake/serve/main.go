package main

import (
	"fmt"
	"io"
	"os"

	"github.com/coffer-secrets/coffer/testing/awsfake"
)

func main() {
	f := awsfake.New()
	defer f.Close()
	f.AddGroup("devs", awsfake.Group{})
	f.AddUser("app")
	f.AddPolicy("arn:aws:iam::aws:policy/ReadOnlyAccess")
	f.AddRole("arn:aws:iam::"+awsfake.Account+":role/s3-reader", awsfake.Role{})
	id, secret := f.Key(awsfake.RootUser)
	fmt.Println(f.URL, id, secret)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
