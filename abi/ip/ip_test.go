package ip

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Package netip is the measure: what it reads, we read, with the same value and
// the same text, but for zones, which are refused.

var addresses = []string{
	"0.0.0.0", "255.255.255.255", "192.0.2.1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.4:80", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4",
	"::", "::1", "1::", "1::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3::4:5:6:7:8",
	":", ":::", "1:", ":1", "1:::1", "1::1::1", "12345::", "::12345", "::g", "::G", "FFFF::AbCd", "0000:0000::", "::00001", "[::1]", "::1]", "::1%eth0", "fe80::1%", "%", "::%1",
	"::1.2.3.4", "::ffff:1.2.3.4", "::FFFF:1.2.3.4", "::ffff:0102:0304", "::fffe:1.2.3.4", "::ffff:1.2.3", "::ffff:1.2.3.4.5", "::ffff:1.2.3.4:5", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:1.2.3.4",
	"1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5::1.2.3.4", "1:2:3:4:5:6::1.2.3.4", "::1.2.3.4:1", "1.2.3.4::", "::ffff:01.2.3.4", "::12345.1.1.1", "::255.255.255.255", "::a.2.3.4",
	"2001:db8::", "2001:db8:0:0:1::", "2001:0:0:1::1", "2001:0:0:1:0:0:0:1", "0:0:1:0:0:1:0:0", "1:0:1:0:1:0:1:0", "0:1::", "::ffff:0:0", "1:0:0:1:0:0:1:1", "", "localhost", "१.2.3.4",
}

func FuzzAddressesAreReadAndWrittenAsByPackageNetip(f *testing.F) {
	for _, s := range addresses {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, wantErr := netip.ParseAddr(s)
		got, err := ParseAddr(s)
		if wantErr != nil || want.Zone() != "" {
			require.Error(t, err, "%q", s)
			require.Equal(t, Addr{}, got, "%q", s)
			return
		}
		require.NoError(t, err, "%q", s)
		requireSame(t, want, got)
		requireSame(t, want.Unmap(), got.Unmap())
	})
}

func requireSame(t *testing.T, want netip.Addr, got Addr) {
	t.Helper()
	require.Equal(t, want.String(), got.String())
	require.Equal(t, want.BitLen(), got.BitLen(), "%s", want)
	require.Equal(t, want.IsValid(), got.IsValid(), "%s", want)
	require.Equal(t, want.Is4(), got.Is4(), "%s", want)
	require.Equal(t, want.Is6(), got.Is6(), "%s", want)
	require.Equal(t, want.Is4In6(), got.Is4In6(), "%s", want)
	require.Equal(t, want.Zone(), got.Zone(), "%s", want)
	switch {
	case !want.IsValid():
		require.Equal(t, Addr{}, got)
	case want.Is4():
		require.Equal(t, want.As4(), got.As4(), "%s", want)
		require.Equal(t, got, AddrFrom4(got.As4()), "%s", want)
	default:
		require.Equal(t, want.As16(), got.As16(), "%s", want)
		require.Equal(t, got, AddrFrom16(got.As16()), "%s", want)
	}
}

func FuzzEntriesAreReadAsByPackageNetip(f *testing.F) {
	for i, s := range addresses {
		f.Add(s)
		f.Add(s + "/" + strconv.Itoa(i))
	}
	for _, s := range []string{"10.0.0.0/8", "10.0.0.5/8", "1.2.3.4/08", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/+8", "1.2.3.4/8/8", "::/0", "::/00", "::1/128", "::1/129", "/8", "/", "0.0.0.0/0",
		"fe80::1%eth0/64", "::ffff:1.2.3.4/97", "::ffff:1.2.3.4/96", "::ffff:1.2.3.4/95", "::ffff:1.2.3.4/0", "1.2.3.4/99999999999999999999", "2001:db8::1/63", "2001:db8::1/64", "2001:db8::1/65"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, wantErr := netip.ParsePrefix(s)
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			want, wantErr = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if wantErr == nil && want.Addr().Is4In6() && want.Bits() >= 96 {
			want = netip.PrefixFrom(want.Addr().Unmap(), want.Bits()-96)
		}
		got, masked, err := ParsePrefix(s)
		if wantErr != nil || want.Addr().Is4In6() {
			require.Error(t, err, "%q", s)
			require.Equal(t, Prefix{}, got, "%q", s)
			return
		}
		require.NoError(t, err, "%q", s)
		require.Equal(t, want.Masked().String(), got.String(), "%q", s)
		require.Equal(t, want.Bits(), got.Bits(), "%q", s)
		require.Equal(t, want.Masked() != want, masked, "%q", s)
		requireSame(t, want.Masked().Addr(), got.Addr())
	})
}

