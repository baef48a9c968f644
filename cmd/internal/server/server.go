package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/engines"
	httpapi "github.com/coffer-secrets/coffer/http"
	"github.com/coffer-secrets/coffer/seal"
)

// How long parts of starting and stopping may take.
const (
	leadTimeout     = 10 * time.Second
	drainTimeout    = 25 * time.Second
	stepDownTimeout = 5 * time.Second
)

// Build says which binary this is.
type Build struct {
	Version string
	Date    string
}

// Options are what a Server is made of.
type Options struct {
	Config *config.Config
	Build  Build
	// Log receives the log.
	Log io.Writer
	// Load reads the configuration again; nil if there is none to read.
	Load func() (*config.Config, error)
}

// Server is a node of a cluster with its listeners.
type Server struct {
	cfg       *config.Config
	build     Build
	log       *logging
	metrics   *metrics
	wrapper   seal.Wrapper
	node      *node
	peers     *peers
	derived   bool // the cluster's address was not configured
	core      *core.Core
	listeners []*listener
	load      func() (*config.Config, error)

	reloading sync.Mutex
	fatal     chan error
	work      sync.WaitGroup
	cleanup   []func() error // in the order in which things were made
}

// New opens the node in its folder, and the listeners, which answer once Run is
// called. ctx bounds only the opening.
func New(ctx context.Context, o Options) (*Server, error) {
	if err := o.Config.Runnable(); err != nil {
		return nil, err
	}
	log, err := newLogging(o.Config.Log, o.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: o.Config, build: o.Build, log: log, metrics: newMetrics(o.Build.Version), load: o.Load, fatal: make(chan error, 1),
	}
	s.later(log.Close)
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.undo())
	}
	return s, nil
}

func (s *Server) later(f func() error) { s.cleanup = append(s.cleanup, f) }

// undo takes apart what has been made, the last first.
func (s *Server) undo() error {
	var problems []error
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		problems = append(problems, s.cleanup[i]())
	}
	s.cleanup = nil
	return errors.Join(problems...)
}

func (s *Server) open(ctx context.Context) error {
	for _, warning := range s.cfg.Warnings {
		s.log.Warn("configuration: " + warning)
	}
	for _, cfg := range s.cfg.Listeners {
		l, err := listen(ctx, cfg)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
		s.later(func() error { return ignoreClosed(l.Close()) })
	}
	s.completeAddresses()
	if err := s.openNode(ctx); err != nil {
		return err
	}
	var err error
	// What runs until Close must not end when the process is told to: the
	// requests under way still need it.
	life := context.WithoutCancel(ctx)
	if s.wrapper, err = newWrapper(life, s.cfg.Seal, s.log.Logger); err != nil {
		return err
	}
	if s.wrapper != nil {
		s.later(s.wrapper.Close)
	}
	if err := s.openCore(life); err != nil {
		return err
	}
	if err := s.startGossip(life); err != nil {
		return err
	}
	s.metrics.watch(s.node, s.core, s.cfg.Storage.Path)
	api := httpapi.Config{
		Core: s.core, Logger: s.log.Logger, Metrics: s.metrics.text, Observe: s.metrics.observe, InFlight: new(httpapi.InFlight),
		Peers: &forwarder{node: s.node, port: s.peers.port},
	}
	handed := httpapi.Forwarded(api)
	s.peers.handed.Store(&handed)
	for _, l := range s.listeners {
		l.answer(api, s.log.Logger)
	}
	return s.writePID()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) openNode(ctx context.Context) error {
	storage := s.cfg.Storage
	id, err := nodeID(storage.Path, storage.NodeID)
	if err != nil {
		return err
	}
	s.cfg.Storage.NodeID = id
	socket, err := s.listenCluster(ctx)
	if err != nil {
		return err
	}
	life := context.WithoutCancel(ctx)
	if s.peers, err = openPeers(life, socket, id, storage.Path, clusterHost(s.cfg.ClusterAddr), s.log.Logger); err != nil {
		return errors.Join(err, socket.Close())
	}
	s.later(s.peers.port.Close)
	clock, err := s.control(life)
	if err != nil {
		return err
	}
	opened, err := cluster.Open(cluster.Config{
		Dir: storage.Path, NodeID: id, Address: clusterHost(s.cfg.ClusterAddr), LogStore: storage.LogStore,
		Transport: s.peers.port.RaftTransport(), ReadIndex: s.peers.readIndex, PeerTime: s.peers.time, Knows: func(member string) uint32 { return s.peers.told(member).Commands },
		Clock: clock, Logger: s.log.Logger, Fatal: func(err error) { s.fatal <- err },
		SnapshotThreshold: storage.SnapshotThreshold, TrailingLogs: storage.TrailingLogs, SnapshotInterval: storage.SnapshotInterval,
		ElectionTimeout: time.Duration(max(1, storage.PerformanceMultiplier)) * cluster.DefaultElectionTimeout,
	})
	if err != nil {
		return fmt.Errorf("open the data in %s: %w", storage.Path, err)
	}
	s.peers.use(opened)
	s.node = newNode(life, opened, s.peers, clusterHost(s.cfg.ClusterAddr))
	s.later(s.node.Close)
	if !s.node.alone() {
		return nil
	}
	// A node alone elects itself soon: requests need not be refused meanwhile.
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	if err := s.node.waitLead(ctx); err != nil {
		s.log.Warn("the node does not lead yet", "error", err)
	}
	return nil
}

