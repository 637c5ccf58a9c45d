package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// cacheDir returns the directory of compiled plugins, which is made if need
// be. The machine code in it runs in this process, so the error is also that
// someone else could have put it there.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no place for a compilation cache: %w", err)
	}
	dir := filepath.Join(base, "keymoat")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("the compilation cache %s cannot be made: %w", dir, withoutPath(err))
	}
	info, err := os.Lstat(dir) // a link could point elsewhere a moment later
	if err == nil {
		err = trusted(info)
	}
	if err != nil {
		// To mend its permissions alone would keep what was put in before.
		return "", fmt.Errorf("the compilation cache %s %w; remove it, and it is made anew", dir, withoutPath(err))
	}
	return dir, nil
}

// trusted returns why others than this user could have put something into a directory.
func trusted(dir fs.FileInfo) error {
	switch {
	case !dir.IsDir():
		return errors.New("is not a directory of its own")
	case !isOwn(dir):
		return errors.New("belongs to another user")
	case othersMayWrite(dir):
		return fmt.Errorf("can be written by others (mode %04o)", dir.Mode().Perm())
	}
	return nil
}