// randomAddr returns an address in both forms. Runs of equal bytes make blocks
// nest and groups vanish.
func randomAddr(r *rand.Rand) (netip.Addr, Addr) {
	var b [16]byte
	for i := range b {
		if r.IntN(3) == 0 {
			b[i] = byte(r.Uint32())
		} else if r.IntN(6) == 0 {
			b[i] = 0xff
		}
	}
	switch r.IntN(4) {
	case 0:
		return netip.AddrFrom4([4]byte(b[:4])), AddrFrom4([4]byte(b[:4]))
	case 1:
		copy(b[:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	}
	return netip.AddrFrom16(b), AddrFrom16(b)
}

func TestAnyAddressIsTheSameAsInPackageNetip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		want, got := randomAddr(r)
		requireSame(t, want, got)
		back, err := ParseAddr(want.StringExpanded())
		require.NoError(t, err)
		require.Equal(t, got, back, "%s", want)
	}
}

func TestBlocksAreThoseOfPackageNetip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	held, last := 0, 0
	for range 50_000 {
		wantAddr, gotAddr := randomAddr(r)
		bits := r.IntN(wantAddr.BitLen()+3) - 1
		want, wantErr := wantAddr.Prefix(bits)
		got, err := gotAddr.Prefix(bits)
		require.Equal(t, wantErr == nil, err == nil, "%s/%d", wantAddr, bits)
		require.Equal(t, want.IsValid(), got.IsValid(), "%s/%d", wantAddr, bits)
		if err != nil {
			continue
		}
		require.Equal(t, want.String(), got.String())
		require.Equal(t, want.Bits(), got.Bits())

		next := got.Next()
		end := want.Addr().AsSlice()
		for i := bits; i < 8*len(end); i++ {
			end[i/8] |= 1 << (7 - i%8)
		}
		wantEnd, _ := netip.AddrFromSlice(end)
		requireSame(t, wantEnd.Next(), next)
		if !next.IsValid() {
			last++
		}

		otherAddr, gotOther := randomAddr(r)
		if r.IntN(2) == 0 { // one that lies inside
			otherAddr, gotOther = wantAddr, gotAddr
		}
		require.Equal(t, want.Contains(otherAddr), got.Contains(gotOther), "%s %s", want, otherAddr)
		otherBits := r.IntN(otherAddr.BitLen() + 1)
		other, err := otherAddr.Prefix(otherBits)
		require.NoError(t, err)
		otherGot, err := gotOther.Prefix(otherBits)
		require.NoError(t, err)
		holds := want.Bits() <= other.Bits() && want.Contains(other.Addr())
		require.Equal(t, holds, got.Holds(otherGot), "%s %s", want, other)
		require.Equal(t, want.Compare(other) < 0, got.Before(otherGot), "%s %s", want, other)
		if holds {
			held++
		}
	}
	require.Greater(t, held, 1000)
	require.Positive(t, last)
}

func TestTheZeroAddressIsNone(t *testing.T) {
	var a Addr
	require.False(t, a.IsValid() || a.Is4() || a.Is6() || a.Is4In6())
	require.Equal(t, netip.Addr{}.String(), a.String())
	require.Equal(t, a, a.Unmap())
	p, err := a.Prefix(8)
	_, wantErr := netip.Addr{}.Prefix(8)
	require.Equal(t, wantErr, err)
	require.False(t, p.IsValid())
	require.Equal(t, netip.Prefix{}.String(), p.String())
	require.False(t, p.Contains(a), "what cannot be read is nowhere")
	require.False(t, p.Holds(p))
}

func TestErrorsSayWhatToDo(t *testing.T) {
	_, _, err := ParsePrefix("::ffff:192.0.2.0/95")
	require.ErrorContains(t, err, "write it as an IPv4 block")
	_, _, err = ParsePrefix("example.com")
	require.ErrorContains(t, err, "is not an IPv4 or IPv6 address or CIDR block")
	_, err = ParseAddr(strings.Repeat("1", 50))
	require.EqualError(t, err, "is not an IPv4 or IPv6 address")
}
