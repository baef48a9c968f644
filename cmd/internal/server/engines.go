package server

import (
	"github.com/coffer-secrets/coffer/auth/approle"
	"github.com/coffer-secrets/coffer/auth/cert"
	"github.com/coffer-secrets/coffer/auth/jwt"
	"github.com/coffer-secrets/coffer/auth/kubernetes"
	"github.com/coffer-secrets/coffer/auth/userpass"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/aws"
	"github.com/coffer-secrets/coffer/engines/cubbyhole"
	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/mysql"
	"github.com/coffer-secrets/coffer/engines/database/postgres"
	"github.com/coffer-secrets/coffer/engines/database/redis"
	"github.com/coffer-secrets/coffer/engines/kv"
	"github.com/coffer-secrets/coffer/engines/pki"
)

// engineList is every engine that the binary has.
func engineList() []*engines.Engine {
	return []*engines.Engine{kv.New(), cubbyhole.New(), pki.New(), approle.New(), cert.New(), jwt.New(), jwt.NewOIDC(), kubernetes.New(""), userpass.New(), database.New(append(mysql.Plugins(), postgres.Plugin(), redis.Plugin())...), aws.New()}
}
