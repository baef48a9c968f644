package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/cmd/internal/scratch"
)

const maxDevNodes = 7

// devKeysFile keeps what unseals a dev cluster whose data are kept.
const devKeysFile = "dev-keys.json"

// devKeys unseal a dev cluster, and enter it.
type devKeys struct {
	UnsealKey string `json:"unseal_key"`
	RootToken string `json:"root_token"`
}

// devCluster is what "coffer dev" starts.
type devCluster struct {
	address   string
	port      int
	rootToken string
	dir       string
	keep      bool
	size      int
	nodes     []*devNode
	keys      devKeys
	// database asks for a PostgreSQL to show the database engine with.
	database bool
	postgres *scratch.Postgres
}

func devCommand() *cobra.Command {
	c := new(devCluster)
	cmd := &cobra.Command{
		Use:   "dev [options]",
		Short: "Start a cluster for trying things out, with a secret in it.",
		Long: `Starts nodes as processes of their own, as in production, unseals them and
puts a secret in. It runs until Ctrl-C, and then removes what it made.`,
		Example: "coffer dev\ncoffer dev -database\ncoffer dev -nodes=1\ncoffer dev -root-token-id=root -port=8300",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(c.run(cmd.Context(), cmd.OutOrStdout()))
		},
	}
	set := cmd.Flags()
	set.StringVar(&c.address, "listen-address", config.DefaultAddress, "Where to listen.")
	set.IntVar(&c.port, "port", 0, "The port to listen on, instead of that of -listen-address.")
	set.StringVar(&c.rootToken, "root-token-id", "", "The root token; made up if not given.")
	set.IntVar(&c.size, "nodes", 3, "How many nodes to start, 1 to 7.")
	set.BoolVar(&c.database, "database", false, "Start a PostgreSQL too, if one is installed, and show a credential of it.")
	set.StringVar(&c.dir, "data-dir", "", "A folder in which the data, and the keys beside them, are kept.")
	return cmd
}

func (c *devCluster) run(ctx context.Context, stdout io.Writer) (err error) {
	if err := c.checkAddress(ctx); err != nil {
		return err
	}
	if err := c.openDir(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.stop())
	}()
	if err := c.start(ctx); err != nil {
		return busy(err, "-port or -listen-address")
	}
	if err := c.setUp(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("set the dev cluster up: %w", err)
	}
	if err := c.showDatabase(ctx, stdout); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("show the database engine: %w", err)
	}
	if err := c.tell(stdout); err != nil {
		return err
	}
	return c.watch(ctx, stdout)
}

// watch returns when it is told to stop, or when all nodes have ended: one may
// be killed to see what the others do.
func (c *devCluster) watch(ctx context.Context, stdout io.Writer) error {
	ended := make(chan int)
	for i, n := range c.nodes {
		go func() {
			<-n.done
			select {
			case ended <- i:
			case <-ctx.Done():
			}
		}()
	}
	for left := len(c.nodes); ; {
		select {
		case <-ctx.Done():
			_, err := fmt.Fprintln(stdout, "\nStopping.")
			return err
		case i := <-ended:
			if left--; left == 0 {
				return fmt.Errorf("the last node has ended: %w", c.nodes[i].failure())
			}
			if _, err := fmt.Fprintf(stdout, "node-%d has ended; %d of %d nodes are left.\n", i+1, left, len(c.nodes)); err != nil {
				return err
			}
		}
	}
}

// start starts the nodes. The first is at the address asked for; the others join
// it, ten ports further each, or wherever there is room.
func (c *devCluster) start(ctx context.Context) error {
	join := ""
	for i := range c.size {
		address, err := c.addressOf(ctx, i)
		if err != nil {
			return err
		}
		id := fmt.Sprintf("node-%d", i+1)
		n, err := startDevNode(ctx, filepath.Join(c.dir, id), id, address, join, c.keep)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, n)
		join = c.nodes[0].address
	}
	return nil
}

