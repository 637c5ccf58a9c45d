package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

var update = flag.Bool("update", false, "write the golden files")

func all() []*Workload { return []*Workload{Hundred(), Sharing(5_000, 100), Small()} }

// The checksums pin the workloads: when one changes, figures from before and
// after are about different work, and the change must be meant.
func TestAWorkloadHasTheSameBytesOnEveryMachine(t *testing.T) {
	const golden = "testdata/checksums.txt"
	var got strings.Builder
	for _, w := range all() {
		document, traffic := sha256.New(), sha256.New()
		require.NoError(t, w.WritePolicySet(document))
		requests, decisions := w.Requests(100 * Cycle)
		for i, r := range requests {
			d := decisions[i]
			fmt.Fprintln(traffic, r.AccessKeyID, r.SourceIP, r.VPCID, d.Effect, d.Reason, d.Level, d.Network, d.Statement, d.Entry)
		}
		fmt.Fprintf(&got, "%x  policy set, %s\n%x  requests, %s\n", document.Sum(nil), w.Name, traffic.Sum(nil), w.Name)
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

// The answers are known from how requests are made. Here they are compared with
// what a walk over the document that was written finds.
func TestEveryAnswerFollowsFromTheDocument(t *testing.T) {
	for _, w := range all() {
		t.Run(w.Name, func(t *testing.T) {
			policies := read(t, w)
			requests, decisions := w.Requests(100 * Cycle)
			for i, request := range requests {
				require.Equal(t, policies.decide(request), decisions[i], "request %d: %+v", i, request)
			}
		})
	}
}

func TestEachKindOfRequestHasItsShare(t *testing.T) {
	for _, w := range all() {
		t.Run(w.Name, func(t *testing.T) {
			const cycles = 10
			shares := map[string]int{}
			_, decisions := w.Requests(cycles * Cycle)
			for _, d := range decisions {
				shares[fmt.Sprint(d.Network, " ", d.Reason)]++
			}
			require.Equal(t, map[string]int{
				"Public Matched":           18 * cycles,
				"Public SourceIPNotListed": 2 * cycles,
				"VPC Matched":              18 * cycles,
				"VPC SourceIPNotListed":    cycles,
				"VPC VPCNotListed":         cycles,
			}, shares)
		})
	}
}

func TestRequestsTakeTheKeysOfHundredInTurn(t *testing.T) {
	requests, _ := Hundred().Requests(250)
	for i, r := range requests {
		require.Equal(t, fmt.Sprintf("LTAI5tExample%010d", i%100+1), r.AccessKeyID)
	}
}

func TestHundredIsAsFullAsTheLimitsAllow(t *testing.T) {
	w := Hundred()
	lists := map[string]bool{}
	for p := range w.Policies() {
		require.True(t, abi.ValidID(p.AccessKeyID))
		require.Len(t, p.Statements, abi.MaxStatements)
		listed := map[string]bool{}
		for i, s := range p.Statements {
			require.Equal(t, i == 0, s.VPCID == "", "the first statement, and no other, is the public one")
			require.False(t, listed[s.VPCID], "a policy names a VPC once")
			listed[s.VPCID] = true
			lists[fmt.Sprint(w.Lists()[s.List])] = true
		}
	}
	require.Len(t, lists, 100*abi.MaxStatements, "no two lists are equal")
}

func TestAListIsFullAndItsEntriesAreApart(t *testing.T) {
	for _, w := range []*Workload{Hundred(), Sharing(1, 100)} {
		for _, list := range w.Lists() {
			require.Len(t, list, abi.MaxEntries)
			for i, entry := range list {
				require.Equal(t, entry.Masked(), entry)
				require.False(t, overlaps(entry, list[:i]), "%s in %s", entry, list[:i])
			}
		}
	}
}

func TestPublicListsHoldNoPrivateAddress(t *testing.T) {
	w := Hundred()
	for p := range w.Policies() {
		for _, entry := range w.Lists()[p.Statements[0].List] {
			require.False(t, overlaps(entry, notPublic), "%s", entry)
		}
	}
}

func TestMillionIsAMillionKeysOnAThousandLists(t *testing.T) {
	w := Million()
	require.Len(t, w.Lists(), 1_000)
	policies, used := 0, make([]bool, 1_000)
	for p := range w.Policies() {
		policies++
		require.Len(t, p.Statements, 2)
		used[p.Statements[0].List], used[p.Statements[1].List] = true, true
		if policies == 20_000 {
			break
		}
	}
	require.NotContains(t, used, false)
	require.Equal(t, 1_000_000, w.Keys)
}

func TestAFailedWriteIsReported(t *testing.T) {
	failure := errors.New("disk full")
	for _, w := range all() {
		require.ErrorIs(t, w.WritePolicySet(&failing{err: failure}), failure)
	}
	out := &failing{after: 3, err: failure}
	require.ErrorIs(t, Hundred().WritePolicySet(out), failure)
	require.Equal(t, 4, out.writes, "nothing is written after the failure")
}

func BenchmarkWritePolicySetOf5000Keys(b *testing.B) {
	w := Sharing(5_000, 1_000)
	for b.Loop() {
		if err := w.WritePolicySet(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

type failing struct {
	writes, after int
	err           error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.writes++; f.writes > f.after {
		return 0, f.err
	}
	return len(p), nil
}

// The naive twin: the document as encoding/json reads it, walked entry by entry.

type policySet struct {
	Accounts []struct {
		AccountID       string        `json:"AccountId"`
		AccessKeyPolicy *accessPolicy `json:"AccessKeyPolicy"`
		AccessKeys      []struct {
			AccessKeyID     string        `json:"AccessKeyId"`
			AccessKeyPolicy *accessPolicy `json:"AccessKeyPolicy"`
		} `json:"AccessKeys"`
	} `json:"Accounts"`
}

type accessPolicy struct {
	Status     string
	Statements []struct {
		Type   string
		Value  string
		IPList []string
	}
}

type twin struct {
	account *accessPolicy
	keys    map[string]*accessPolicy
}

func read(t *testing.T, w *Workload) twin {
	var document bytes.Buffer
	require.NoError(t, w.WritePolicySet(&document))
	var set policySet
	require.NoError(t, json.Unmarshal(document.Bytes(), &set))
	require.Len(t, set.Accounts, 1)
	require.Equal(t, Account, set.Accounts[0].AccountID)
	policies := twin{account: set.Accounts[0].AccessKeyPolicy, keys: map[string]*accessPolicy{}}
	for _, key := range set.Accounts[0].AccessKeys {
		policies.keys[key.AccessKeyID] = key.AccessKeyPolicy
	}
	require.Len(t, policies.keys, w.Keys)
	return policies
}

func (p twin) decide(r abi.Request) abi.Decision {
	d := abi.Decision{Level: abi.LevelAccessKey, Reason: abi.ReasonVPCNotListed}
	policy := p.keys[r.AccessKeyID]
	if policy == nil {
		d.Level, policy = abi.LevelAccount, p.account
	}
	kind := abi.TypeClassic
	if r.VPCID != "" {
		d.Network, kind = abi.NetworkVPC, abi.TypeVPC
	}
	for i, s := range policy.Statements {
		if s.Type != kind || s.Value != r.VPCID {
			continue
		}
		d.Reason = abi.ReasonSourceIPNotListed
		for _, entry := range s.IPList {
			if !strings.Contains(entry, "/") {
				entry = netip.PrefixFrom(netip.MustParseAddr(entry), netip.MustParseAddr(entry).BitLen()).String()
			}
			if block := netip.MustParsePrefix(entry); block.Contains(r.SourceIP) {
				d.Effect, d.Reason, d.Statement, d.Entry = abi.EffectAllow, abi.ReasonMatched, i, block
				return d
			}
		}
	}
	return d
}
