package policy

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPortableSHA256EqualsTheStandardLibrarys(t *testing.T) {
	b := make([]byte, 300)
	for i := range b {
		b[i] = byte(i*7 + i>>3)
	}
	for n := range b {
		require.Equal(t, sha256.Sum256(b[:n]), portableSum256(b[:n]), "%d bytes", n)
	}
}
