package abi_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// named is what all enumerations have in common.
type named interface {
	String() string
	MarshalText() ([]byte, error)
}

func TestEveryValueHasANameThatReadsBack(t *testing.T) {
	unknown := []string{"", "Unknown", "Reason(13)"}
	check := func(v named, parse func([]byte) (any, error)) {
		name, err := v.MarshalText()
		require.NoError(t, err)
		require.Equal(t, v.String(), string(name))
		require.NotContains(t, v.String(), "(")
		got, err := parse(name)
		require.NoError(t, err)
		require.Equal(t, any(v), got)
		for _, wrong := range append(unknown, strings.ToLower(v.String()), v.String()+" ", " "+v.String(), v.String()[1:]) {
			_, err := parse([]byte(wrong))
			require.ErrorIs(t, err, abi.StatusInvalidArgument, "%q", wrong)
			require.ErrorContains(t, err, `"`+wrong+`"`)
		}
	}
	for _, v := range abi.Effects() {
		check(v, func(b []byte) (any, error) { var e abi.Effect; err := e.UnmarshalText(b); return e, err })
	}
	for _, v := range abi.Reasons() {
		check(v, func(b []byte) (any, error) { var r abi.Reason; err := r.UnmarshalText(b); return r, err })
	}
	for _, v := range abi.Levels() {
		check(v, func(b []byte) (any, error) { var l abi.Level; err := l.UnmarshalText(b); return l, err })
	}
	for _, v := range abi.Networks() {
		check(v, func(b []byte) (any, error) { var n abi.Network; err := n.UnmarshalText(b); return n, err })
	}
}

func TestTheListsAreWhole(t *testing.T) {
	require.Equal(t, []abi.Effect{abi.EffectDeny, abi.EffectAllow}, abi.Effects())
	require.Equal(t, []abi.Level{abi.LevelNone, abi.LevelAccount, abi.LevelAccessKey}, abi.Levels())
	require.Equal(t, []abi.Network{abi.NetworkPublic, abi.NetworkVPC}, abi.Networks())
	require.Len(t, abi.Reasons(), int(abi.ReasonMatched))
	require.Equal(t, abi.ReasonNoAccessKey, abi.Reasons()[0], "no reason is none of them")
	require.Equal(t, abi.ReasonMatched, abi.Reasons()[len(abi.Reasons())-1])
	require.Len(t, abi.Statuses(), int(abi.StatusInternal)+1)
	require.Len(t, abi.Steps(), 6)
}

func TestAValueOfANewerGuestStillPrints(t *testing.T) {
	require.Equal(t, "Effect(2)", abi.Effect(2).String())
	require.Equal(t, "Reason(0)", abi.ReasonNone.String())
	require.Equal(t, "Reason(13)", abi.Reason(13).String())
	require.Equal(t, "Level(3)", abi.Level(3).String())
	require.Equal(t, "Network(255)", abi.Network(255).String())
}

func TestTheZeroDecisionDenies(t *testing.T) {
	var d abi.Decision
	require.False(t, d.Allowed())
	require.Equal(t, abi.DenialCode, d.Code())
	require.False(t, abi.Decision{Effect: abi.EffectAllow}.Allowed(), "nobody decided")
	require.True(t, abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched}.Allowed())
	require.Empty(t, abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched}.Code())
}

// The rules of DESIGN.md, "Evaluation", in other words than those of the code.
func TestADecisionOccursOnlyWithTheEffectAndLevelOfItsRule(t *testing.T) {
	never := []string{}
	always := map[abi.Reason]string{
		abi.ReasonNoAccessKey: "Allow None, Deny None", abi.ReasonAmbiguousAccessKey: "Deny None",
		abi.ReasonTemporaryCredential: "Allow None", abi.ReasonExemptService: "Allow None", abi.ReasonAccountMismatch: "Deny None",
		abi.ReasonUnknownAccount: "Deny None", abi.ReasonNoActivePolicy: "Allow None",
		abi.ReasonNoVPCPolicy: "Deny Account, Deny AccessKey", abi.ReasonVPCNotListed: "Deny Account, Deny AccessKey",
		abi.ReasonNoPublicPolicy: "Deny Account, Deny AccessKey", abi.ReasonSourceIPNotListed: "Deny Account, Deny AccessKey",
		abi.ReasonMatched: "Allow Account, Allow AccessKey",
	}
	for effect := range abi.Effect(4) {
		for reason := range abi.Reason(20) {
			for level := range abi.Level(8) {
				d := abi.Decision{Effect: effect, Reason: reason, Level: level}
				want := slices.Contains(strings.Split(always[reason], ", "), effect.String()+" "+level.String())
				require.Equal(t, want, d.Occurs(), "%s %s %s", effect, reason, level)
				if d.Network = 2; d.Occurs() {
					never = append(never, reason.String())
				}
				_, status := abi.NewWord(effect, reason, level, abi.NetworkVPC).Decision(netip.MustParseAddr("::1"))
				require.Equal(t, want, status == abi.StatusOK, "%s %s %s", effect, reason, level)
			}
		}
	}
	require.Empty(t, never, "there are two networks")
}

// decisions are all that can be built without a matched entry, and some with.
func decisions() (all []abi.Decision) {
	for _, e := range abi.Effects() {
		for _, r := range abi.Reasons() {
			for _, l := range abi.Levels() {
				for _, n := range abi.Networks() {
					d := abi.Decision{Effect: e, Reason: r, Level: l, Network: n}
					all = append(all, d)
					d.Statement, d.Entry = 7, netip.MustParsePrefix("203.0.113.0/24")
					all = append(all, d)
				}
			}
		}
	}
	for _, entry := range []string{"0.0.0.0/0", "::/0", "203.0.113.1/32", "2001:db8::1/128", "2001:db8::/32"} {
		all = append(all, abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccessKey, Entry: netip.MustParsePrefix(entry)})
	}
	return all
}

