//go:build !lever_system

package lever

// #cgo CPPFLAGS: -I${SRCDIR}/clib
// #cgo LDFLAGS: -lm -ldl -lpthread
import "C"

// The library itself, in one object, is linked from there.
import _ "github.com/leveros/lever/bindings/go/clib"
