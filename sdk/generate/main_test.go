package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

func TestGeneratedFilesAreCurrent(t *testing.T) {
	for path := range generated {
		t.Run(path, func(t *testing.T) {
			want, err := render(path)
			require.NoError(t, err)
			got, err := os.ReadFile(filepath.Join(root, path))
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "run make generate")
		})
	}
}

func TestManifestsStateTheRelease(t *testing.T) {
	for path := range versioned {
		t.Run(path, func(t *testing.T) {
			want, err := release(root, path)
			require.NoError(t, err)
			got, err := os.ReadFile(filepath.Join(root, path))
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "run make generate")
		})
	}
}

func TestConstantsAreSpeltAsWords(t *testing.T) {
	for name, want := range map[string]string{
		"Deny": "DENY", "NoVPCPolicy": "NO_VPC_POLICY", "SourceIPNotListed": "SOURCE_IP_NOT_LISTED", "VPC": "VPC",
		"InvalidAccessKeyId": "INVALID_ACCESS_KEY_ID", "OK": "OK", "EmptyIPList": "EMPTY_IP_LIST", "NeedlessVPC": "NEEDLESS_VPC",
	} {
		require.Equal(t, want, upper(name))
	}
}
