package policysource_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/policysource"
)

// To open a pipe waits for somebody who writes to it.
func TestAPipeInThePlaceOfTheFileHoldsNothingUp(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	require.NoError(t, syscall.Mkfifo(path+".new", 0o600))
	require.NoError(t, os.Rename(path+".new", path))
	t.Cleanup(func() { // should it be read nevertheless, that ends here
		if pipe, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
			_ = pipe.Close()
		}
	})
	require.ErrorContains(t, w.refused(t, policysource.Unavailable), "policies.json (prw-------) is not a regular file")

	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	_, err := policysource.Open(ctx, host.NewNative(), fileURL(path), policysource.WithLogger(slog.New(slog.DiscardHandler)))
	require.ErrorContains(t, err, "is not a regular file")

	replace(t, path, after)
	w.loaded(t)
}

// Such a file says that it has no bytes.
func TestAFileThatHasMoreBytesThanItSaysIsHeldToTheSizeLimit(t *testing.T) {
	_, err := policysource.Open(t.Context(), host.NewNative(), "file:///proc/self/status", policysource.WithSizeLimit(10), policysource.WithLogger(slog.New(slog.DiscardHandler)))
	require.ErrorContains(t, err, "more bytes than the limit of 10 ")
}
