package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/testing/bench/load"
)

// sized is a server whose data outlive it.
type sized struct {
	options
	dir    string
	key    string
	token  string
	server *target
}

// measureSize fills a server with secrets, starts it again, and tells how long
// it takes to open, and what it costs.
func measureSize(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "coffer-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := &sized{options: o, dir: dir}
	if err := s.start(ctx); err != nil {
		return err
	}
	defer func() { s.server.stop() }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	fmt.Printf("%10s %12s %12s %12s %14s %12s %12s\n", "secrets", "writes/s", "start", "unseal+read", "memory after", "memory full", "disk")
	done := 0
	for _, size := range []int{1, o.secrets / 100, o.secrets / 10, o.secrets} {
		if size <= done {
			continue
		}
		rate, err := s.fill(ctx, done, size)
		if err != nil {
			return err
		}
		done = size
		if err := s.reopen(ctx, done, rate); err != nil {
			return err
		}
	}
	return nil
}

func (s *sized) start(ctx context.Context) (err error) {
	config := filepath.Join(s.dir, "coffer.hcl")
	text := fmt.Sprintf("storage \"raft\" {\n  path = %q\n  node_id = \"bench\"\n}\n"+
		"listener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\nlog_level = \"error\"\n", filepath.Join(s.dir, "data"))
	if err := os.MkdirAll(filepath.Join(s.dir, "data"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	s.server, err = start(ctx, "==> Coffer server started", s.binary, "server", "-config="+config)
	return err
}

func (s *sized) client() (*client.Client, error) {
	return client.New(client.Config{Address: "http://" + s.server.addr, Token: s.token})
}

func (s *sized) setUp(ctx context.Context) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	made, err := c.Init(ctx, &client.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return err
	}
	s.key, s.token = made.Keys[0], made.RootToken
	if _, err := c.Unseal(ctx, s.key, false); err != nil {
		return err
	}
	if c, err = s.client(); err != nil {
		return err
	}
	_, err = c.Write(ctx, "sys/mounts/secret", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	return err
}

// fill writes secrets from..to and returns how many a second.
func (s *sized) fill(ctx context.Context, from, to int) (float64, error) {
	conns := s.most()
	list, stop, err := callers(ctx, s.server, 0, conns, requests(func(conn, n int) []byte {
		i := from + n*conns + conn
		return load.Message(http.MethodPost, fmt.Sprintf("/v1/secret/data/team-%d/app-%d", i/1000, i), s.token, value)
	}))
	if err != nil {
		return 0, err
	}
	defer stop()
	begun := time.Now()
	each := (to - from + conns - 1) / conns
	errs := make(chan error, len(list))
	for _, w := range list {
		go func() {
			for n := range each {
				if err := w.Do(n); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range list {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	return float64(each*conns) / time.Since(begun).Seconds(), nil
}

// reopen restarts the server and tells what it costs to have so many secrets.
func (s *sized) reopen(ctx context.Context, size int, rate float64) error {
	full := memory(s.server.pid)
	s.server.stop()
	begun := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	started := time.Since(begun)
	c, err := s.client()
	if err != nil {
		return err
	}
	begun = time.Now()
	if _, err := c.Unseal(ctx, s.key, false); err != nil {
		return err
	}
	if _, err := c.Read(ctx, "secret/data/team-0/app-0", nil); err != nil {
		return err
	}
	opened := time.Since(begun)
	fmt.Printf("%10d %12.0f %12s %12s %11d MB %9d MB %9d MB\n", size, rate, short(started), short(opened),
		memory(s.server.pid)>>20, full>>20, diskUse(s.dir)>>20)
	return nil
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// memory is what a process has in memory, in bytes; 0 if that is not told.
func memory(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	found := resident.FindSubmatch(text)
	if found == nil {
		return 0
	}
	kb, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// diskUse is the size of the files of a folder, in bytes.
func diskUse(dir string) (total int64) {
	_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
