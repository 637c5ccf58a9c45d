// Package cli holds the commands of keymoat, one file for each.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/keymoat/keymoat/abi"
)

// The exit statuses.
const (
	statusOK       = 0 // all allowed, or valid
	statusNegative = 1 // some denied or in error, or not valid
	statusUnusable = 2 // the call or its files cannot be used
)

// errNegative ends a command that did its work and whose answer is no. The
// answer has been printed; there is nothing more to say.
var errNegative = errors.New("denied, in error or not valid")

// usageError is a call that cannot be understood.
type usageError struct {
	command string
	message string
}

func (e *usageError) Error() string { return e.message + "; see " + e.command + " --help" }

func misuse(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Sprintf(format, args...)}
}

// Console is what the commands read from and write to.
type Console struct {
	In          io.Reader
	Out, Err    io.Writer
	OutTerminal bool // Out is a terminal: tables rather than NDJSON
	ErrTerminal bool // Err is a terminal: progress may be shown
	Colour      bool // Out shows colours
}

// System returns the console of the process.
func System() *Console {
	outTerminal := term.IsTerminal(int(os.Stdout.Fd()))
	return &Console{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		OutTerminal: outTerminal,
		ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Colour:      outTerminal && wantsColour(os.Getenv),
	}
}

// wantsColour follows no-color.org.
func wantsColour(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// warn tells, in one line, what the answer does not depend on.
func (c *Console) warn(format string, args ...any) {
	fmt.Fprintln(c.Err, "keymoat: warning:", oneLine(fmt.Sprintf(format, args...)))
}

// Run runs one command and returns the exit status of the process.
func Run(ctx context.Context, c *Console, args []string) int {
	root := newRoot(c)
	root.SetArgs(append([]string{}, args...))
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, errNegative):
		return statusNegative
	}
	fmt.Fprintln(c.Err, "keymoat:", oneLine(strings.TrimPrefix(err.Error(), "keymoat: ")))
	return statusUnusable
}

func newRoot(c *Console) *cobra.Command {
	root := &cobra.Command{
		Use:   "keymoat",
		Short: "Decide whether an AccessKey may be used from where it is used",
		Long: `keymoat evaluates AccessKey network access policies: which addresses and
which VPCs a key may be used from, by the key's own policy or its account's.

Policies are read as JSON, as YAML, or as an image made by "keymoat compile".
The exit status is 0 if all is allowed or valid, 1 if something is denied,
in error or not valid, and 2 if the call or its files are unusable. Policies
that are not valid are an answer of validate, 1; to any other command they are
unusable, 2.`,
		Example: `  keymoat validate policies.yaml
  keymoat eval --policies policies.yaml --access-key-id LTAI5tExample0000000001 --source-ip 203.0.113.1
  keymoat eval --policies policies.yaml --requests requests.ndjson
  keymoat explain --policies policies.yaml --access-key-id LTAI5tExample0000000001 --source-ip 198.51.100.7`,
		Version:                    abi.Release,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return noCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SetVersionTemplate("keymoat {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, "%v", err) })
	root.AddCommand(newValidate(c), newCompile(c), newEval(c), newExplain(c), newVersion(c))
	refuseUnknown(root)
	return root
}

func noCommand(root *cobra.Command, name string) error {
	message := fmt.Sprintf("there is no command %q", name)
	if near := root.SuggestionsFor(name); len(near) > 0 {
		message += fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
	}
	return misuse(root, "%s", message)
}

// refuseUnknown makes the commands that cobra adds, help and completion, refuse
// a name that they do not know. They would show help and call it a success.
func refuseUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, added := range root.Commands() {
		switch added.Name() {
		case "help":
			added.Args = func(_ *cobra.Command, args []string) error {
				if _, unknown, err := root.Find(args); err != nil || len(unknown) > 0 {
					return noCommand(root, strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			added.Args = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return misuse(cmd, "there is no completion for %q", args[0])
				}
				return nil
			}
			added.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// choice is a flag with a fixed set of values.
type choice struct {
	value   *string
	allowed []string
}

func (c choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c choice) Type() string { return strings.Join(c.allowed, "|") }

func (c choice) Set(s string) error {
	for _, a := range c.allowed {
		if s == a {
			*c.value = s
			return nil
		}
	}
	return fmt.Errorf("must be %s", strings.Join(c.allowed, " or "))
}

func addChoice(cmd *cobra.Command, value *string, name, short, usage string, allowed ...string) {
	cmd.Flags().VarP(choice{value, allowed}, name, short, usage)
	// The error can only be about a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(allowed, cobra.ShellCompDirectiveNoFileComp))
}

// The forms of output.
const (
	formatJSON    = "json"
	formatTable   = "table"
	formatText    = "text"
	formatSVG     = "svg"
	formatMermaid = "mermaid"
)

// addOutput adds the flag for the form of output. Unless it is given, people
// get a table and programs get JSON.
func addOutput(cmd *cobra.Command, c *Console, format *string) {
	addChoice(cmd, format, "output", "o", "form of output: a table, or JSON with one object a line; table on a terminal, else json", formatJSON, formatTable)
	cmd.PreRun = func(*cobra.Command, []string) {
		if *format == "" {
			*format = formatJSON
			if c.OutTerminal {
				*format = formatTable
			}
		}
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse(cmd, "unexpected argument %q", args[0])
	}
	return nil
}
