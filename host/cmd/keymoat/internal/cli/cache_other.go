//go:build !unix

package cli

import "io/fs"

// On Windows a cache lies in the user's profile, which others cannot write to,
// and the mode that Go tells has neither an owner nor others in it.

func isOwn(fs.FileInfo) bool { return true }

func othersMayWrite(fs.FileInfo) bool { return false }
