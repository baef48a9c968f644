package kit

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth/approle"
	"github.com/coffer-secrets/coffer/auth/cert"
	"github.com/coffer-secrets/coffer/auth/jwt"
	"github.com/coffer-secrets/coffer/auth/kubernetes"
	"github.com/coffer-secrets/coffer/auth/userpass"
	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/logs"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/cubbyhole"
	"github.com/coffer-secrets/coffer/engines/database"
	"github.com/coffer-secrets/coffer/engines/database/mysql"
	"github.com/coffer-secrets/coffer/engines/database/postgres"
	"github.com/coffer-secrets/coffer/engines/database/redis"
	"github.com/coffer-secrets/coffer/engines/kv"
	"github.com/coffer-secrets/coffer/engines/pki"
	httpapi "github.com/coffer-secrets/coffer/http"
)

const (
	nodeID = "node"
	// patience bounds what must happen, but nobody knows when.
	patience = 30 * time.Second
)

// Server is a running node.
type Server struct {
	t    testing.TB
	opts options

	Node *cluster.Node
	Core *core.Core
	// Handler is the API, and URL where it answers.
	Handler http.Handler
	URL     string
	// Root is the root token; Keys are the key shares, or with a wrapper those
	// of the recovery key, in hex.
	Root string
	Keys []string

	log    *log
	client *http.Client
	http   *httptest.Server
}

// New starts a node, initialised and unsealed unless an option says otherwise.
func New(t testing.TB, list ...Option) *Server {
	t.Helper()
	s := &Server{t: t, opts: options{shares: 1, threshold: 1}, log: new(log)}
	for _, option := range list {
		option(&s.opts)
	}
	if s.opts.dir == "" {
		s.opts.dir = t.TempDir()
	}
	s.open()
	t.Cleanup(s.Close)
	if s.opts.uninitialized {
		return s
	}
	s.Init()
	if !s.opts.sealed {
		s.Unseal()
	}
	return s
}

// open starts everything on the server's folder.
func (s *Server) open() {
	s.t.Helper()
	hub := logs.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}), slog.LevelDebug)
	logger := hub.Logger()
	clusterConfig := cluster.Config{
		Dir: s.opts.dir, NodeID: nodeID, LogStore: s.opts.logStore, Logger: logger, Fatal: func(err error) { s.t.Errorf("the node halted: %v", err) },
		ElectionTimeout: 50 * time.Millisecond, TickInterval: -1, SnapshotInterval: time.Hour, CacheBytes: 1 << 20,
	}
	if s.opts.clock != nil {
		clusterConfig.Clock = s.opts.clock
	}
	if s.opts.member != nil {
		s.opts.member.configure(&clusterConfig)
	}
	var err error
	if s.Node, err = cluster.Open(clusterConfig); err != nil {
		s.t.Fatal(err)
	}
	if ok, err := s.Node.Bootstrapped(); err != nil {
		s.t.Fatal(err)
	} else if ok && s.opts.member == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, _, err := s.Node.LeadContext(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
	config := core.Config{
		Node: node{s.Node, clusterConfig.NodeID}, Engines: []*engines.Engine{kv.New(), cubbyhole.New(), pki.New(), approle.New(), cert.New(), jwt.New(), jwt.NewOIDC(), kubernetes.New(""), userpass.New(), database.New(append(mysql.Plugins(), postgres.Plugin(), redis.Plugin())...)}, Logger: logger,
		Limits: mounts.Limits{Default: 32 * 24 * time.Hour, Max: 32 * 24 * time.Hour},
		Info:   core.Info{Version: "1.0.0-test", APIAddr: "http://127.0.0.1:8200", StorageType: "raft", StartTime: time.Now()}, Logs: hub, Members: s.Node,
	}
	for _, change := range s.opts.core {
		change(&config)
	}
	if s.Core, err = core.New(context.Background(), config); err != nil {
		s.t.Fatal(err)
	}
	api := httpapi.Config{Core: s.Core, Logger: logger}
	for _, change := range s.opts.http {
		change(&api)
	}
	if s.opts.member != nil {
		s.opts.member.serve(s, &api)
	}
	s.Handler = httpapi.New(api)
	s.http = httptest.NewServer(s.Handler)
	s.URL, s.client = s.http.URL, s.http.Client()
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

// Close stops the node. The test's end does so too.
func (s *Server) Close() {
	if s.http == nil {
		return
	}
	s.Core.Logs().Close()
	s.http.Close()
	s.Core.Close()
	if err := s.Node.Close(); err != nil {
		s.t.Error(err)
	}
	s.http = nil
}

// Restart stops the node and starts it again on the same folder, sealed, with
// another port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Close()
	s.open()
}

// Init initialises the node and keeps its keys and root token.
func (s *Server) Init() {
	s.t.Helper()
	names := [2]string{"secret_shares", "secret_threshold"}
	shares := "keys"
	if s.status().Body["recovery_seal"] == true {
		names, shares = [2]string{"recovery_shares", "recovery_threshold"}, "recovery_keys"
	}
	r := s.Must(http.StatusOK, Request{
		Method: http.MethodPut, Path: "sys/init", Token: NoToken,
		Body: map[string]any{names[0]: s.opts.shares, names[1]: s.opts.threshold},
	})
	s.Root, s.Keys = r.Text("root_token"), r.Strings(shares)
}

func (s *Server) status() *Response {
	s.t.Helper()
	return s.Must(http.StatusOK, Request{Path: "sys/seal-status", Token: NoToken})
}

// Unseal submits key shares until the node is unsealed.
func (s *Server) Unseal() {
	s.t.Helper()
	for _, key := range s.Keys {
		if s.status().Body["sealed"] == false {
			return
		}
		s.Must(http.StatusOK, Request{
			Method: http.MethodPut, Path: "sys/unseal", Token: NoToken, Body: map[string]any{"key": key},
		})
	}
	if s.status().Body["sealed"] != false {
		s.t.Fatal("the node is still sealed")
	}
}

// Index is the last index of the log: it moves with everything that is proposed.
func (s *Server) Index() uint64 { return s.Node.Status().LastIndex }

// Checksum is over the whole state.
func (s *Server) Checksum() [32]byte {
	s.t.Helper()
	view := s.Node.Local()
	defer view.Close()
	sum, err := view.Checksum()
	if err != nil {
		s.t.Fatal(err)
	}
	return sum
}

// Log is all that the node has logged so far.
func (s *Server) Log() string { return s.log.String() }

// log collects what is logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
