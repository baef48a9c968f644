package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coffer-secrets/coffer/client"
)

// app is one run of the command line.
type app struct {
	in       *input
	out, err io.Writer
	opts     options
	shared   *pflag.FlagSet
}

// Run runs the command line and returns the code to exit with. The arguments are
// without the program's name; extra commands, such as the server's, stand beside
// its own.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, extra ...*cobra.Command) int {
	a := &app{in: &input{r: stdin}, out: stdout, err: stderr}
	a.shared = a.opts.flags()
	root := a.root(extra) //nolint:contextcheck // commands get it from ExecuteContext
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(prepare(root, a.shared, args))
	return report(root.ExecuteContext(ctx), stdout, stderr)
}

// prepare normalises what a shell asks to complete as well, but for the word
// that is being typed.
func prepare(root *cobra.Command, shared *pflag.FlagSet, args []string) []string {
	if len(args) > 1 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		last := len(args) - 1
		return append(append(args[:1:1], normalize(root, shared, args[1:last])...), args[last])
	}
	out := normalize(root, shared, args)
	if out == nil {
		return []string{} // nil would mean the process's own arguments
	}
	return out
}

func (a *app) root(extra []*cobra.Command) *cobra.Command {
	var version, install, uninstall bool
	root := &cobra.Command{
		Use:           "coffer",
		Short:         "Coffer keeps secrets, and makes credentials that die on time.",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return &exit{code: exitNoCommand, err: usagef("There is no command %q. See coffer -help.", args[0])}
			case version:
				if child := childNamed(cmd, "version"); child != nil {
					return child.RunE(child, nil)
				}
			case install, uninstall:
				return a.setUpCompletion(install)
			}
			showHelp(cmd, a.err)
			return silent(exitNoCommand)
		},
	}
	root.Flags().BoolVarP(&version, "version", "v", false, "Print the version.")
	root.Flags().BoolVar(&install, "autocomplete-install", false, "Set up completion for your shell.")
	root.Flags().BoolVar(&uninstall, "autocomplete-uninstall", false, "Undo what -autocomplete-install did.")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { showHelp(cmd, a.out) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s\nSee %s -help.", oneDash(err.Error()), cmd.CommandPath())
	})
	root.AddCommand(
		a.readCommand(), a.writeCommand(), a.listCommand(), a.scanCommand(), a.deleteCommand(), a.patchCommand(),
		a.loginCommand(), a.unwrapCommand(), a.statusCommand(), a.pathHelpCommand(), a.printCommand(),
		a.kvCommands(), a.secretsCommands(), a.authCommands(), a.policyCommands(), a.tokenCommands(), a.leaseCommands(), a.operatorCommands(), a.auditCommands(),
		a.completionCommand(),
	)
	root.AddCommand(extra...)
	return root
}

// runner is what a command does with a server.
type runner func(ctx context.Context, c *client.Client, args []string) error

// local makes a command that calls no server. most is -1 for any number.
func local(use, short string, least, most int, run func(ctx context.Context, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: count(least, most),
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args) },
	}
}

// remote makes a command that calls the server, with the flags that all such
// commands have.
func (a *app) remote(use, short string, least, most int, run runner) *cobra.Command {
	cmd := local(use, short, least, most, func(ctx context.Context, args []string) error {
		if err := a.opts.check(); err != nil {
			return err
		}
		c, err := a.newClient(true)
		if err != nil {
			return err
		}
		defer c.Close()
		return run(ctx, c, args)
	})
	cmd.Flags().AddFlagSet(a.shared)
	return cmd
}

// withField adds -field to a command whose answer has fields.
func (a *app) withField(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&a.opts.field, "field", "", "Print this field alone, without a line end when not on a terminal.")
	return cmd
}

// group makes a command that only has others below it.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("There is no command %q below %q. See %s -help.", args[0], cmd.CommandPath(), cmd.CommandPath())
			}
			showHelp(cmd, cmd.ErrOrStderr())
			return silent(exitUsage)
		},
	}
	cmd.AddCommand(children...)
	return cmd
}

func count(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("Not enough arguments (expected %d, got %d)\nUsage: %s", least, len(args), usageLine(cmd))
		case most >= 0 && len(args) > most:
			return usagef("Too many arguments (expected %d, got %d)\nUsage: %s", most, len(args), usageLine(cmd))
		}
		return nil
	}
}
