package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/cmd/keymoat/internal/flow"
	"github.com/keymoat/keymoat/plugin/policy"
)

func newExplain(c *Console) *cobra.Command {
	var (
		from    evaluatorFlags
		flags   requestFlags
		request string
		format  = formatText
	)
	cmd := &cobra.Command{
		Use:   "explain --policies FILE (--access-key-id ID --source-ip IP | --request JSON)",
		Short: "Decide one request and tell why, step by step",
		Long: `Decide one request and tell each question that was asked, its answer, and what
became of each statement of the policy: as text, as JSON, or as a picture of
the decision flow with the way that was taken, SVG or Mermaid.

The exit status is 0 if the request is allowed, 1 if it is denied, 2 if the
call or a file is unusable.`,
		Example: `  keymoat explain --policies policies.yaml --access-key-id LTAI5tExample0000000001 --source-ip 198.51.100.7
  keymoat explain --policies policies.yaml --request '{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"198.51.100.7"}'
  keymoat explain --policies policies.yaml --access-key-id LTAI5tExample0000000001 --source-ip 198.51.100.7 -o svg > why.svg`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := from.check(cmd); err != nil {
				return err
			}
			r, err := explainedRequest(cmd, &flags, request)
			if err != nil {
				return err
			}
			return explain(cmd.Context(), c, &from, r, format)
		},
	}
	addEvaluator(cmd, &from)
	addRequest(cmd, &flags)
	cmd.Flags().StringVar(&request, "request", "", "the request as `JSON`, as a line for eval")
	_ = cmd.RegisterFlagCompletionFunc("request", cobra.NoFileCompletions)
	addChoice(cmd, &format, "output", "o", "form of output", formatText, formatJSON, formatSVG, formatMermaid)
	return cmd
}

func explainedRequest(cmd *cobra.Command, flags *requestFlags, request string) (abi.Request, error) {
	flag := givenRequestFlag(cmd)
	switch {
	case !cmd.Flags().Changed("request") && flag == "":
		return abi.Request{}, misuse(cmd, "give a request with --access-key-id and --source-ip, or with --request")
	case !cmd.Flags().Changed("request"):
		return flags.request(cmd)
	case flag != "":
		return abi.Request{}, misuse(cmd, "--request and --%s exclude each other", flag)
	}
	r, err := policy.ParseRequest([]byte(request))
	if err != nil {
		return abi.Request{}, misuse(cmd, "--request: %s", strings.TrimPrefix(err.Error(), "keymoat: "))
	}
	return r, nil
}

func explain(ctx context.Context, c *Console, from *evaluatorFlags, request abi.Request, format string) error {
	ev, err := from.load(ctx, c)
	if err != nil {
		return err
	}
	defer ev.Close(ctx)
	trace, err := ev.Explain(ctx, request)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.Out)
	switch format {
	case formatJSON:
		err = writeJSON(out, trace)
	case formatSVG:
		err = flow.SVG(out, &trace)
	case formatMermaid:
		err = flow.Mermaid(out, &trace)
	default:
		c.writeTrace(out, &trace)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return outputError(err)
	}
	if !trace.Decision.Allowed() {
		return errNegative
	}
	return nil
}

// writeTrace tells a trace in words.
func (c *Console) writeTrace(out io.Writer, t *abi.Trace) {
	d := &t.Decision
	headline := c.paint(d.Effect.String(), red)
	if d.Allowed() {
		headline = c.paint(d.Effect.String(), green)
	}
	fmt.Fprintf(out, "%s %s", headline, d.Reason)
	if code := d.Code(); code != "" {
		fmt.Fprintf(out, " (%s)", code)
	}
	fmt.Fprint(out, "\n\n")
	for _, fact := range flow.Facts(t) {
		fmt.Fprintf(out, "%-12s %s\n", fact.Name, printable(fact.Value))
	}
	fmt.Fprintln(out)
	for i, step := range t.Steps {
		answer := printable(step.Answer)
		fmt.Fprintf(out, "%d %s  %s\n", i+1, c.paint(fmt.Sprintf("%-10s", step.Step), bold), answer)
		c.writeStatements(out, step.Statements)
		if step.Reason != "" {
			fmt.Fprintf(out, "%14s=> %s %s\n", "", headline, printable(step.Reason))
		}
	}
}

func (c *Console) writeStatements(out io.Writer, statements []abi.StatementTrace) {
	rows := make([][]cell, len(statements))
	for i, s := range statements {
		verdict := cell{text: printable(flow.Verdict(&s))}
		switch s.Verdict {
		case abi.VerdictMatched:
			verdict.in = green
		case abi.VerdictNotListed:
			verdict.in = red
		}
		name := s.Type
		if s.Value != "" {
			name += " " + printable(s.Value)
		}
		rows[i] = []cell{{text: fmt.Sprintf("%14s%d", "", s.Statement)}, {text: name}, verdict}
	}
	if len(rows) == 0 {
		return
	}
	t := newTable(c, make([]string, len(rows[0])), rows)
	var b []byte
	for _, row := range rows {
		b = t.appendRow(b, row)
	}
	_, _ = out.Write(b) // Flush tells the error
}
