package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

// writeProfile loads the server with each work in turn and writes one CPU
// profile of all, from which the compiler learns what is worth its while. The
// works share the time equally, whatever a request of each costs.
func writeProfile(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "coffer-profile-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// A profile holds the path of its program: a neutral one.
	binary, err := os.ReadFile(o.binary) // #nosec G304 -- the binary to measure
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "coffer")
	if err := os.WriteFile(program, binary, 0o700); err != nil { // #nosec G306 G703 -- to be run, in a folder of this run
		return err
	}
	server, err := startDev(ctx, program)
	if err != nil {
		return err
	}
	defer server.stop()
	server.names = o.names
	seconds := max(1, int(o.round/time.Second)*o.rounds)
	args := []string{"tool", "pprof", "-proto", "-output", o.profile}
	for i, w := range works() {
		if !w.profiled && !slices.Contains(o.works, w.name) {
			continue
		}
		s, err := w.prepare(&admin{ctx: ctx, target: server}, o.most())
		if err != nil {
			return err
		}
		list, stop, err := callers(ctx, server, 0, o.most(), s)
		if err != nil {
			return err
		}
		loaded := make(chan error, 1)
		go func() {
			_, err := load.Run(list, load.Pace{For: time.Duration(seconds+1) * time.Second})
			loaded <- err
		}()
		path := filepath.Join(dir, fmt.Sprint(i))
		err = fetchProfile(ctx, server.addr, seconds, path)
		if failed := <-loaded; err == nil {
			err = failed
		}
		stop()
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		args = append(args, path)
	}
	merge := exec.CommandContext(ctx, "go", args...) // #nosec G204 -- files of this run
	merge.Stderr = os.Stderr
	return merge.Run()
}

func fetchProfile(ctx context.Context, addr string, seconds int, path string) error {
	url := fmt.Sprintf("http://%s/v1/sys/pprof/profile?seconds=%d", addr, seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", rootToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the profile: %s", resp.Status)
	}
	file, err := os.Create(path) // #nosec G304 -- in a folder of this run
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, resp.Body); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
