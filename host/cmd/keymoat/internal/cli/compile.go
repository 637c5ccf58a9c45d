package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

func newCompile(c *Console) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "compile FILE -o IMAGE",
		Short: "Compile a policy set to an image that loads at once",
		Long: `Compile a policy set, JSON or YAML, to an image. Whatever loads a policy set loads
the image as well, without parsing and in a fraction of the time. The same
policies give the same bytes; their SHA-256 is the revision that every host reports.

The image appears under its name complete or not at all. - stands for standard input.
The exit status is 0, or 2 if the policy set is not valid or a file is unusable.`,
		Example: `  keymoat compile policies.yaml -o policies.image
  keymoat eval --policies policies.image --requests requests.ndjson`,
		ValidArgsFunction: policyFiles,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return misuse(cmd, "name one file to compile, or - for standard input")
			case output == "":
				return misuse(cmd, "name the image to write with -o IMAGE")
			case output == stdin:
				return misuse(cmd, "the image is written to a file, not to standard output")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return compile(c, args[0], output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`IMAGE` to write")
	return cmd
}

func compile(c *Console, input, output string) error {
	s, err := c.readPolicies(input)
	if err != nil {
		return err
	}
	if s.doc == nil {
		return fmt.Errorf("%s: is a compiled image already; name the JSON or YAML it was made from", displayName(input))
	}
	done := c.stage(len(s.data), "compiling "+displayName(input))
	image, report, err := policy.Compile(s.data)
	done()
	var e *abi.Error
	if errors.As(err, &e) && e.Report != nil {
		report = *e.Report
	}
	c.writeFindings(c.Err, &verdict{File: input, Errors: s.findings(report.Errors), Warnings: s.findings(report.Warnings)})
	switch {
	case err != nil && len(report.Errors) > 0:
		return fmt.Errorf("%s: %s, so no image is written", displayName(input), counted(len(report.Errors), "error", "errors"))
	case err != nil:
		return s.refusal(err)
	}
	evaluator, err := policy.Open(image)
	if err != nil {
		return s.refusal(err) // what cannot be loaded must not be delivered
	}
	if err := writeImage(input, output, image); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.Out, "image    %s\nrevision %s\nsize     %s\n", displayName(output), evaluator.Revision(), counted(len(image), "byte", "bytes")); err != nil {
		return outputError(err)
	}
	return nil
}

// writeImage puts the image in place in one step: whoever reads the file finds
// the former image or the new one, whole.
func writeImage(input, output string, image []byte) (err error) {
	mode := fs.FileMode(0o666)
	if target, err := filepath.EvalSymlinks(output); err == nil {
		output = target // a link stays, what it points to is replaced
	}
	switch info, err := os.Stat(output); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fileError(output, err)
	case info.IsDir():
		return fmt.Errorf("%s: is a directory; name the image in it", displayName(output))
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file; name another image", displayName(output))
	default:
		if in, err := os.Stat(input); err == nil && os.SameFile(in, info) {
			return fmt.Errorf("%s: the image would replace the policy set it is made from; name another", displayName(output))
		}
		mode = info.Mode().Perm()
	}
	dir, base := filepath.Split(output)
	temporary := filepath.Join(dir, "."+base+"."+rand.Text()+".tmp")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the directory does not exist; make it first", displayName(output))
	}
	if err != nil {
		return fmt.Errorf("%s: cannot be written: %w", displayName(output), withoutPath(err))
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
			err = fmt.Errorf("%s: cannot be written: %w", displayName(output), withoutPath(err))
		}
	}()
	_, err = f.Write(image)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(temporary, output)
}

// withoutPath drops the name of the temporary file, which says nothing to anyone.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}