// portStep is how far the ports of two nodes are apart: each has one for its
// API, and one for the cluster.
const portStep = 10

func (c *devCluster) addressOf(ctx context.Context, i int) (string, error) {
	host, text, err := net.SplitHostPort(c.address)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", err
	}
	switch {
	case port != 0 && i == 0:
		return c.address, nil
	case port != 0:
		port += portStep * i
	}
	for _, port := range []int{port, 0} {
		socket, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return socket.Addr().String(), socket.Close()
		}
	}
	return "", fmt.Errorf("no port of %s is free", host)
}

// checkAddress finds out early whether the address can be had.
func (c *devCluster) checkAddress(ctx context.Context) error {
	host, _, err := net.SplitHostPort(c.address)
	if err != nil {
		return fmt.Errorf("-listen-address: expected host:port, such as %q", config.DefaultAddress)
	}
	if c.size < 1 || c.size > maxDevNodes {
		return fmt.Errorf("-nodes: expected a number from 1 to %d", maxDevNodes)
	}
	if c.port < 0 || c.port > 65535 {
		return errors.New("-port: expected a number from 1 to 65535")
	}
	if c.port != 0 {
		c.address = net.JoinHostPort(host, strconv.Itoa(c.port))
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", c.address)
	if err != nil {
		return busy(fmt.Errorf("listen on %s: %w", c.address, errors.Unwrap(err)), "-port or -listen-address")
	}
	return socket.Close()
}

func (c *devCluster) openDir() (err error) {
	if c.keep = c.dir != ""; c.keep && c.database {
		return errors.New("-database: its data are not kept, so it does not go with -data-dir")
	}
	if !c.keep {
		c.dir, err = os.MkdirTemp("", devFolder)
		return err
	}
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("-data-dir: %w", err)
	}
	return nil
}

// setUp initialises the cluster, unless it has been, unseals it and puts a
// secret in.
func (c *devCluster) setUp(ctx context.Context) error {
	api, err := client.New(client.Config{Address: c.nodes[0].address})
	if err != nil {
		return err
	}
	defer api.Close()
	done, err := api.Initialized(ctx)
	if err != nil {
		return err
	}
	if done {
		err = c.loadKeys()
	} else {
		err = c.initialize(ctx, api)
	}
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.unseal(ctx, n); err != nil {
			return err
		}
	}
	api = api.With(func(cfg *client.Config) { cfg.Token = c.keys.RootToken })
	if done {
		return nil
	}
	if err := c.replaceToken(ctx, api); err != nil {
		return err
	}
	api = api.With(func(cfg *client.Config) { cfg.Token = c.keys.RootToken })
	return fill(ctx, api)
}

// devJoinTimeout bounds how long a node takes to join and be unsealed.
const (
	devJoinTimeout = 60 * time.Second
	devJoinPause   = 100 * time.Millisecond
)

// unseal unseals a node, once it has found the others.
func (c *devCluster) unseal(ctx context.Context, n *devNode) error {
	ctx, cancel := context.WithTimeout(ctx, devJoinTimeout)
	defer cancel()
	api, err := client.New(client.Config{Address: n.address})
	if err != nil {
		return err
	}
	defer api.Close()
	for {
		status, err := api.SealStatus(ctx)
		if err == nil && status.Initialized && status.Sealed {
			status, err = api.Unseal(ctx, c.keys.UnsealKey, false)
		}
		if err == nil && status.Initialized && !status.Sealed {
			return nil
		}
		select {
		case <-time.After(devJoinPause):
		case <-n.done:
			return fmt.Errorf("a node has ended: %w", n.failure())
		case <-ctx.Done():
			return errors.Join(errors.New("a node did not join in time"), err)
		}
	}
}

func (c *devCluster) initialize(ctx context.Context, api *client.Client) error {
	made, err := api.Init(ctx, &client.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return err
	}
	c.keys = devKeys{UnsealKey: made.KeysBase64[0], RootToken: made.RootToken}
	return c.saveKeys()
}

