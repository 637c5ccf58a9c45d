package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	v := verdict{File: input, Errors: s.findings(report.Errors), Warnings: s.findings(report.Warnings)}
	c.writeFindings(c.Err, &v)
	switch {
	case err != nil && len(report.Errors) > 0:
		return fmt.Errorf("%s: %s, so no image is written", displayName(input), countOf(v.Errors).of("error", "errors"))
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
func writeImage(input, name string, image []byte) (err error) {
	output, err := linked(name)
	if err != nil {
		return err
	}
	mode, replaced := fs.FileMode(0o666), false
	switch info, err := os.Stat(output); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fileError(name, err)
	case info.IsDir():
		return fmt.Errorf("%s: is a directory; name the image in it", displayName(name))
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file; name another image", displayName(name))
	default:
		if in, err := os.Stat(input); err == nil && os.SameFile(in, info) {
			return fmt.Errorf("%s: the image would replace the policy set it is made from; name another", displayName(name))
		}
		mode, replaced = info.Mode().Perm(), true
	}
	dir, base := filepath.Split(output)
	temporary := filepath.Join(dir, "."+base+"."+rand.Text()+".tmp")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the directory does not exist; make it first", displayName(name))
	}
	if err != nil {
		return fmt.Errorf("%s: cannot be written: %w", displayName(name), withoutPath(err))
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
			err = fmt.Errorf("%s: cannot be written: %w", displayName(name), withoutPath(err))
		}
	}()
	if replaced {
		err = f.Chmod(mode) // whatever the umask is
	}
	if err == nil {
		_, err = f.Write(image)
	}
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

// linked follows the links that a name stands for, so that they stay and the
// file that they point to is replaced, or made.
func linked(name string) (string, error) {
	const most = 40
	at := name
	for range most {
		target, err := os.Readlink(at)
		if err != nil {
			return at, nil // no link, or nothing
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(at))
		if err != nil {
			return "", fmt.Errorf("%s: cannot be written: %w", displayName(name), withoutPath(err))
		}
		if strings.HasPrefix(dir, "/proc/") {
			// It has a target, but stands for a file that is open, such as standard output.
			return "", fmt.Errorf("%s: is an open file, which an image cannot replace; name the image itself", displayName(name))
		}
		if at = target; !filepath.IsAbs(at) {
			at = filepath.Join(dir, at)
		}
	}
	return "", fmt.Errorf("%s: cannot be written: too many links", displayName(name))
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
