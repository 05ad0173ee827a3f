// Package clib carries Lever's library in C++, for linux/amd64: an object file with all that it needs
// beside the C library, whose only global symbols are the functions of lever/lever.h, and that header.
// package.sh puts both here.
package clib

// Has the header copied by `go mod vendor`, too.
import _ "github.com/leveros/lever/bindings/go/clib/lever"