func (s *Server) openCore(ctx context.Context) error {
	info := core.Info{
		Version: apiVersion(s.build.Version), BuildDate: s.build.Date, ClusterName: s.cfg.ClusterName, APIAddr: s.cfg.APIAddr,
		ClusterAddr: s.cfg.ClusterAddr, StorageType: "raft", StartTime: time.Now(), Sanitized: s.cfg.Sanitized(),
	}
	var err error
	s.core, err = core.New(ctx, core.Config{
		Node: s.node, Engines: engineList(), Logger: s.log.Logger, Info: info, Wrapper: s.wrapper,
		Limits:     mounts.Limits{Default: s.cfg.DefaultLeaseTTL, Max: s.cfg.MaxLeaseTTL},
		RawStorage: s.cfg.RawStorage, Metrics: s.metrics.text, Reload: s.reloadPart, Audit: auditConfig(s.cfg),
		Logs: s.log.hub, Peers: s.peers, Joiner: joiner{s.peers}, Members: s.node,
	})
	if err != nil {
		return err
	}
	s.later(func() error {
		s.core.Close()
		return nil
	})
	s.peers.mux.HandleFunc("POST "+pathAdmit, s.peers.answerAdmit(s.core))
	s.peers.mux.HandleFunc("POST "+pathRestore, s.peers.answerRestore(s.core))
	s.peers.mux.HandleFunc("POST "+pathRootKey, s.peers.answerRootKey(s.core))
	s.peers.mux.HandleFunc("POST "+pathRenew, s.peers.answerRenew(s.core))
	return nil
}

// completeAddresses derives what was not configured from the first listener.
func (s *Server) completeAddresses() {
	for _, l := range s.listeners {
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		scheme, host := "https", addr.IP.String()
		if l.cfg.TLS.Disable {
			scheme = "http"
		}
		if addr.IP.IsUnspecified() {
			host = "127.0.0.1"
		}
		if s.cfg.APIAddr == "" {
			s.cfg.APIAddr = scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
		}
		if s.cfg.ClusterAddr == "" {
			s.derived = l.cfg.ClusterAddress == ""
			at := net.JoinHostPort(host, strconv.Itoa(addr.Port+1))
			if l.cfg.ClusterAddress != "" {
				at = l.cfg.ClusterAddress
			}
			s.cfg.ClusterAddr = "https://" + at
		}
		return
	}
	if s.cfg.ClusterAddr == "" { // on sockets of this machine only
		s.derived, s.cfg.ClusterAddr = true, "https://127.0.0.1:0"
	}
}

// clusterHost is the host and port of the cluster's address.
func clusterHost(addr string) string {
	u, err := url.Parse(addr)
	if err != nil {
		return ""
	}
	return u.Host
}

// Core is the node's core.
func (s *Server) Core() *core.Core { return s.core }

// Logger is the server's log.
func (s *Server) Logger() *slog.Logger { return s.log.Logger }

// Address is where the first TCP listener answers, as a URL.
func (s *Server) Address() string {
	for _, l := range s.listeners {
		if l.cfg.Type == config.ListenerTCP {
			scheme := "https"
			if l.cfg.TLS.Disable {
				scheme = "http"
			}
			return scheme + "://" + l.Addr().String()
		}
	}
	return ""
}