// replaceToken gives the root token the id that was asked for.
func (c *devCluster) replaceToken(ctx context.Context, api *client.Client) error {
	if c.rootToken == "" {
		return nil
	}
	_, err := api.Write(ctx, "auth/token/create", map[string]any{
		"id": c.rootToken, "policies": []string{"root"}, "no_parent": true, "display_name": "root",
	})
	if err != nil {
		return fmt.Errorf("-root-token-id: %w", err)
	}
	if _, err := api.Write(ctx, "auth/token/revoke-self", nil); err != nil {
		return err
	}
	c.keys.RootToken = c.rootToken
	return c.saveKeys()
}

func (c *devCluster) saveKeys() error {
	if !c.keep {
		return nil
	}
	text, err := json.MarshalIndent(c.keys, "", "  ")
	if err != nil {
		return err
	}
	return publish(filepath.Join(c.dir, devKeysFile), text, 0o600)
}

func (c *devCluster) loadKeys() error {
	text, err := os.ReadFile(filepath.Join(c.dir, devKeysFile))
	if err != nil {
		return fmt.Errorf("the data in %s are of a cluster whose keys are not there: %w", c.dir, err)
	}
	return json.Unmarshal(text, &c.keys)
}

// fill mounts secret/ and puts a first secret there.
func fill(ctx context.Context, api *client.Client) error {
	_, err := api.Call(ctx, &client.Request{Method: http.MethodPost, Path: "sys/mounts/secret", Body: map[string]any{
		"type": "kv", "description": "key/value secret storage", "options": map[string]string{"version": "2"},
	}})
	if err != nil {
		return err
	}
	_, err = api.Write(ctx, "secret/data/demo", map[string]any{"data": map[string]string{"greeting": "hello", "from": "coffer dev"}})
	return err
}

func (c *devCluster) tell(w io.Writer) error {
	program := os.Args[0]
	if filepath.Base(program) == program {
		program = "coffer"
	}
	address := c.nodes[0].address
	var b strings.Builder
	fmt.Fprintf(&b, "Coffer is running, unsealed, with a secret in it. It is for trying things out:\n"+
		"do not keep real secrets there.\n\n"+
		"    Address:     %s\n    Root token:  %s\n    Unseal key:  %s\n    Data:        %s%s\n    Log:         %s\n",
		address, c.keys.RootToken, c.keys.UnsealKey, c.dir, c.fate(), c.nodes[0].logPath)
	if len(c.nodes) > 1 {
		fmt.Fprintf(&b, "\nAny node answers, and any of them may be killed:\n\n")
		for i, n := range c.nodes {
			fmt.Fprintf(&b, "    node-%d       %s, process %d\n", i+1, n.address, n.cmd.Process.Pid)
		}
	}
	b.WriteByte('\n')
	fmt.Fprintf(&b, "Try, in another terminal:\n\n"+
		"    export COFFER_ADDR='%s' COFFER_TOKEN='%s'\n"+
		"    %[3]s kv get secret/demo\n"+
		"    %[3]s kv put secret/database/master username=app password='Tr0ub4dor&3'\n"+
		"    %[3]s status\n\nVault's command line works too, with VAULT_ADDR and VAULT_TOKEN. Ctrl-C stops.\n",
		address, c.keys.RootToken, program)
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *devCluster) fate() string {
	if c.keep {
		return ""
	}
	return " (removed at the end)"
}

// stop ends the nodes and removes what is not to be kept.
func (c *devCluster) stop() error {
	var problems []error
	for _, n := range c.nodes {
		problems = append(problems, n.stop())
	}
	if c.postgres != nil {
		problems = append(problems, c.postgres.Close())
	}
	if !c.keep {
		problems = append(problems, os.RemoveAll(c.dir))
	}
	return errors.Join(problems...)
}
