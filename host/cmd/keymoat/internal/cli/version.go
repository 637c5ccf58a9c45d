package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
)

func newVersion(c *Console) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell the release, the version of the interface and the embedded plugin",
		Long: `Tell the release of keymoat, the version of the binary interface between host and
plugin, the Go release that built this program, and size and SHA-256 of the
plugin in it. The SHA-256 is that of build/keymoat.wasm of the same release.`,
		Example: `  keymoat version
  keymoat version -o json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return version(c, format) },
	}
	addOutput(cmd, c, &format)
	return cmd
}

type versions struct {
	Release string `json:"Release"`
	ABI     string `json:"ABI"`
	Go      string `json:"Go"`
	Guest   struct {
		SHA256 string `json:"SHA256"`
		Size   int    `json:"Size"`
	} `json:"Guest"`
}

func version(c *Console, format string) error {
	guest, err := host.Guest()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(guest)
	v := versions{
		Release: abi.Release,
		ABI:     fmt.Sprintf("%d.%d", abi.VersionMajor, abi.VersionMinor),
		Go:      runtime.Version(),
	}
	v.Guest.SHA256, v.Guest.Size = hex.EncodeToString(sum[:]), len(guest)
	if format == formatJSON {
		err = writeJSON(c.Out, v)
	} else {
		_, err = fmt.Fprintf(c.Out, "keymoat %s\nABI     %s\nGo      %s\nguest   sha256 %s, %s\n",
			v.Release, v.ABI, v.Go, v.Guest.SHA256, counted(v.Guest.Size, "byte", "bytes"))
	}
	if err != nil {
		return outputError(err)
	}
	return nil
}
