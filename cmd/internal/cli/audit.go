package cli

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

const auditPath = "sys/audit"

func (a *app) auditCommands() *cobra.Command {
	return group("audit", "Audit devices: where requests and answers are recorded",
		a.auditEnable(), a.auditDisable(), a.auditList(), a.auditHash())
}

func deviceName(arg string) string { return strings.TrimSuffix(sanitize(arg), "/") + "/" }

func (a *app) auditEnable() *cobra.Command {
	var path, description string
	var local bool
	cmd := a.remote("enable [options] TYPE [KEY=VALUE...]", "Enable an audit device", 1, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			typ := strings.ToLower(strings.TrimSpace(args[0]))
			name := deviceName(typ)
			if path != "" {
				name = deviceName(path)
			}
			options, err := a.in.data(args[1:])
			if err != nil {
				return err
			}
			s, err := c.Write(ctx, auditPath+"/"+strings.TrimSuffix(name, "/"), map[string]any{
				"type": typ, "description": description, "local": local, "options": options,
			})
			if err != nil {
				return remotef(err, "Error enabling audit device")
			}
			return a.done(s, "Success! Enabled the %s audit device at: %s", typ, name)
		})
	cmd.Flags().StringVar(&path, "path", "", "Name of the device; its type if not given.")
	cmd.Flags().StringVar(&description, "description", "", "What the device is for.")
	cmd.Flags().BoolVar(&local, "local", false, "Accepted, as Vault has it.")
	cmd.Example = "$ coffer audit enable file file_path=audit.log\n" +
		"$ coffer audit enable -path=siem socket address=siem.example.com:9090 socket_type=tcp"
	return cmd
}

func (a *app) auditDisable() *cobra.Command {
	return a.remote("disable [options] PATH", "Disable an audit device; what it has recorded stays", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			name := deviceName(args[0])
			s, err := c.Delete(ctx, auditPath+"/"+strings.TrimSuffix(name, "/"), nil)
			if err != nil {
				return remotef(err, "Error disabling audit device")
			}
			return a.done(s, "Success! Disabled audit device (if it was enabled) at: %s", name)
		})
}

// auditDevice is a device as it is listed.
type auditDevice struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Options     map[string]string `json:"options"`
	Works       bool              `json:"works"`
}

func (a *app) auditList() *cobra.Command {
	var detailed bool
	cmd := a.remote("list [options]", "List the audit devices", 0, 0, func(ctx context.Context, c *client.Client, _ []string) error {
		s, err := c.Read(ctx, auditPath, nil)
		if err != nil {
			return remotef(err, "Error listing audits")
		}
		if s == nil || s.WrapInfo != nil || a.opts.format == formatRaw {
			return a.secret(s)
		}
		all := make(map[string]auditDevice)
		if err := s.Decode(&all); err != nil {
			return remotef(err, "Error listing audits")
		}
		if len(all) == 0 && a.opts.format == formatTable {
			return a.say("No audit devices are enabled.")
		}
		return a.show(s.Data, func() string { return auditTable(all, detailed) })
	})
	cmd.Flags().BoolVar(&detailed, "detailed", false, "Also print options, and whether the device takes records.")
	return cmd
}

func auditTable(all map[string]auditDevice, detailed bool) string {
	names := []string{"Path", "Type", "Description"}
	if detailed {
		names = append(names, "Works", "Options")
	}
	rows := make([][]string, 0, len(all))
	for _, path := range slices.Sorted(maps.Keys(all)) {
		d := all[path]
		row := []string{path, d.Type, d.Description}
		if detailed {
			row = append(row, cell("", d.Works), cell("", d.Options))
		}
		rows = append(rows, row)
	}
	return titled(names, rows)
}

func (a *app) auditHash() *cobra.Command {
	cmd := a.remote("hash [options] PATH TEXT", "Print what stands for a text in a device's records", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			_, text, err := a.in.pair("input=" + args[1])
			if err != nil {
				return err
			}
			name := strings.TrimSuffix(deviceName(args[0]), "/")
			s, err := c.Write(ctx, "sys/audit-hash/"+name, map[string]any{"input": text})
			if err != nil {
				return remotef(err, "Error hashing")
			}
			return a.secret(s)
		})
	cmd.Example = "$ coffer audit hash file -   # reads the text from standard input"
	return a.withField(cmd)
}
