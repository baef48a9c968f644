package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/scratch"
)

const (
	devRole     = "app-role"
	devCreation = `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO "{{name}}";`
)

// showDatabase starts a PostgreSQL, if one is installed, and shows a credential
// of it being made, used and revoked.
func (c *devCluster) showDatabase(ctx context.Context, w io.Writer) (err error) {
	if !c.database {
		return nil
	}
	c.postgres, err = scratch.Start(ctx)
	if errors.Is(err, scratch.ErrNone) {
		_, err := fmt.Fprintln(w, "No PostgreSQL is installed: the database engine is not shown.")
		return err
	}
	if err != nil {
		return fmt.Errorf("start a PostgreSQL: %w", err)
	}
	if err := c.postgres.Use(ctx, scratch.Admin, c.postgres.Password(), "CREATE TABLE orders (item text); INSERT INTO orders VALUES ('a coffer')"); err != nil {
		return err
	}
	api, err := client.New(client.Config{Address: c.nodes[0].address, Token: c.keys.RootToken})
	if err != nil {
		return err
	}
	defer api.Close()
	for _, step := range []struct {
		path string
		data map[string]any
	}{
		{"sys/mounts/database", map[string]any{"type": "database"}},
		{"database/config/orders-db", map[string]any{
			"plugin_name": "postgresql-database-plugin", "allowed_roles": devRole, "connection_url": c.postgres.URL(),
			"username": scratch.Admin, "password": c.postgres.Password(),
		}},
		{"database/roles/" + devRole, map[string]any{"db_name": "orders-db", "creation_statements": devCreation, "default_ttl": "1h", "max_ttl": "4h"}},
	} {
		if _, err := api.Write(ctx, step.path, step.data); err != nil {
			return err
		}
	}
	return c.showCredential(ctx, api, w)
}

// showCredential makes a user, logs in as it, revokes it and fails to log in.
func (c *devCluster) showCredential(ctx context.Context, api *client.Client, w io.Writer) error {
	made, err := api.Read(ctx, "database/creds/"+devRole, nil)
	if err != nil {
		return err
	}
	name, _ := made.Data["username"].(string)
	password, _ := made.Data["password"].(string)
	if err := c.postgres.Use(ctx, name, password, "SELECT item FROM orders"); err != nil {
		return fmt.Errorf("use a credential: %w", err)
	}
	if _, err := api.Write(ctx, "sys/leases/revoke", map[string]any{"lease_id": made.LeaseID, "sync": true}); err != nil {
		return err
	}
	if c.postgres.Use(ctx, name, password, "SELECT item FROM orders") == nil {
		return errors.New("a revoked credential still logs in")
	}
	_, err = fmt.Fprintf(w, "A PostgreSQL at %s is the connection database/config/orders-db. For the role %s:\n\n"+
		"    made:     the user %s, with the lease %s\n"+
		"    used:     it logged in and read the table orders\n"+
		"    revoked:  its login is refused\n\n"+
		"Make another:  coffer read database/creds/%s\n\n", c.postgres.Address(), devRole, name, made.LeaseID, devRole)
	return err
}
