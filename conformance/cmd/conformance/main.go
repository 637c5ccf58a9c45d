// Conformance puts the cases of package conformance to any number of testees
// and shows what each of them made of them:
//
//	conformance [flags] name=command …
//
// A command is split at its spaces; no shell reads it. The exit status is 0 if
// every case passed or is declared not expressible, 1 if one failed, and 2 if
// the call, its files or a testee are unusable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/keymoat/keymoat/conformance"
)

const (
	exitPassed   = 0
	exitFailed   = 1
	exitUnusable = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// testee is a host on the command line.
type testee struct {
	name       string
	command    []string
	exceptions []conformance.Exception
}

type options struct {
	testees     []testee
	junit, html string
	timeout     time.Duration
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitPassed
	case err != nil:
		fmt.Fprintln(stderr, "conformance:", err)
		return exitUnusable
	}
	m, err := check(ctx, o)
	if err == nil {
		err = write(m, o, stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "conformance:", err)
		return exitUnusable
	case m.failed() > 0:
		return exitFailed
	}
	return exitPassed
}

func parse(args []string, stderr io.Writer) (options, error) {
	var (
		o          options
		exceptions = map[string]string{}
	)
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: conformance [flags] name=command …\n\nPuts the conformance cases to each testee and prints a matrix.\n\n")
		flags.PrintDefaults()
	}
	flags.StringVar(&o.junit, "junit", "", "write the results as JUnit XML to this `file`")
	flags.StringVar(&o.html, "html", "", "write the results as one HTML page to this `file`")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "end a testee that takes longer for one answer")
	flags.Func("not-expressible", "the cases that a testee cannot express and why, as `name=file`", func(v string) error {
		name, file, ok := strings.Cut(v, "=")
		if !ok {
			return errors.New("it is name=file")
		}
		exceptions[name] = file
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() == 0 {
		return o, errors.New("no testee is given; name one as name=command")
	}
	seen := map[string]bool{}
	for _, arg := range flags.Args() {
		name, command, _ := strings.Cut(arg, "=")
		t := testee{name: name, command: strings.Fields(command)}
		switch {
		case name == "" || len(t.command) == 0:
			return o, fmt.Errorf("%q is not name=command", arg)
		case seen[name]:
			return o, fmt.Errorf("two testees are named %s", name)
		}
		seen[name] = true
		if file, ok := exceptions[name]; ok {
			document, err := os.ReadFile(file)
			if err != nil {
				return o, err
			}
			if t.exceptions, err = conformance.ReadExceptions(document); err != nil {
				return o, fmt.Errorf("%s: %w", file, err)
			}
			delete(exceptions, name)
		}
		o.testees = append(o.testees, t)
	}
	for name := range exceptions {
		return o, fmt.Errorf("-not-expressible names %s, which is no testee of this call", name)
	}
	return o, nil
}

func check(ctx context.Context, o options) (*matrix, error) {
	cases, err := conformance.Cases()
	if err != nil {
		return nil, err
	}
	var m matrix
	for _, t := range o.testees {
		results, err := conformance.Check(ctx, cases, startProcess(t.command, o.timeout), t.exceptions)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		m.add(t.name, results)
	}
	return &m, nil
}

func write(m *matrix, o options, stdout io.Writer) error {
	if err := m.writeText(stdout); err != nil {
		return err
	}
	for _, report := range []struct {
		file  string
		write func(io.Writer) error
	}{{o.junit, m.writeJUnit}, {o.html, m.writeHTML}} {
		if report.file == "" {
			continue
		}
		f, err := os.Create(report.file)
		if err != nil {
			return err
		}
		if err := errors.Join(report.write(f), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", report.file, err)
		}
	}
	return nil
}
