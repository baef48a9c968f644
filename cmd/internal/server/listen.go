package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
	httpapi "github.com/coffer-secrets/coffer/http"
)

// Bounds of a listener, so that strangers cannot use up the process.
const (
	maxHeaderBytes = 64 << 10
	maxConnections = 8192
)

// listener is a socket with the server on it.
type listener struct {
	net.Listener
	cfg   config.Listener
	http  *http.Server
	certs *certificates // nil without TLS
}

// listen opens a socket, on which nothing answers yet.
func listen(ctx context.Context, cfg config.Listener) (*listener, error) {
	l := &listener{cfg: cfg}
	var err error
	if !cfg.TLS.Disable {
		if l.certs, err = newCertificates(cfg.TLS); err != nil {
			return nil, err
		}
	}
	socket, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	l.Listener = &limited{Listener: socket, free: make(chan struct{}, maxConnections), closed: make(chan struct{})}
	return l, nil
}

// answer puts the server on the socket. api is what the listeners have in
// common.
func (l *listener) answer(api httpapi.Config, log *slog.Logger) {
	cfg := l.cfg
	api.MaxBody, api.MaxDuration = cfg.MaxRequestSize, cfg.Timeouts.Request
	api.OpenMetrics, api.Profiling = cfg.OpenMetrics, cfg.OpenProfiling
	api.Proxies = httpapi.Proxies{
		Trusted: cfg.Proxies.Trusted, Hops: cfg.Proxies.Hops, Lenient: cfg.Proxies.AllowUntrusted, Required: !cfg.Proxies.AllowMissing,
	}
	api.Headers = defaultHeaders(cfg)
	l.http = &http.Server{
		Handler:           byStatus(httpapi.New(api), cfg.Headers),
		ReadHeaderTimeout: cfg.Timeouts.ReadHeader,
		ReadTimeout:       cfg.Timeouts.Read,
		WriteTimeout:      cfg.Timeouts.Write,
		IdleTimeout:       cfg.Timeouts.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.With("part", "http").Handler(), slog.LevelDebug),
	}
	if l.certs != nil {
		l.http.TLSConfig = l.certs.config()
	}
}

// defaultHeaders are added to every answer. Over TLS, browsers are told to stay
// with it (RFC 6797).
func defaultHeaders(cfg config.Listener) map[string]string {
	out := make(map[string]string)
	if !cfg.TLS.Disable {
		out["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
	}
	for name, value := range cfg.Headers["default"] {
		out[name] = value
	}
	return out
}

// serve answers until the listener is shut down.
func (l *listener) serve() error {
	serve := l.http.Serve
	if l.certs != nil {
		serve = func(socket net.Listener) error { return l.http.ServeTLS(socket, "", "") }
	}
	if err := serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.cfg.Address, err)
	}
	return nil
}

// shutdown takes no more connections and waits for the requests under way until
// ctx ends.
func (l *listener) shutdown(ctx context.Context) error {
	if err := l.http.Shutdown(ctx); err != nil {
		return errors.Join(err, l.http.Close())
	}
	return nil
}

func open(ctx context.Context, cfg config.Listener) (net.Listener, error) {
	if cfg.Type == config.ListenerUnix {
		return openUnix(ctx, cfg.Address, cfg.Unix)
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", cfg.Address, errors.Unwrap(err))
	}
	return socket, nil
}

// openUnix listens on a socket that only those who may can reach. One that a
// dead process left behind is taken over; one in use is not.
func openUnix(ctx context.Context, path string, cfg config.Unix) (net.Listener, error) {
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	restore := privateUmask()
	socket, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	restore()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := own(path, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), socket.Close())
	}
	return socket, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen on %s: there is something that is not a socket", path)
	}
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		return errors.Join(fmt.Errorf("listen on %s: the socket is in use", path), conn.Close())
	}
	return os.Remove(path)
}

func own(path string, cfg config.Unix) error {
	uid, gid := -1, -1
	if cfg.User != "" {
		u, err := user.Lookup(cfg.User)
		if err != nil {
			if u, err = user.LookupId(cfg.User); err != nil {
				return fmt.Errorf("socket_user: %w", err)
			}
		}
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return err
		}
	}
	if cfg.Group != "" {
		g, err := user.LookupGroup(cfg.Group)
		if err != nil {
			if g, err = user.LookupGroupId(cfg.Group); err != nil {
				return fmt.Errorf("socket_group: %w", err)
			}
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return err
		}
	}
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, os.FileMode(cfg.Mode))
}

// limited bounds how many connections are open at once. Those beyond wait in
// the kernel's queue.
type limited struct {
	net.Listener
	free   chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.free })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() { close(l.closed) })
	return err
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// byStatus adds the headers that go with certain statuses.
func byStatus(next http.Handler, headers map[string]map[string]string) http.Handler {
	if len(headers) == 0 || len(headers) == 1 && headers["default"] != nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&statusWriter{ResponseWriter: w, headers: headers}, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	headers map[string]map[string]string
}

// Unwrap lets answers be sent bit by bit.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader adds the headers of the class and then those of the status.
func (w *statusWriter) WriteHeader(status int) {
	text := strconv.Itoa(status)
	for _, key := range []string{text[:1] + "xx", text} {
		for name, value := range w.headers[key] {
			w.Header().Set(name, value)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}
