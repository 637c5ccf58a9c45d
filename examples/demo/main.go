// Command demo evaluates the eight rows of the configuration table that
// keymoat re-creates, with requests taken from audit events, and prints a table
// of the decisions with their reasons. `make demo` runs it.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"text/tabwriter"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
)

// The scenarios, in the order of the table. The events have the shape of
// ActionTrail's, with example values.
//
//go:embed scenarios.json
var scenarios []byte

type scenario struct {
	Scenario  string
	PolicySet json.RawMessage
	Events    []event
}

// event is what is needed of an audit event to judge the call again.
type event struct {
	EventName       string `json:"eventName"`
	ServiceName     string `json:"serviceName"`
	SourceIPAddress string `json:"sourceIpAddress"`
	VPCID           string `json:"vpcId"`
	UserIdentity    struct {
		AccountID   string `json:"accountId"`
		AccessKeyID string `json:"accessKeyId"`
	} `json:"userIdentity"`
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	engine, err := host.New(ctx)
	if err != nil {
		return err
	}
	defer engine.Close(ctx)

	var all []scenario
	if err := json.Unmarshal(scenarios, &all); err != nil {
		return err
	}
	for n, s := range all {
		revision, err := engine.Load(ctx, s.PolicySet)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d. %s (revision %.12s)\n", n+1, s.Scenario, revision)
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "  KEY\tSOURCE\tVPC\tSERVICE\tEFFECT\tREASON\tLEVEL\tENTRY")
		for _, e := range s.Events {
			if err := row(ctx, table, engine, e); err != nil {
				return err
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	return nil
}

func row(ctx context.Context, out io.Writer, engine *host.Engine, e event) error {
	fmt.Fprintf(out, "  %s\t%s\t%s\t%s\t", abi.ShortID(e.UserIdentity.AccessKeyID), e.SourceIPAddress, orDash(e.VPCID), e.ServiceName)
	source, err := netip.ParseAddr(e.SourceIPAddress)
	if err != nil {
		// A call that a cloud service makes for itself is recorded with the
		// service's host name. It is not resolved: names are no evidence.
		fmt.Fprintln(out, "skipped\tno address in the event\t\t")
		return nil
	}
	d, err := engine.Evaluate(ctx, abi.Request{
		AccessKeyID: e.UserIdentity.AccessKeyID,
		SourceIP:    source,
		VPCID:       e.VPCID,
		AccountID:   e.UserIdentity.AccountID,
		Service:     e.ServiceName,
		Action:      e.EventName,
	})
	if err != nil {
		return err
	}
	entry := "-"
	if d.Entry.IsValid() {
		entry = d.Entry.String()
	}
	fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", d.Effect, d.Reason, d.Level, entry)
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
