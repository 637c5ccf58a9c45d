package peers

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

// opa is one prepared query over policies that are data, indexed by key id and
// network.
type opa struct {
	query rego.PreparedEvalQuery
}

var (
	//go:embed opa/policy.rego
	opaPolicy string
	//go:embed opa/contains.rego
	opaContains string
	//go:embed opa/matches.rego
	opaMatches string
)

func loadOPA(listed string) func(*workload.Workload) (Loaded, error) {
	return func(w *workload.Workload) (Loaded, error) {
		query, err := rego.New(
			rego.Query("data.keymoat.allow"),
			rego.Module("policy.rego", opaPolicy),
			rego.Module("listed.rego", listed),
			// A store that holds values as the evaluator wants them makes OPA
			// faster, and lets equal lists be one.
			rego.Store(inmem.NewFromASTObject(opaData(w))),
			rego.StoreReadAST(true),
		).PrepareForEval(context.Background())
		if err != nil {
			return nil, fmt.Errorf("preparing the query: %w", err)
		}
		return &opa{query}, nil
	}
}

func opaData(w *workload.Workload) ast.Object {
	lists := make([]*ast.Term, len(w.Lists()))
	for i, entries := range w.Lists() {
		blocks := make([]*ast.Term, len(entries))
		for j, entry := range entries {
			blocks[j] = ast.StringTerm(entry.String())
		}
		lists[i] = ast.ArrayTerm(blocks...)
	}
	data, keys := ast.NewObject(), ast.NewObject()
	for p := range w.Policies() {
		networks := ast.NewObject()
		for _, s := range p.Statements {
			networks.Insert(ast.StringTerm(network(s.VPCID)), lists[s.List])
		}
		policy := ast.ObjectTerm(
			ast.Item(ast.StringTerm("active"), ast.BooleanTerm(true)),
			ast.Item(ast.StringTerm("networks"), ast.NewTerm(networks)),
		)
		if p.AccessKeyID == "" {
			data.Insert(ast.StringTerm("account"), policy)
		} else {
			keys.Insert(ast.StringTerm(p.AccessKeyID), policy)
		}
	}
	data.Insert(ast.StringTerm("keys"), ast.NewTerm(keys))
	return data
}

func (o *opa) Prepare(requests []abi.Request) (Judge, error) {
	inputs := make([]ast.Value, len(requests))
	for i, r := range requests {
		inputs[i] = ast.NewObject(
			ast.Item(ast.StringTerm("access_key_id"), ast.StringTerm(r.AccessKeyID)),
			ast.Item(ast.StringTerm("network"), ast.StringTerm(network(r.VPCID))),
			ast.Item(ast.StringTerm("source_ip"), ast.StringTerm(r.SourceIP.String())),
		)
	}
	ctx := context.Background()
	return func(at int) (bool, error) {
		results, err := o.query.Eval(ctx, rego.EvalParsedInput(inputs[at]))
		if err != nil {
			return false, err
		}
		return results.Allowed(), nil
	}, nil
}

func (o *opa) Close() error { return nil }