// Run serves until ctx ends, and then stops. The error is that of the node or
// a listener if one of them gave up.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		s.work.Go(func() {
			if err := l.serve(); err != nil {
				gone <- err
			}
		})
	}
	if s.wrapper != nil {
		s.work.Go(func() { s.core.KeepUnsealing(ctx) })
	}
	if s.cfg.Snapshots.Path != "" {
		s.work.Go(func() { s.scheduleSnapshots(ctx) })
	}
	if len(s.cfg.Storage.RetryJoin) > 0 {
		s.work.Go(func() { s.keepJoining(ctx) })
	}
	s.work.Go(func() { s.peers.keep(ctx) })
	s.work.Go(func() { s.yieldSealed(ctx) })
	s.notify(notifyReady)
	select {
	case <-ctx.Done():
	case err := <-gone:
		cancel()
		return errors.Join(err, s.stop(context.WithoutCancel(ctx)))
	case err := <-s.fatal:
		// Nothing of the node can be relied on any more, not even its closing.
		s.log.Error("the node cannot go on", "error", err)
		return err
	}
	cancel()
	return s.stop(context.WithoutCancel(ctx))
}

// stop ends the server in the order that loses nothing.
func (s *Server) stop(life context.Context) error {
	s.log.Info("stopping")
	s.log.hub.Close() // who follows the log would keep the listeners from ending
	s.notify(notifyStopping)
	ctx, cancel := context.WithTimeout(life, drainTimeout)
	defer cancel()
	var draining sync.WaitGroup
	for _, l := range s.listeners {
		draining.Go(func() {
			if err := l.shutdown(ctx); err != nil {
				s.log.Warn("requests were cut off", "error", err)
			}
		})
	}
	draining.Wait()
	s.work.Wait()
	if !s.node.alone() && s.node.Status().Leader {
		ctx, cancel := context.WithTimeout(life, stepDownTimeout)
		defer cancel()
		if err := s.node.StepDown(ctx); err != nil {
			s.log.Warn("leadership was not handed over", "error", err)
		}
	}
	s.log.Info("stopped")
	return s.undo()
}

// Close takes apart a server that is not to be run.
func (s *Server) Close() error { return s.undo() }

func (s *Server) notify(state string) {
	if err := notify(state); err != nil {
		s.log.Warn("the service manager was not told", "error", err)
	}
}

func (s *Server) writePID() error {
	path := s.cfg.PIDFile
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil { // #nosec G306 -- to be read by others
		return fmt.Errorf("write the pid file: %w", err)
	}
	s.later(func() error { return os.Remove(path) })
	return nil
}

// Reload reads the configuration again and takes over what can change while
// the server runs: certificates and the level of the log. The log file and
// those of the audit devices are opened again.
func (s *Server) Reload() error {
	s.notify(notifyReloading())
	defer s.notify(notifyReady)
	s.reloading.Lock()
	defer s.reloading.Unlock()
	var problems []error
	cfg := s.cfg
	if s.load != nil {
		next, err := s.load()
		if err != nil {
			s.metrics.reloads.WithLabelValues("failed").Inc()
			return err
		}
		cfg = next
		s.log.hub.Configure(level(cfg.Log.Level))
	}
	problems = append(problems, s.reloadCertificates(cfg))
	s.core.ReopenAudit()
	if s.log.file != nil {
		problems = append(problems, s.log.file.Reopen())
	}
	err := errors.Join(problems...)
	if err != nil {
		s.metrics.reloads.WithLabelValues("failed").Inc()
		return err
	}
	s.metrics.reloads.WithLabelValues("succeeded").Inc()
	s.log.Info("reloaded")
	return nil
}

// reloadCertificates reads the files that a listener's stanza names now.
func (s *Server) reloadCertificates(cfg *config.Config) error {
	var problems []error
	for i, l := range s.listeners {
		if l.certs == nil {
			continue
		}
		settings := l.cfg.TLS
		if i < len(cfg.Listeners) && cfg.Listeners[i].Address == l.cfg.Address && !cfg.Listeners[i].TLS.Disable {
			settings = cfg.Listeners[i].TLS
		}
		problems = append(problems, l.certs.load(settings))
	}
	return errors.Join(problems...)
}

// reloadPart is sys/config/reload.
func (s *Server) reloadPart(part string) error {
	switch part {
	case "listener":
	case "license":
		return nil // there is none, as Vault's free editions say too
	default:
		return engines.Invalidf("there is no subsystem %q to reload: use \"listener\"", part)
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if err := s.reloadCertificates(s.cfg); err != nil {
		return engines.Internal(err)
	}
	return nil
}
