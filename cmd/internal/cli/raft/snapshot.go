package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/core/backup"
)

func (c commands) save() *cobra.Command {
	cmd := c.Remote("save [options] FILE", "Save the cluster's state to a file", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			body, err := cl.Stream(ctx, &client.Request{Method: http.MethodGet, Path: base + "snapshot", Plain: true}, nil)
			if err != nil {
				return c.Failed(err, "Error taking the snapshot")
			}
			defer func() { _ = body.Close() }()
			if err := keep(args[0], body); err != nil {
				return c.Failed(err, "Error taking the snapshot")
			}
			return nil
		})
	cmd.Long = "Save the state of the cluster to a file, which holds ciphertext only. The file gets its name when it\nwas seen to be whole."
	return cmd
}

// keep writes a file and verifies it. Until then it has another name, so that
// half a snapshot is never taken for one.
func keep(path string, body io.Reader) (err error) {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) // #nosec G304 -- named by the user
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = backup.Inspect(f)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return os.Rename(part, path)
}

func (c commands) restore() *cobra.Command {
	var force bool
	cmd := c.Remote("restore [options] FILE", "Replace the cluster's state by that of a file", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return c.Usage("Error opening the snapshot: %w", err)
			}
			defer func() { _ = f.Close() }()
			path := base + "snapshot"
			if force {
				path += "-force"
			}
			answer, err := cl.Stream(ctx, &client.Request{Method: http.MethodPost, Path: path, Plain: true}, f)
			if err != nil {
				return c.Failed(err, "Error restoring the snapshot")
			}
			return answer.Close()
		})
	cmd.Flags().BoolVar(&force, "force", false, "Restore it though it is another cluster's.")
	cmd.Long = "Replace the state of the cluster by that of a file. A node that is not initialised begins a cluster with\nit, and is then unsealed with the keys of that time."
	return cmd
}

func (c commands) inspect() *cobra.Command {
	return c.Local("inspect [options] FILE", "Tell what a snapshot is of, and whether it is whole", 1, 1, func(_ context.Context, args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return c.Usage("Error opening the snapshot: %w", err)
		}
		defer func() { _ = f.Close() }()
		meta, err := backup.Inspect(f)
		if err != nil {
			return c.Failed(err, "Error reading the snapshot")
		}
		return c.Show(meta, func() string {
			return c.Titled([]string{"Key", "Value"}, [][]string{
				{"Cluster ID", meta.Cluster}, {"Size", fmt.Sprint(meta.Size)}, {"Index", fmt.Sprint(meta.Index)}, {"Term", fmt.Sprint(meta.Term)},
				{"Version", meta.Version}, {"Time", meta.Time.Format(time.RFC3339)},
			})
		})
	})
}
