package kubernetes

import (
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

// Type is the engine's type.
const Type = "kubernetes"

// PodDir is where a pod finds its service account.
const PodDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// engine is what all mounts share.
type engine struct {
	clients upstream.Pool
	pod     string
}

// New returns the engine; pod is the folder of Coffer's own service account if
// it runs in a pod, PodDir if empty.
func New(pod string) *engines.Engine {
	if pod == "" {
		pod = PodDir
	}
	e := &engine{pod: pod}
	return &engines.Engine{
		Type: Type, Class: engines.ClassAuth, Help: "Log in with the token of a Kubernetes service account.", Renew: renew,
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "Lets pods in by the token of their service account, about which the cluster is asked.\nA role says which accounts, and what they get.",
				Routes: e.routes(),
			}, nil
		},
	}
}

func (e *engine) routes() []engines.Route {
	return append(roles.Routes(), []engines.Route{
		{
			Pattern: "config", Help: "Which cluster to ask, and how.", Fields: configFields(),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readConfig},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeConfig, Help: "Replace the configuration."},
			},
		},
		{
			Pattern: "login", Help: "Log in with a service account's token.", Public: true,
			Fields: []engines.Field{
				{Name: "role", Help: "The role to log in by."},
				{Name: "jwt", Secret: true, Help: "The token."},
			},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Ahead: e.review, Handler: login}},
		},
	}...)
}
