package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/cmd/keymoat/internal/document"
	"github.com/keymoat/keymoat/plugin/policy"
)

func newValidate(c *Console) *cobra.Command {
	var (
		format string
		strict bool
	)
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check policy documents and report everything that is wrong with them",
		Long: `Check policy sets or single access key policies, JSON or YAML, and report every
error and every warning with its code, its JSON pointer and its line and column.
- stands for standard input. A compiled image is checked for damage, and its
revision told.

The exit status is 0 if all files are valid, 1 if one is not, 2 if one cannot be read.`,
		Example: `  keymoat validate policies.yaml
  keymoat validate --strict policies.yaml
  keymoat validate -o json policies/*.json
  generate-policies | keymoat validate -`,
		ValidArgsFunction: policyFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return misuse(cmd, "name at least one file, or - for standard input")
			}
			return atMostOneStdin(cmd, args...)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return validate(c, args, strict, format) },
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "take a file with warnings for not valid")
	addOutput(cmd, c, &format)
	return cmd
}

// policyFiles completes the names of policy files.
func policyFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"json", "yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func atMostOneStdin(cmd *cobra.Command, names ...string) error {
	seen := false
	for _, name := range names {
		if name == stdin && seen {
			return misuse(cmd, "standard input can be read once only")
		}
		seen = seen || name == stdin
	}
	return nil
}

// finding is a finding with its place in the file.
type finding struct {
	abi.Finding
	Line   int `json:"Line,omitempty"`
	Column int `json:"Column,omitempty"`
}

// at names the place of the finding, as compilers do.
func (f *finding) at(file string) string {
	if f.Line == 0 {
		return displayName(file)
	}
	return displayName(file) + ":" + document.Place{Line: f.Line, Column: f.Column}.String()
}

// text tells what is wrong.
func (f *finding) text() string {
	text := printable(f.Message) + " (" + string(f.Code) + ")"
	if f.Pointer == "" {
		return text
	}
	return printable(f.Pointer) + ": " + text
}

// findings adds to each finding its place in the source, and what a writer of
// YAML has to know.
func (s *source) findings(all []abi.Finding) []finding {
	places := s.doc.Places(all)
	found := make([]finding, len(all))
	for i := range all {
		found[i] = finding{Finding: all[i], Line: places[i].Line, Column: places[i].Column}
		if hint := s.doc.Hint(&all[i]); hint != "" {
			found[i].Message += "; " + hint
		}
	}
	return found
}

// verdict is the outcome for one file.
type verdict struct {
	File     string    `json:"File"`
	Valid    bool      `json:"Valid"`
	Image    *contents `json:"Image,omitempty"`
	Errors   []finding `json:"Errors"`
	Warnings []finding `json:"Warnings"`
}

// contents is what an image holds.
type contents struct {
	Revision   string `json:"Revision"`
	Accounts   int    `json:"Accounts"`
	AccessKeys int    `json:"AccessKeys"`
}

func validate(c *Console, files []string, strict bool, format string) error {
	out := bufio.NewWriter(c.Out)
	var (
		verdicts   []verdict
		unreadable []error
		invalid    bool
	)
	for _, name := range files {
		v, err := c.examine(name)
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		v.Valid = v.Valid && !(strict && len(v.Warnings) > 0)
		invalid = invalid || !v.Valid
		if format == formatJSON {
			if err := writeJSON(out, v); err != nil {
				return outputError(err)
			}
			continue
		}
		c.writeFindings(out, &v)
		if v.Image != nil {
			fmt.Fprintf(out, "%s: image of %s and %s, revision %s\n", displayName(name),
				counted(v.Image.Accounts, "account", "accounts"), counted(v.Image.AccessKeys, "key", "keys"), v.Image.Revision)
		}
		verdicts = append(verdicts, v)
	}
	if len(verdicts) > 0 {
		c.writeVerdicts(out, verdicts)
	}
	if err := out.Flush(); err != nil {
		return outputError(err)
	}
	switch {
	case len(unreadable) > 0:
		for _, err := range unreadable[:len(unreadable)-1] {
			fmt.Fprintln(c.Err, "keymoat:", oneLine(err.Error()))
		}
		return unreadable[len(unreadable)-1]
	case invalid:
		return errNegative
	}
	return nil
}

// examine validates one file. The error is that the file cannot be read.
func (c *Console) examine(name string) (verdict, error) {
	v := verdict{File: name, Errors: []finding{}, Warnings: []finding{}}
	s, err := c.readPolicies(name)
	var syntax *document.SyntaxError
	switch {
	case errors.As(err, &syntax):
		v.Errors = append(v.Errors, finding{syntax.Finding(), syntax.Place.Line, syntax.Place.Column})
		return v, nil
	case err != nil:
		return v, err
	case s.doc == nil:
		ev, err := policy.Open(s.data)
		if err != nil {
			v.Errors = append(v.Errors, finding{Finding: abi.Finding{
				Code: abi.FindingCode(abi.StatusInvalidImage.String()), Message: strings.TrimPrefix(err.Error(), "keymoat: "),
			}})
			return v, nil
		}
		v.Valid = true
		v.Image = &contents{ev.Revision(), ev.Accounts(), ev.AccessKeys()}
		return v, nil
	}
	report := policy.Validate(s.data)
	all := s.findings(append(append([]abi.Finding{}, report.Errors...), report.Warnings...))
	v.Valid = report.Valid
	v.Errors, v.Warnings = all[:len(report.Errors):len(report.Errors)], all[len(report.Errors):]
	return v, nil
}

func (c *Console) writeFindings(out io.Writer, v *verdict) {
	write := func(kind string, in colour, all []finding) {
		for i := range all {
			fmt.Fprintf(out, "%s: %s %s\n", all[i].at(v.File), c.paint(kind+":", in), all[i].text())
		}
	}
	write("error", red, v.Errors)
	write("warning", yellow, v.Warnings)
}

func (c *Console) writeVerdicts(out io.Writer, verdicts []verdict) {
	header := []string{"FILE", "VALID", "ERRORS", "WARNINGS"}
	rows := make([][]cell, len(verdicts))
	for i, v := range verdicts {
		valid := cell{"yes", green}
		if !v.Valid {
			valid = cell{"no", red}
		}
		rows[i] = []cell{{text: displayName(v.File)}, valid, {text: countOf(v.Errors).String()}, {text: countOf(v.Warnings).String()}}
	}
	t := newTable(c, header, rows)
	b := t.appendHeader(nil, header)
	for _, row := range rows {
		b = t.appendRow(b, row)
	}
	_, _ = out.Write(b) // Flush tells the error
}

func outputError(err error) error { return fmt.Errorf("writing the output: %w", err) }