func TestADecisionSurvivesItsWord(t *testing.T) {
	for _, d := range decisions() {
		if !d.Occurs() {
			continue
		}
		w := abi.NewWord(d.Effect, d.Reason, d.Level, d.Network)
		source := netip.MustParseAddr("203.0.113.77")
		if d.Entry.IsValid() {
			w = w.WithEntry(uint8(d.Statement), uint8(d.Entry.Bits()))
			source = d.Entry.Addr()
		}
		require.Equal(t, abi.StatusOK, w.Status())
		require.Equal(t, d.Reason, w.Reason())
		require.GreaterOrEqual(t, int64(w), int64(0))
		got, status := w.Decision(source)
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, d, got)
		require.Equal(t, uint64(w), binary.LittleEndian.Uint64(w.Append(nil)))
	}
}

func TestTheEntryIsMaskedAndNeverMapped(t *testing.T) {
	w := abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccount, abi.NetworkPublic).WithEntry(0, 24)
	for _, source := range []string{"203.0.113.77", "::ffff:203.0.113.77"} {
		d, status := w.Decision(netip.MustParseAddr(source))
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, netip.MustParsePrefix("203.0.113.0/24"), d.Entry)
	}
}

func TestAWordThatNoEvaluatorReturnsIsAnError(t *testing.T) {
	good := abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccessKey, abi.NetworkVPC)
	ipv4, ipv6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8::1")
	for name, c := range map[string]struct {
		word   abi.Word
		source netip.Addr
	}{
		"effect 2":                {abi.NewWord(2, abi.ReasonMatched, abi.LevelAccount, abi.NetworkPublic), ipv4},
		"reason 0":                {abi.NewWord(abi.EffectAllow, abi.ReasonNone, abi.LevelNone, abi.NetworkPublic), ipv4},
		"reason 13":               {abi.NewWord(abi.EffectAllow, 13, abi.LevelNone, abi.NetworkPublic), ipv4},
		"reason 255":              {abi.NewWord(abi.EffectAllow, 255, abi.LevelNone, abi.NetworkPublic), ipv4},
		"level 3":                 {abi.NewWord(abi.EffectAllow, abi.ReasonMatched, 3, abi.NetworkPublic), ipv4},
		"network 2":               {abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccount, 2), ipv4},
		"matched by nobody":       {abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelNone, abi.NetworkPublic), ipv4},
		"bit 57":                  {good | 1<<57, ipv4},
		"bit 63":                  {good | 1<<63, ipv4},
		"33 bits of IPv4":         {good.WithEntry(0, 33), ipv4},
		"129 bits of IPv6":        {good.WithEntry(0, 129), ipv6},
		"an entry, and no source": {good.WithEntry(0, 0), netip.Addr{}},
		"zero":                    {0, ipv4},
	} {
		t.Run(name, func(t *testing.T) {
			d, status := c.word.Decision(c.source)
			require.Equal(t, abi.StatusInternal, status)
			require.Zero(t, d)
		})
	}
}

func TestAnErrorWordHoldsNoDecision(t *testing.T) {
	for _, s := range append(abi.Statuses()[1:], 10, 255) {
		w := abi.ErrorWord(s)
		require.Equal(t, s, w.Status())
		used := abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched}
		require.Equal(t, s, w.Unpack(netip.MustParseAddr("::1"), &used))
		require.Zero(t, used, "nothing is left of an earlier decision")
	}
}

func TestPackingAllocatesNothing(t *testing.T) {
	r, buffer, d := full(), make([]byte, abi.MaxRequestSize), abi.Decision{}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = abi.PutRequest(buffer, &r)
		w := abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccount, abi.NetworkPublic).WithEntry(1, 32)
		w.Unpack(r.SourceIP, &d)
		_, _, _ = abi.DecodeRequest(buffer)
	}))
}

func FuzzWord(f *testing.F) {
	for _, d := range decisions()[:12] {
		f.Add(uint64(abi.NewWord(d.Effect, d.Reason, d.Level, d.Network)), "203.0.113.1")
		f.Add(uint64(abi.NewWord(d.Effect, d.Reason, d.Level, d.Network).WithEntry(7, 24)), "2001:db8::1")
	}
	f.Add(uint64(abi.ErrorWord(abi.StatusInternal)), "")
	f.Add(^uint64(0), "::ffff:203.0.113.1")
	f.Fuzz(func(t *testing.T, bits uint64, text string) {
		source, _ := netip.ParseAddr(text)
		w := abi.Word(bits)
		d, status := w.Decision(source)
		if status != abi.StatusOK {
			require.Zero(t, d)
			require.False(t, d.Allowed())
			return
		}
		require.Equal(t, abi.StatusOK, w.Status())
		require.NotEqual(t, abi.ReasonNone, d.Reason)
		require.Contains(t, abi.Effects(), d.Effect)
		require.Contains(t, abi.Reasons(), d.Reason)
		require.Contains(t, abi.Levels(), d.Level)
		require.Contains(t, abi.Networks(), d.Network)
		require.Equal(t, d.Effect == abi.EffectAllow, d.Allowed())
		again := abi.NewWord(d.Effect, d.Reason, d.Level, d.Network)
		if d.Entry.IsValid() {
			require.True(t, d.Entry.Contains(source.Unmap().WithZone("")))
			require.Equal(t, d.Entry, d.Entry.Masked())
			again = again.WithEntry(uint8(d.Statement), uint8(d.Entry.Bits()))
		}
		same, status := again.Decision(source)
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, d, same)
	})
}
