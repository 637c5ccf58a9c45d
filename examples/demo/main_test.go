package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestTheDemoShowsTheSeedsTable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	// The revision is a hash of the image, which other tests are about.
	got := regexp.MustCompile(`revision [0-9a-f]{12}`).ReplaceAll(out.Bytes(), []byte("revision ············"))

	golden := filepath.Join("testdata", "demo.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}
