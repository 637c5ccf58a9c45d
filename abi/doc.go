// Package abi is the contract between the keymoat plugin (the guest) and
// whatever loads it (the host): the types that cross the border, the bytes
// they cross it as, and every code and reason that either side may name.
//
// Both sides import it, so it imports the standard library alone and keeps
// reflection out of the guest. README.md beside it is the normative text; the
// tests of this package check that text against the constants.
//
// All functions are pure and safe for concurrent use.
package abi

// Release is the version of keymoat. Every package manifest of the
// repository is checked against it.
const Release = "0.1.0"

// ImageMagic is what every image begins with, and no JSON.
const ImageMagic = "KEYMOAT\x00"

// The version of the binary interface. A host accepts a guest whose major
// version equals its own and whose minor version is at least the one it needs.
const (
	VersionMajor = 1
	VersionMinor = 0
)

// Version is what keymoat_abi_version returns: the major version in the upper
// 16 bits, the minor one in the lower.
const Version uint32 = VersionMajor<<16 | VersionMinor
