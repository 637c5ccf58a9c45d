package policy

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzEntriesAreReadAsPackageNetipReadsThem(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "10.0.0.0/8", "1.2.3.4/08", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/+8", "1.2.3.4/8/8", "::/0", "::1/128", "::1/129",
		"fe80::1%eth0", "fe80::1%eth0/64", "::ffff:1.2.3.4", "::ffff:1.2.3.4/97", "::ffff:1.2.3.4/95", "/8", "", "1.2.3.4/99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParsePrefix(s)
		if ip, ipErr := netip.ParseAddr(s); ipErr == nil && ip.Zone() == "" {
			want, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err == nil && want.Addr().Is4In6() && want.Bits() >= 96 {
			want = netip.PrefixFrom(want.Addr().Unmap(), want.Bits()-96)
		}
		got, masked, problem := parseEntry(s)
		if err != nil || want.Addr().Is4In6() {
			require.NotEmpty(t, problem, "%q", s)
			return
		}
		require.Empty(t, problem, "%q", s)
		require.Equal(t, want.Masked().String(), got.String(), "%q", s)
		require.Equal(t, want.Masked() != want, masked, "%q", s)
	})
}

func TestBlocksHoldWhatPackageNetipSays(t *testing.T) {
	g := newGenerator(1, 2)
	held := 0
	for range 20_000 {
		a, _, problem := parseEntry(g.entry())
		require.Empty(t, problem)
		b, _, problem := parseEntry(g.entry())
		require.Empty(t, problem)
		outer, inner := netip.MustParsePrefix(a.String()), netip.MustParsePrefix(b.String())
		want := outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
		require.Equal(t, want, a.holds(b), "%s %s", outer, inner)
		if want {
			held++
		}
	}
	require.Greater(t, held, 1000)
}
